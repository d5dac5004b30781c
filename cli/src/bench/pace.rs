//! When a message is due. Owns the schedule of a rate, and the clock that keeps it.
//!
//! Invariant: due times follow from the rate alone, whatever happens to earlier messages, and nothing is done before
//! it is due. It does not know what is done.

use std::time::Duration;
use tokio::time::Instant;

/// The due times of a rate, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: u64,
    a_second: u64,
    next: u64,
}

impl Schedule {
    /// Makes a schedule of so many a second, the first one at `start`.
    pub(crate) fn new(start: u64, a_second: u64) -> Self {
        Self { start, a_second: a_second.max(1), next: 0 }
    }

    /// Returns when the next one is due.
    pub(crate) fn due(&self) -> u64 {
        // Counted from the start each time, so that no error adds up.
        let after = u128::from(self.next) * 1_000_000_000 / u128::from(self.a_second);
        self.start.saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
    }

    /// Moves to the next due time.
    pub(crate) fn advance(&mut self) {
        self.next += 1;
    }
}

/// A clock that wakes one waiting task at a time.
pub(crate) struct Pacer {
    epoch: Instant,
    #[cfg(target_os = "linux")]
    timer: Option<exact::Timer>,
}

impl Pacer {
    /// Returns a clock whose zero is `epoch`.
    pub(crate) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            #[cfg(target_os = "linux")]
            timer: exact::Timer::new().ok(),
        }
    }

    /// Waits until a time; not at all if it has passed.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn wait(&self, until: u64) {
        let until = self.epoch + Duration::from_nanos(until);
        let Some(left) = until.checked_duration_since(Instant::now()) else { return };
        if left.is_zero() {
            return;
        }
        // Timers of tokio are up to a millisecond late, which would be counted as the server's.
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.timer
            && timer.wait(left).await.is_ok()
        {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}

/// Linux has timers that are exact to a few microseconds.
#[cfg(target_os = "linux")]
mod exact {
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use std::io::{self, ErrorKind};
    use std::time::Duration;
    use tokio::net::unix::pipe::Receiver;

    /// A timer is read as a pipe is: it is readable when its time has come.
    pub(super) struct Timer(Receiver);

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Receiver::from_owned_fd_unchecked(timer).map(Self)
        }

        pub(super) async fn wait(&self, left: Duration) -> io::Result<()> {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let at = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let once = Itimerspec { it_interval: zero, it_value: at };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            loop {
                self.0.readable().await?;
                match self.0.try_read(&mut [0; 8]) {
                    Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                    read => return read.map(|_| ()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_follow_the_rate_without_accumulating_error() {
        let mut schedule = Schedule::new(500, 3);
        let due = std::iter::from_fn(|| {
            let due = schedule.due();
            schedule.advance();
            Some(due)
        });
        let due: Vec<u64> = due.take(3_000_001).collect();
        assert_eq!(due[..4], [500, 333_333_833, 666_667_166, 1_000_000_500]);
        assert_eq!(due[3_000_000], 1_000_000 * 1_000_000_000 + 500);
        assert!(due.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_due_time_that_overflows_is_never_due() {
        let schedule = Schedule { start: u64::MAX - 1, a_second: 1, next: 7 };
        assert_eq!(schedule.due(), u64::MAX);
    }

    #[tokio::test]
    async fn no_request_starts_before_it_is_due() {
        let epoch = Instant::now();
        let pacer = Pacer::new(epoch);
        for until in [1_000_000, 1_500_000, 0, 5_000_000] {
            pacer.wait(until).await;
            assert!(epoch.elapsed() >= Duration::from_nanos(until));
        }
    }
}
