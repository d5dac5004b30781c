//! Every byte that a stranger controls, drawn at random: whatever it is, the node goes on.
//!
//! Each test runs for a short time; `FUZZ_SECONDS` makes it longer, `FUZZ_SEED` repeats a run. The
//! manifest of a project is not here: its own tests in `cli` draw it at random.

use room_runtime::{ConnectionId, Limits, RoomId, connection_of_query, room_of_path};
use room_tests::{Dice, RawClient, Requests, Setup, TestNode, masked, seed};
use std::time::Duration;
use tokio::time::Instant;

/// When a test has done enough.
fn end() -> Instant {
    let given = std::env::var_os("FUZZ_SECONDS").and_then(|text| text.to_str()?.parse().ok());
    Instant::now() + Duration::from_secs(given.unwrap_or(2))
}

const PIECES: [&str; 20] = [
    "/",
    "//",
    "/parties/",
    "/party/",
    "main",
    "..",
    "%",
    "%2",
    "%2f",
    "%00",
    "%ff",
    "%C3%A9",
    "é",
    "?",
    "&",
    "_pk=",
    "=",
    "+",
    "\u{202e}",
    "a",
];

/// Text that is almost a URL.
fn almost_url(dice: &mut Dice) -> String {
    let count = dice.below(12);
    let mut text: String = (0..count).map(|_| PIECES[dice.below(PIECES.len())]).collect();
    if dice.below(10) == 0 {
        text = text.repeat(dice.below(100));
    }
    let count = dice.below(6);
    text + &String::from_utf8_lossy(&dice.bytes(count))
}

#[test]
fn any_url_means_a_room_or_is_refused() {
    let (mut dice, limits, end) = (Dice(seed()), Limits::default(), end());
    while Instant::now() < end {
        for _ in 0..1_000 {
            let url = almost_url(&mut dice);
            if let Ok(Some(room)) = room_of_path(&url, &limits) {
                let name = room.name();
                assert!(
                    (1..=256).contains(&name.len()) && !name.contains(char::is_control),
                    "{url:?}"
                );
                assert_eq!(RoomId::new(room.party().clone(), name, 256), Ok(room.clone()));
            }
            if let Ok(id) = connection_of_query(Some(&url), &limits) {
                assert_eq!(ConnectionId::parse(id.as_str(), 256), Ok(id.clone()), "{url:?}");
            }
        }
    }
}

/// A frame that is right, nearly right, or noise.
fn almost_frame(dice: &mut Dice) -> Vec<u8> {
    let size = match dice.below(8) {
        0 => dice.below(70_000),
        1 => 126,
        _ => dice.below(20),
    };
    let payload = dice.bytes(size);
    let first = match dice.below(3) {
        0 => 0x81,
        1 => 0x82,
        _ => dice.bytes(1)[0],
    };
    let mut frame = masked(first, &payload);
    match dice.below(6) {
        0 => frame.truncate(dice.below(frame.len())),
        1 => {
            let at = dice.below(frame.len().min(14));
            frame[at] = dice.bytes(1)[0];
        }
        2 => return dice.bytes(size),
        _ => {}
    }
    frame
}

async fn serves(node: &TestNode) {
    let mut witness = node.connect("witness?quiet=1").await;
    assert_eq!(witness.echo("still here").await, "still here");
}

#[tokio::test]
async fn no_frames_break_a_node() {
    let node = Setup::memory().limits(|limits| limits.close_ms_max = 50).start().await;
    let (mut dice, end) = (Dice(seed()), end());
    while Instant::now() < end {
        for _ in 0..10 {
            let mut client = RawClient::upgrade(node.addr(), "/party/lobby?quiet=1").await;
            for _ in 0..dice.below(8) {
                client.write(&almost_frame(&mut dice)).await;
            }
            if dice.below(2) == 0 {
                client.finish().await;
            }
        }
        serves(&node).await;
    }
    assert_eq!(node.report("lobby").await["starts"], 1);
}

#[tokio::test]
async fn no_requests_break_a_node() {
    let node = Setup::memory().limits(|limits| limits.header_ms_max = 200).start().await;
    let (mut dice, end) = (Dice(seed()), end());
    while Instant::now() < end {
        for _ in 0..20 {
            let url = almost_url(&mut dice);
            let method = ["GET", "POST", "HEAD", "OPTIONS", "G\u{0}T"][dice.below(5)];
            let count = dice.below(40);
            let noise = String::from_utf8_lossy(&dice.bytes(count)).into_owned();
            let request = format!(
                "{method} {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Noise: {noise}\r\n\r\n"
            );
            let mut client = RawClient::open(node.addr()).await;
            client.write(request.as_bytes()).await;
            client.finish().await;
            client.rest().await;
        }
        serves(&node).await;
    }
}
