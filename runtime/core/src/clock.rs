//! The time. Owns the only reading of the system's clocks.
//!
//! Invariant: wall time is read once and then counted on the monotonic clock. The time for which the machine
//! slept since is added. So wall time never steps back, does not jump when somebody sets the machine's clock,
//! and steps forward when the machine wakes. It counts on tokio's clock, which tests pause and advance, so
//! time needs no trait. It does not know who asks or what for.
//!
//! Only Linux reports how long a machine slept. Elsewhere wall time stands still during the sleep, and is
//! right again when the process restarts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Waits until a moment. Without a moment it waits forever, and does not use the timer.
///
/// # Cancel safety
/// Nothing is held while it waits.
pub async fn until(moment: Option<Instant>) {
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
    /// Makes a clock that starts at the system's time.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn system() -> Self {
        Self::at(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }

    /// Makes a clock that starts at this time.
    pub fn at(wall: Duration) -> Self {
        Self { wall, start: Instant::now(), slept: slept() }
    }

    /// Returns the time since 1970-01-01T00:00:00Z.
    pub fn wall(&self) -> Duration {
        self.wall_after(slept())
    }

    /// Returns the wall time when the machine has slept for this long since it was switched on.
    fn wall_after(&self, slept: Duration) -> Duration {
        self.wall + self.start.elapsed() + slept.saturating_sub(self.slept)
    }

    /// Returns the milliseconds since 1970-01-01T00:00:00Z.
    pub fn wall_ms(&self) -> u64 {
        u64::try_from(self.wall().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the time since this clock was made, without the time for which the machine slept.
    pub fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A moment of this process, on a clock that nobody sets and no test pauses. On Linux it counts the time for which the
/// machine sleeps, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Returns the present moment.
    pub fn now() -> Self {
        Self(uptime())
    }

    /// Returns the time from another moment to this one; zero if the other one is later.
    pub fn since(self, other: Self) -> Duration {
        self.0.saturating_sub(other.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl From<std::time::Instant> for Moment {
    fn from(instant: std::time::Instant) -> Self {
        Self(Self::now().0.saturating_sub(instant.elapsed()))
    }
}

/// Returns the time since the machine was switched on.
#[cfg(target_os = "linux")]
fn uptime() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// Returns the time since this process first asked.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
fn uptime() -> Duration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}

/// Returns when a file was last changed, as the time since 1970; zero if the system does not report it.
pub fn changed(file: &std::fs::Metadata) -> Duration {
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    file.modified().ok().and_then(since).unwrap_or_default()
}

/// Returns how long ago a file was changed, by the system's clock, from which the file's time comes.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
pub fn age(file: &std::fs::Metadata) -> Duration {
    let since = |time| SystemTime::now().duration_since(time).ok();
    file.modified().ok().and_then(since).unwrap_or_default()
}

/// Returns how long the machine has slept since it was switched on: the largest value ever measured. A
/// measurement is the difference of two clocks that are read one after the other. It is never too large, and
/// sometimes a little too small.
fn slept() -> Duration {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(slept_now().as_nanos()).unwrap_or(u64::MAX);
    let seen = SEEN.load(Ordering::Relaxed);
    // Mostly there is nothing to write, so threads only read.
    let most = if now > seen { SEEN.fetch_max(now, Ordering::Relaxed).max(now) } else { seen };
    Duration::from_nanos(most)
}

/// Returns the clock that counts sleep, less the one that does not and is read after it.
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
    async fn wall_time_follows_the_clock_that_tests_advance() {
        let clock = Clock::at(HOUR);
        tokio::time::advance(HOUR).await;
        let wall = clock.wall();
        // The real clocks go on during the test, and only their difference counts.
        assert!((2 * HOUR..2 * HOUR + HOUR / 60).contains(&wall), "{wall:?}");
        assert_eq!(clock.monotonic(), HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn wall_time_steps_forward_by_the_time_asleep() {
        let clock = Clock { slept: HOUR, ..Clock::at(5 * HOUR) };
        assert_eq!(clock.wall_after(HOUR), 5 * HOUR);
        assert_eq!(clock.wall_after(3 * HOUR), 7 * HOUR);
        // A clock that claims that it slept less than before does not step back.
        assert_eq!(clock.wall_after(Duration::ZERO), 5 * HOUR);
    }

    #[test]
    fn moments_follow_each_other_and_know_their_distance() {
        let (first, instant) = (Moment::now(), tokio::time::Instant::now().into_std());
        let later = Moment::now();
        assert!(later >= first && later.since(first) < HOUR && first.since(later + HOUR).is_zero());
        assert_eq!((first + HOUR).since(first), HOUR);
        assert!(Moment::from(instant) <= Moment::now());
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
