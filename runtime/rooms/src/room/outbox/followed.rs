//! The presence that the client of one outbox follows. Owns which of its events waits, and its way into the queue.
//!
//! Invariant: at most one event waits, and the client that takes it has the state of its number. A second one makes it a
//! sync, which is made when the client takes it. It does not know users.

use super::super::presence::{PresenceEvent, SharedPresence};
use super::{OutboxItem, OutboxQueue, OutboxSender, OutboxesState};
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

impl OutboxSender {
    /// Lets the client follow who is in the room: queues all that is known, and from now on what changes.
    pub(in super::super) fn follow(&self, shared: &SharedPresence) {
        // Before the outbox is locked: other outboxes of the socket need not wait until it is encoded.
        let sync = shared.sync();
        let mut state = self.socket.state();
        let queue = &mut state.slots[self.slot].queue;
        if queue.ended {
            return;
        }
        let is_new = match &mut queue.followed {
            Some(followed) => followed.follow(shared.clone()),
            none => {
                *none = Some(Box::new(FollowedPresence::new(shared.clone())));
                true
            }
        };
        if is_new {
            queue.said.push_back(OutboxItem::Presence(sync));
            self.socket.ring(state, self.slot);
        }
    }

    /// As [`OutboxSender::follow`], for a client that has the state of this number.
    pub(in super::super) fn follow_from(&self, shared: &SharedPresence, at: u64) {
        let mut state = self.socket.state();
        let followed = FollowedPresence::at(shared.clone(), at);
        state.slots[self.slot].queue.followed = Some(Box::new(followed));
    }

    /// Stops following who is in the room, and discards the event that waits.
    pub(in super::super) fn unfollow(&self) {
        let mut state = self.socket.state();
        let OutboxesState { slots, line, .. } = &mut *state;
        let queue = &mut slots[self.slot].queue;
        queue.unfollow();
        if queue.said.is_empty() && std::mem::take(&mut queue.in_line) {
            line.retain(|waiting| *waiting != self.slot);
        }
    }

    /// Queues what changed of who is in the room. At most one such event waits. Has no effect on a client that does not
    /// follow it.
    pub(in super::super) fn present(&self, event: &Arc<PresenceEvent>) {
        let mut state = self.socket.state();
        let queue = &mut state.slots[self.slot].queue;
        if !queue.ended && queue.followed.as_mut().is_some_and(|followed| followed.note(event)) {
            queue.said.push_back(OutboxItem::Presence(event.clone()));
            self.socket.ring(state, self.slot);
        }
    }
}

impl OutboxQueue {
    /// Discards the event of presence that waits, if one does, and takes no further one.
    fn unfollow(&mut self) {
        self.followed = None;
        let is_event = |said: &OutboxItem| matches!(said, OutboxItem::Presence(_));
        let Some(at) = self.said.iter().position(is_event) else { return };
        match &mut self.latest {
            Some(keys) => keys.remove(at, &mut self.said),
            None => drop(self.said.remove(at)),
        }
    }
}
