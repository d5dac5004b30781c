//! When graces and flags of a room's users end. Owns their order.
//!
//! Invariant: each end has one time. It does not know what an end means.

use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

/// A user and its flag, or the user's grace.
pub(super) type PresenceEnd = (Arc<str>, Option<Arc<str>>);

/// A flag of a user, or its grace, and when it ends.
pub(super) type TimedEnd = (Option<Arc<str>>, Instant);

/// The ends of one room, by their times.
#[derive(Default)]
pub(super) struct PresenceTimes {
    by_time: BTreeSet<(Instant, PresenceEnd)>,
    by_user: HashMap<Arc<str>, Vec<TimedEnd>>,
}

impl PresenceTimes {
    /// Sets the time of an end, or removes it.
    pub(super) fn set(&mut self, end: PresenceEnd, at: Option<Instant>) {
        let (user, what) = &end;
        if let Some(own) = self.by_user.get_mut(user) {
            if let Some(place) = own.iter().position(|(known, _)| known == what) {
                let (_, before) = own.swap_remove(place);
                self.by_time.remove(&(before, end.clone()));
            }
            if own.is_empty() {
                self.by_user.remove(user);
            }
        }
        if let Some(at) = at {
            self.by_user.entry(user.clone()).or_default().push((what.clone(), at));
            self.by_time.insert((at, end));
        }
    }

    /// Removes all ends of a user, and returns them with their times.
    pub(super) fn remove(&mut self, user: &Arc<str>) -> Vec<TimedEnd> {
        let own = self.by_user.remove(user).unwrap_or_default();
        for (what, at) in &own {
            self.by_time.remove(&(*at, (user.clone(), what.clone())));
        }
        own
    }

    /// Returns the time of an end; `None` if it has none.
    pub(super) fn get(&self, (user, what): &PresenceEnd) -> Option<Instant> {
        let mut own = self.by_user.get(user)?.iter();
        own.find(|(known, _)| known == what).map(|(_, at)| *at)
    }

    /// Returns the flags of a user that have a time.
    pub(super) fn flags(&self, user: &Arc<str>) -> Vec<Arc<str>> {
        let own = self.by_user.get(user).into_iter().flatten();
        own.filter_map(|(what, _)| what.clone()).collect()
    }

    /// Returns the earliest time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest end, if its time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<PresenceEnd> {
        let (at, end) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let end = end.clone();
        self.set(end.clone(), None);
        Some(end)
    }
}
