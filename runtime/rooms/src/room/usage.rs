//! The last use of a room, and its end while it stays unused. Pure; owns the calculation.
//!
//! Invariant: the note of a use is at most an eighth of the ttl behind the truth, and a room that was used
//! since is not due. It does not know how a use is noted, or what becomes of a room that is due.

use super::alarm::next_try;
use room_core::limits::Limits;
use room_core::ttl::{Lifetime, Served};
use room_store::{AlarmRecord, LastUse};
use std::time::Duration;
use tokio::time::Instant;

/// The use of one room.
#[derive(Debug)]
pub(super) struct Usage {
    served: Served,
    /// How long the room may be unused; `None` for forever.
    lifetime: Option<Lifetime>,
    /// Its last use since it came into memory.
    used: Option<Instant>,
    /// The age that a note may reach in a room without a lifetime.
    idle_step_ms: u64,
}

impl Usage {
    /// Makes the usage of a room that has not been used since it came into memory.
    pub(super) fn new(served: Served, lifetime: Option<Lifetime>, limits: &Limits) -> Self {
        Self { served, lifetime, used: None, idle_step_ms: limits.use_note_ms }
    }

    /// Sets the lifetime from now on.
    pub(super) fn set_lifetime(&mut self, lifetime: Option<Lifetime>) {
        self.lifetime = lifetime;
    }

    /// Notes that the room is used now.
    pub(super) fn used(&mut self) {
        self.used = Some(Instant::now());
    }

    /// Returns the time of its last use since it came into memory. Most uses are never asked for it.
    fn used_ms(&self) -> Option<u64> {
        self.used.map(|used| self.served.ms_at(used))
    }

    /// Forgets the last use, because the room was deleted.
    pub(super) fn forget(&mut self) {
        self.used = None;
    }

    /// Returns the note for the next commit, if the stored note has become too old.
    pub(super) fn note(&self, noted: Option<LastUse>) -> Option<LastUse> {
        let used_ms = self.used_ms()?;
        let step_ms = self.lifetime.map_or(self.idle_step_ms, Lifetime::step_ms);
        let old = |noted: LastUse| {
            // A note in the future, or one with tries, comes from a failed end of the room, not from a use.
            noted.at_ms > used_ms || used_ms - noted.at_ms >= step_ms || noted.tries > 0
        };
        noted.is_none_or(old).then_some(LastUse { at_ms: used_ms, tries: 0 })
    }

    /// As [`Usage::note`], where the note is worth a commit of its own.
    pub(super) fn own_note(&self, noted: impl FnOnce() -> Option<LastUse>) -> Option<LastUse> {
        self.lifetime.and_then(|_| self.note(noted()))
    }

    /// Returns true if the room ends when it is unused for too long.
    pub(super) fn ends(&self) -> bool {
        self.lifetime.is_some()
    }

    /// Returns the time until the use of a room with connections and no events must be noted again; `None`
    /// for never.
    pub(super) fn renews_in(&self, noted: Option<LastUse>) -> Option<Duration> {
        let known_ms = noted.map(|noted| noted.at_ms).max(self.used_ms()).unwrap_or_default();
        let next_ms = known_ms.saturating_add(self.lifetime?.step_ms());
        Some(Duration::from_millis(next_ms.saturating_sub(self.served.ms())))
    }

    /// Returns true if the room has been unused for too long.
    pub(super) fn is_due(&self, noted: LastUse) -> bool {
        let known_ms = self.used_ms().map_or(noted.at_ms, |used_ms| used_ms.max(noted.at_ms));
        self.lifetime.is_some_and(|lifetime| lifetime.due_ms(known_ms) <= self.served.ms())
    }

    /// Returns the note of a room whose end has failed again, so that it is due again after 2 s, 4 s, …;
    /// `None` after the last try.
    pub(super) fn again(&self, noted: LastUse, limits: &Limits) -> Option<LastUse> {
        let failed = AlarmRecord { due_ms: 0, tries: noted.tries };
        let AlarmRecord { due_ms, tries } = next_try(failed, self.served.ms(), limits)?;
        Some(LastUse { at_ms: self.lifetime?.noted_for(due_ms), tries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3_600 * 1_000;

    fn usage(ttl_ms: Option<u64>) -> Usage {
        let lifetime = ttl_ms.map(|ttl_ms| Lifetime::new(ttl_ms, 0));
        Usage::new(Served::from(100 * DAY), lifetime, &Limits::default())
    }

    fn at(at_ms: u64) -> Option<LastUse> {
        Some(LastUse { at_ms, tries: 0 })
    }

    #[tokio::test(start_paused = true)]
    async fn a_use_is_stored_at_most_once_per_eighth_of_the_ttl() {
        let mut usage = usage(Some(8 * DAY));
        assert_eq!(usage.note(None), None);
        usage.used();
        assert_eq!(usage.note(None), at(100 * DAY));
        assert_eq!(usage.note(at(100 * DAY - (DAY - 1))), None);
        assert_eq!(usage.own_note(|| at(99 * DAY)), at(100 * DAY));
        // A note of a future time, and a note with tries, are not notes of a use.
        assert_eq!(usage.note(at(101 * DAY)), at(100 * DAY));
        assert_eq!(usage.note(Some(LastUse { at_ms: 100 * DAY, tries: 1 })), at(100 * DAY));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_ttl_a_use_is_stored_only_with_a_rooms_own_commits() {
        let mut usage = usage(None);
        usage.used();
        assert_eq!(usage.note(at(99 * DAY + 1)), None);
        assert_eq!(usage.note(at(99 * DAY)), at(100 * DAY));
        assert_eq!(usage.own_note(|| at(99 * DAY)), None);
        assert_eq!(usage.renews_in(at(99 * DAY)), None);
        assert!(!usage.is_due(LastUse { at_ms: 0, tries: 0 }));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_room_is_due_and_due_again_after_each_failed_try() {
        let mut usage = usage(Some(8 * DAY));
        let mut noted = LastUse { at_ms: 91 * DAY + 1, tries: 0 };
        assert!(!usage.is_due(noted));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(usage.is_due(noted));
        let mut pauses = Vec::new();
        while let Some(next) = usage.again(noted, &Limits::default()) {
            let begun = tokio::time::Instant::now();
            assert!(!usage.is_due(next));
            while !usage.is_due(next) {
                tokio::time::advance(Duration::from_millis(1_000)).await;
            }
            pauses.push(begun.elapsed().as_secs());
            noted = next;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64]);
        usage.used();
        assert!(!usage.is_due(noted));
    }

    #[tokio::test(start_paused = true)]
    async fn a_room_with_connections_stores_its_use_every_eighth_of_the_ttl() {
        let mut usage = usage(Some(8 * DAY));
        let day = Duration::from_millis(DAY);
        assert_eq!(usage.renews_in(at(100 * DAY)), Some(day));
        assert_eq!(usage.renews_in(None), Some(Duration::ZERO));
        usage.used();
        assert_eq!(usage.renews_in(None), Some(day));
    }
}
