//! What turns have to do with a stored log of messages. Owns the step from a turn's messages to the change of its commit.
//!
//! Invariant: a message that a stored log has is in the commit of its turn, and a log that its party gave up is deleted before
//! anything leaves that would be missing in it. It does not know how entries are stored.

use super::super::outbound::{KeptLog, OutboundLog, SharedLog};
use super::super::roster::NumberedOutputs;
use super::{RoomParts, Turns};
use room_core::config::Retention;
use room_store::{OutboundChange, RoomStore};
use std::sync::Arc;

/// What turns have to do with a stored log of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredLog {
    /// The store has no log of this room.
    Absent,
    /// Their messages go there.
    Kept,
    /// The party no longer wants it, and the next turn deletes it.
    Leftover,
}

impl StoredLog {
    pub(super) fn of(is_wanted: bool, has_entries: bool) -> Self {
        match (is_wanted, has_entries) {
            (true, _) => Self::Kept,
            (false, true) => Self::Leftover,
            (false, false) => Self::Absent,
        }
    }
}

/// Makes the log of a room that comes into memory, as far as its party wants one, and says what turns have to do with the
/// stored one.
pub(super) fn begin(
    retention: Option<Retention>,
    store: &RoomStore,
    parts: &RoomParts,
) -> (Option<Arc<SharedLog>>, StoredLog) {
    let facts = store.facts().outbound;
    let log = retention.map(|retention| {
        let before = store.sequence().last();
        let mut log = OutboundLog::new(before, retention, &parts.history);
        if retention.is_durable() {
            log.keep(Some(KeptLog::of((store.outbound(), parts.logs.clone()), facts)), facts);
        }
        SharedLog::new(log)
    });
    (log, StoredLog::of(retention.is_some_and(Retention::is_durable), facts.is_some()))
}

impl Turns {
    /// Follows the party's settings for what the room remembers of its messages.
    pub(in super::super) fn remember(&mut self, retention: Option<Retention>) {
        let (before, now_ms) = (self.store.sequence().last(), self.parts.clock.wall_ms());
        let keeps = || KeptLog::of((self.store.outbound(), self.parts.logs.clone()), None);
        self.outlet.roster.remember(retention, before, (&self.parts, now_ms), keeps);
        let has_entries = self.stored_log != StoredLog::Absent;
        self.stored_log = StoredLog::of(self.outlet.roster.is_kept(), has_entries);
    }

    /// Adds a turn's messages to a stored log, and notes what that changes for the commit. A log that its party no longer
    /// wants goes with the first turn, so that none of its entries is ever followed by a gap.
    #[cold]
    pub(super) fn remember_said(&mut self, said: &mut NumberedOutputs, commits: bool) {
        let now_ms = self.parts.clock.wall_ms();
        let change = self.outlet.roster.remember_said(said, commits, now_ms);
        self.remembered = match self.stored_log {
            StoredLog::Leftover => {
                self.stored_log = StoredLog::Absent;
                Some(Box::new(OutboundChange { is_fresh: true, ..OutboundChange::default() }))
            }
            StoredLog::Kept | StoredLog::Absent => change,
        };
    }
}
