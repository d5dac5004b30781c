//! The presence that the client of one outbox follows. Owns which of its events waits.
//!
//! Invariant: at most one event waits, and the client that takes it has the state of its number. A second one makes it a
//! sync, which is made when the client takes it. It does not know users.

use super::super::presence::{PresenceEvent, SharedPresence};
use std::sync::Arc;

/// What the client of an outbox knows of a room's presence.
pub(super) struct FollowedPresence {
    shared: SharedPresence,
    /// The number of the state that the client has.
    seen: u64,
    waiting: WaitingEvent,
}

/// The event that waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitingEvent {
    Nothing,
    /// The one that is queued.
    AsQueued,
    /// The state at the time at which it is taken.
    Sync,
}

impl FollowedPresence {
    /// Begins with a client that knows nothing. The caller queues a sync.
    pub(super) fn new(shared: SharedPresence) -> Self {
        Self { shared, seen: 0, waiting: WaitingEvent::Sync }
    }

    /// Begins with a client that has the state of this number.
    pub(super) fn at(shared: SharedPresence, seen: u64) -> Self {
        Self { shared, seen, waiting: WaitingEvent::Nothing }
    }

    /// Notes an event for the client. Returns true if the caller has to queue it.
    pub(super) fn note(&mut self, event: &PresenceEvent) -> bool {
        match self.waiting {
            // The client has taken a later state since the event was made.
            WaitingEvent::Nothing if event.number() <= self.seen => false,
            WaitingEvent::Nothing => {
                self.waiting = WaitingEvent::AsQueued;
                true
            }
            WaitingEvent::AsQueued | WaitingEvent::Sync => {
                self.waiting = WaitingEvent::Sync;
                false
            }
        }
    }

    /// Begins again with another presence. Returns true if the caller has to queue its sync.
    pub(super) fn follow(&mut self, shared: SharedPresence) -> bool {
        self.shared = shared;
        std::mem::replace(&mut self.waiting, WaitingEvent::Sync) == WaitingEvent::Nothing
    }

    /// Returns what the client gets in place of the queued event.
    pub(super) fn taken(&mut self, queued: Arc<PresenceEvent>) -> Arc<PresenceEvent> {
        let event = match self.waiting {
            WaitingEvent::Sync => self.shared.sync(),
            WaitingEvent::Nothing | WaitingEvent::AsQueued => queued,
        };
        (self.seen, self.waiting) = (event.number(), WaitingEvent::Nothing);
        event
    }

    /// Notes that what waits was thrown away.
    pub(super) fn clear(&mut self) {
        self.waiting = WaitingEvent::Nothing;
    }
}
