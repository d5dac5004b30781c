//! A client that sends at fixed times. Owns the latencies of its messages.
//!
//! Invariant: however late an answer is, the time counts since the message should have been sent: a pause of the
//! server counts for every message that waited for it. It does not know what delays it.

use crate::frames::{Client, text};
use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::time::{Duration, Instant};

/// Sends `message` every `pause`, for as long as it `goes_on`. Returns the latencies of the answers that count, in
/// nanoseconds.
///
/// # Errors
/// The connection ends.
pub(crate) async fn send(
    mut client: Client,
    message: &str,
    (mut due, pause): (Instant, Duration),
    goes_on: impl Fn(Instant) -> bool,
    counts: impl Fn(Instant) -> bool,
) -> Result<Histogram<u64>> {
    let frame = text(message);
    let mut latencies = Histogram::new(3)?;
    while goes_on(due) {
        // A timer fires up to a millisecond late, which is not the server's.
        let late = Instant::now() >= due;
        tokio::time::sleep_until(due).await;
        let from = if late { due } else { Instant::now() };
        client.write(&frame).await?;
        client.read().await?;
        if counts(due) {
            latencies.record(u64::try_from(from.elapsed().as_nanos())?)?;
        }
        due += pause;
    }
    Ok(latencies)
}
