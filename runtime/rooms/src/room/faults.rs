//! The recent faults of a room's guest. Owns the decision when the room rests.
//!
//! Invariant: a room is broken only for a bounded time. Pure: `now` is an argument.

use room_core::limits::{Limits, ms};
use std::time::Duration;
use tokio::time::Instant;

/// The faults of one room's guest since its last success.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    in_a_row: u64,
    first: Option<Instant>,
    rests: u32,
    broken_until: Option<Instant>,
}

impl Faults {
    /// Notes that the guest handled an event.
    pub(crate) fn success(&mut self) {
        self.in_a_row = 0;
        self.first = None;
        self.rests = 0;
    }

    /// Notes that the guest lost an instance. Returns how long the room rests if there were too many.
    pub(crate) fn fault(&mut self, now: Instant, limits: &Limits) -> Option<Duration> {
        let within = |first: &Instant| now.duration_since(*first) <= ms(limits.fault_window_ms);
        if !self.first.as_ref().is_some_and(within) {
            self.first = Some(now);
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        if self.in_a_row < limits.faults_max {
            return None;
        }
        let rest = ms(limits.broken_ms_min).saturating_mul(2u32.saturating_pow(self.rests));
        let rest = rest.min(ms(limits.broken_ms_max));
        self.rests = self.rests.saturating_add(1);
        self.broken_until = Some(now + rest);
        // After the rest, one more fault starts the next rest.
        self.in_a_row = limits.faults_max - 1;
        self.first = Some(now + rest);
        Some(rest)
    }

    /// Returns true from a fault until the guest succeeds again.
    pub(crate) fn is_failing(&self) -> bool {
        self.in_a_row > 0
    }

    /// Returns true while the room rests. A room that never rested does not read the clock.
    pub(crate) fn is_broken(&self, now: impl FnOnce() -> Instant) -> bool {
        self.broken_until.is_some_and(|until| now() < until)
    }

    /// Forgets the faults, because a new module gets a new chance.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn consecutive_faults_break_the_room_for_longer_each_time() {
        let limits = Limits { faults_max: 3, broken_ms_max: 3_000, ..Limits::default() };
        let mut faults = Faults::default();
        let mut now = Instant::now();
        assert_eq!(faults.fault(now, &limits), None);
        assert_eq!(faults.fault(now, &limits), None);
        for rest in [1_000, 2_000, 3_000, 3_000] {
            assert_eq!(faults.fault(now, &limits), Some(ms(rest)));
            assert!(faults.is_broken(|| now));
            now += ms(rest);
            assert!(!faults.is_broken(|| now));
        }
        faults.success();
        assert_eq!(faults.fault(now, &limits), None);
    }

    #[tokio::test(start_paused = true)]
    async fn faults_far_apart_do_not_add_up() {
        let limits = Limits { faults_max: 2, ..Limits::default() };
        let mut faults = Faults::default();
        let now = Instant::now();
        assert_eq!(faults.fault(now, &limits), None);
        assert_eq!(faults.fault(now + ms(limits.fault_window_ms + 1), &limits), None);
    }
}
