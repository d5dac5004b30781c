//! What time it is. Owns the only reading of the system's clocks.
//!
//! Invariant: wall time is taken once and then counted on the monotonic clock, to which the time is added
//! that the machine slept since. So it never steps back, it does not jump when somebody sets the
//! machine's clock, and steps forward when the machine wakes. It counts on tokio's clock, which tests
//! pause and advance; so time needs no trait. It does not know who asks or what for.
//!
//! How long a machine slept is known on Linux only. Elsewhere wall time stands still meanwhile, and is
//! right again when the process is started anew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Waits until a moment, or for ever if there is none: then nothing is asked of the timer.
///
/// # Cancel safety
/// Nothing is held while it waits.
pub(crate) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Wall time of this process. Cheap to copy; all copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Duration,
    start: Instant,
    /// How long the machine had slept when this clock was made.
    slept: Duration,
}

impl Clock {
    /// A clock that starts at the system's time.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn system() -> Self {
        Self::at(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }

    /// A clock that starts at this time.
    pub(crate) fn at(wall: Duration) -> Self {
        Self { wall, start: Instant::now(), slept: slept() }
    }

    /// Time since 1970-01-01T00:00:00Z.
    pub fn wall(&self) -> Duration {
        self.wall_after(slept())
    }

    /// The wall time when the machine has slept so long since it was switched on.
    fn wall_after(&self, slept: Duration) -> Duration {
        self.wall + self.start.elapsed() + slept.saturating_sub(self.slept)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn wall_ms(&self) -> u64 {
        u64::try_from(self.wall().as_millis()).unwrap_or(u64::MAX)
    }

    /// Time since this clock was made, without the time that the machine slept.
    pub(crate) fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// When a file was changed last, since 1970; never, if the system does not tell.
pub(crate) fn changed(file: &std::fs::Metadata) -> Duration {
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    file.modified().ok().and_then(since).unwrap_or_default()
}

/// How long ago a file was changed, by the system's clock, which its time is from.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
pub(crate) fn age(file: &std::fs::Metadata) -> Duration {
    let since = |time| SystemTime::now().duration_since(time).ok();
    file.modified().ok().and_then(since).unwrap_or_default()
}

/// How long the machine has slept since it was switched on, as far as it was ever seen: what two clocks
/// that are read one after the other differ by is never too much, and sometimes a little too little.
fn slept() -> Duration {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(slept_now().as_nanos()).unwrap_or(u64::MAX);
    let seen = SEEN.load(Ordering::Relaxed);
    // Mostly there is nothing to write, and all threads may read.
    let most = if now > seen { SEEN.fetch_max(now, Ordering::Relaxed).max(now) } else { seen };
    Duration::from_nanos(most)
}

/// The clock that counts sleep, less the one that does not, which is read after it.
#[cfg(target_os = "linux")]
fn slept_now() -> Duration {
    use rustix::time::{ClockId, Timespec, clock_gettime};
    let since_boot = |time: Timespec| Duration::try_from(time).unwrap_or_default();
    let with_sleep = since_boot(clock_gettime(ClockId::Boottime));
    with_sleep.saturating_sub(since_boot(clock_gettime(ClockId::Monotonic)))
}

#[cfg(not(target_os = "linux"))]
fn slept_now() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test(start_paused = true)]
    async fn it_counts_on_the_clock_that_tests_advance() {
        let clock = Clock::at(HOUR);
        tokio::time::advance(HOUR).await;
        let wall = clock.wall();
        // The real clocks go on meanwhile, and only what they differ by counts.
        assert!((2 * HOUR..2 * HOUR + HOUR / 60).contains(&wall), "{wall:?}");
        assert_eq!(clock.monotonic(), HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn it_steps_forward_by_the_time_that_the_machine_slept() {
        let clock = Clock { slept: HOUR, ..Clock::at(5 * HOUR) };
        assert_eq!(clock.wall_after(HOUR), 5 * HOUR);
        assert_eq!(clock.wall_after(3 * HOUR), 7 * HOUR);
        // A clock that claims that it slept less than before does not step back.
        assert_eq!(clock.wall_after(Duration::ZERO), 5 * HOUR);
    }

    #[test]
    fn the_time_slept_never_shrinks() {
        let mut last = slept();
        for _ in 0..10_000 {
            let next = slept();
            assert!(next >= last);
            last = next;
        }
    }
}
