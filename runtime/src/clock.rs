//! What time it is. Owns the only reading of the system's clock.
//!
//! Invariant: wall time is taken once and then counted on the monotonic clock, so it never steps
//! back or jumps when somebody sets the machine's clock. It counts on tokio's clock, which tests
//! pause and advance; so time needs no trait. It does not know
//! who asks or what for.

use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Wall time of this process. Cheap to copy; all copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Duration,
    start: Instant,
}

impl Clock {
    /// A clock that starts at the system's time.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn system() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { wall, start: Instant::now() }
    }

    /// Time since 1970-01-01T00:00:00Z.
    pub fn wall(&self) -> Duration {
        self.wall + self.start.elapsed()
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn wall_ms(&self) -> u64 {
        u64::try_from(self.wall().as_millis()).unwrap_or(u64::MAX)
    }

    /// Time since this clock was made.
    pub(crate) fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
