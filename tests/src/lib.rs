//! The parts of tests of whole nodes: a node, clients, a plain HTTP client, and guests.
//!
//! Invariant: every wait ends, at the latest after [`DEADLINE`], and none is a sleep that hopes: a test waits for a
//! condition. It does not know what the tests are about.

mod client;
mod events;
mod http;
mod node;
mod origin;
mod raw;

pub use client::{Got, TestClient};
pub use events::{EventStream, SentEvent};
pub use http::{Reply, Requests, script};
pub use node::{Setup, TestNode, auto_response, variant};
pub use origin::{Origin, Received, response};
pub use raw::{RawClient, RawFrame, masked};
pub use room_test_guest::{example, guest};
pub use room_test_inputs::Dice;

use std::time::Duration;

/// How long a test waits for a condition before it fails. It bounds and does not measure: the machine may be busy
/// with other tests.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until a future is ready.
///
/// # Panics
/// After [`DEADLINE`], naming `what`.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

/// Asks again and again until the answer is yes.
///
/// # Panics
/// After [`DEADLINE`], naming `what`.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let pause = Duration::from_millis(5);
    let asking = async {
        while !holds().await {
            tokio::time::sleep(pause).await;
        }
    };
    within(what, asking).await;
}

/// Returns a seed for a test that draws at random: `FUZZ_SEED`, or a new one. It prints the seed, so that a failure
/// can be repeated.
pub fn seed() -> u64 {
    let given = std::env::var_os("FUZZ_SEED").and_then(|seed| seed.to_str()?.parse().ok());
    let seed = given.unwrap_or_else(|| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(())
    });
    say(&format!("FUZZ_SEED={seed}"));
    seed
}

#[expect(clippy::print_stderr, reason = "output of a test, shown when it fails")]
fn say(text: &str) {
    eprintln!("{text}");
}
