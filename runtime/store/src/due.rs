//! The search for alarms by time. Owns the times of alarms set since the last look, and the position at which
//! a look continues.
//!
//! Invariant: a search that looks again after a ring, from the earliest time of the ring, misses no alarm. It
//! does not know what becomes of due alarms.

use crate::keys;
use room_core::id::RoomId;
use room_core::span::{Key, Span};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Rings when alarms were set. Has one listener.
#[derive(Debug)]
pub struct Bell {
    earliest_ms: AtomicU64,
    notify: Notify,
}

/// No alarm is due at this time.
const NEVER: u64 = u64::MAX;

impl Default for Bell {
    fn default() -> Self {
        Self { earliest_ms: AtomicU64::new(NEVER), notify: Notify::new() }
    }
}

impl Bell {
    /// Rings for alarms that the search can find from now on. The earliest of them is due at this time.
    pub(super) fn ring(&self, earliest_ms: u64) {
        self.earliest_ms.fetch_min(earliest_ms, Ordering::SeqCst);
        self.notify.notify_one();
    }

    /// Waits for a ring since the last wait.
    ///
    /// # Cancel safety
    /// Dropping the future before it is over loses no ring.
    pub async fn rings(&self) {
        self.notify.notified().await;
    }

    /// Takes the earliest time of the alarms that were set since the last call.
    pub fn take_earliest(&self) -> Option<u64> {
        let earliest = self.earliest_ms.swap(NEVER, Ordering::SeqCst);
        (earliest != NEVER).then_some(earliest)
    }
}

/// A position in the order of the alarms: by time, then by room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlarmsFrom {
    due_ms: u64,
    behind: Option<Key>,
}

impl AlarmsFrom {
    /// Before all alarms.
    pub const START: Self = Self { due_ms: 0, behind: None };

    /// Returns the position before the alarms that are due at this time.
    pub fn time(due_ms: u64) -> Self {
        Self { due_ms, behind: None }
    }

    /// Returns the position after this room's alarm that is due at this time.
    pub fn behind(due_ms: u64, room: &RoomId) -> Self {
        Self { due_ms, behind: Some(keys::due(due_ms, room)) }
    }

    pub(super) fn span(&self) -> Span {
        let start = match &self.behind {
            Some(alarm) => Bound::Excluded(alarm.clone()),
            None => Bound::Included(keys::alarms_from(self.due_ms)),
        };
        Span { start, ..keys::all_alarms() }
    }
}
