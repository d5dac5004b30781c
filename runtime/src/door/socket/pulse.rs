//! Whether a client is still there. Owns the pings to it, and the goodbye when the node stops.
//!
//! Invariant: who is pinged and then says nothing for `pong_ms_max` is lost, and the time runs from when the
//! ping is out: a client that is slow to take what lies before it is not taken for dead. It does not know how
//! frames are read or written.

use super::Done;
use crate::event::CloseFrame;
use crate::limits::{Limits, ms};
use crate::room::Outbox;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What is known of a client's life.
#[derive(Default)]
pub(super) struct Pulse {
    /// Frames heard of it.
    heard: AtomicU64,
    /// Told when a ping is out.
    pinged: Notify,
}

impl Pulse {
    /// It said something.
    pub(super) fn heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// A ping is out.
    pub(super) fn pinged(&self) {
        self.pinged.notify_one();
    }
}

/// Pings a client, and tells it when the server stops. Returns when the client is not there any more.
///
/// # Cancel safety
/// Dropped before it returns, nobody looks after the client any more.
pub(super) async fn attend(
    outbox: &Outbox,
    pulse: &Pulse,
    limits: &Limits,
    closing: &CancellationToken,
) -> Done {
    let pings = async {
        let mut ticks = tokio::time::interval(ms(limits.ping_interval_ms));
        ticks.reset();
        loop {
            ticks.tick().await;
            let before = pulse.heard.load(Ordering::Relaxed);
            outbox.ping();
            pulse.pinged.notified().await;
            tokio::time::sleep(ms(limits.pong_ms_max)).await;
            if pulse.heard.load(Ordering::Relaxed) == before {
                return Done::Lost;
            }
        }
    };
    tokio::select! {
        done = pings => done,
        () = leave(closing, limits) => {
            outbox.leave(CloseFrame::new(1012, "the server is shutting down"));
            // Whoever writes ends the connection by that.
            std::future::pending().await
        }
    }
}

/// Returns at some moment within the window after the node was told to stop: all clients coming back at the
/// same moment would be one more problem for whoever starts next.
async fn leave(closing: &CancellationToken, limits: &Limits) {
    closing.cancelled().await;
    let moments = limits.drain_spread_ms.saturating_add(1);
    tokio::time::sleep(ms(uuid::Uuid::new_v4().as_u64_pair().0 % moments)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::Instant;

    /// How long after the node was told to stop a socket is closed.
    async fn leaves_after(drain_spread_ms: u64) -> Duration {
        let limits = Limits { drain_spread_ms, ..Limits::default() };
        let closing = CancellationToken::new();
        closing.cancel();
        let begun = Instant::now();
        leave(&closing, &limits).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_are_closed_at_moments_of_their_own_within_the_window() {
        let mut moments = Vec::new();
        for _ in 0..64 {
            moments.push(leaves_after(60_000).await);
        }
        assert!(moments.iter().all(|moment| *moment <= ms(60_001)), "{moments:?}");
        // A timer rounds up to its next millisecond. That one half of the window stays empty is as likely
        // as 64 coins of one side.
        assert!(moments.iter().any(|moment| *moment < ms(30_000)), "{moments:?}");
        assert!(moments.iter().any(|moment| *moment > ms(30_000)), "{moments:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_window_sockets_are_closed_at_once() {
        assert!(leaves_after(0).await <= ms(1));
    }
}
