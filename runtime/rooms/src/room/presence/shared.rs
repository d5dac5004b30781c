//! What the clients of one room know of who is there. Owns the numbers of its states.
//!
//! Invariant: each state has one number, and the number after it belongs to the state after it. A state is encoded at most
//! once, however many clients get it. It does not know which clients there are.

use room_core::event::Message;
use room_core::lock::lock;
use room_core::presence::{PresenceDiff, PresenceEntry, sync_of, users_of};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

/// What the clients of a room know. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub(in super::super) struct SharedPresence(Arc<Mutex<PublicPresence>>);

#[derive(Debug)]
struct PublicPresence {
    entries: BTreeMap<Arc<str>, PresenceEntry>,
    number: u64,
    /// The event with all entries, once somebody has asked for it.
    sync: Option<Arc<PresenceEvent>>,
}

/// What clients get of presence.
#[derive(Debug, PartialEq, Eq)]
pub struct PresenceEvent {
    /// The number of the state that a client has when it has applied the event.
    number: u64,
    /// A JSON object with at least one key.
    json: String,
    framed: OnceLock<Message>,
}

impl PresenceEvent {
    /// Returns the number of the state that a client has when it has applied the event.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the event as one line of JSON, an object with at least one key.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Returns the event in the form in which a plain socket sends it. `frame` makes that form once, and all sockets share
    /// it.
    pub fn framed(&self, frame: impl FnOnce(&Self) -> Message) -> Message {
        self.framed.get_or_init(|| frame(self)).clone()
    }

    /// Makes the event that leads to the state of this number, from one line of JSON.
    pub fn new(number: u64, json: String) -> Self {
        Self { number, json, framed: OnceLock::new() }
    }
}

impl SharedPresence {
    /// Begins without users. The first state has this number.
    pub(super) fn new(number: u64) -> Self {
        let first = PublicPresence { entries: BTreeMap::new(), number, sync: None };
        Self(Arc::new(Mutex::new(first)))
    }

    /// Returns what clients know of a room that keeps no presence. The number is that of clients that know nothing.
    pub(in super::super) fn nobody() -> Self {
        Self::new(0)
    }

    /// Returns true if both are clones of one.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Goes over to the next state. Returns the event for clients that have the state before it; `None` if nothing changes.
    pub(super) fn change(
        &self,
        changes: BTreeMap<Arc<str>, Option<PresenceEntry>>,
    ) -> Option<Arc<PresenceEvent>> {
        let mut state = lock(&self.0);
        let diff = PresenceDiff::apply(&mut state.entries, changes);
        if diff.is_empty() {
            return None;
        }
        state.number += 1;
        state.sync = None;
        Some(Arc::new(PresenceEvent::new(state.number, diff.json())))
    }

    /// Goes over to a state without users.
    pub(in super::super) fn clear(&self) {
        let mut state = lock(&self.0);
        state.entries.clear();
        state.number += 1;
        state.sync = None;
    }

    /// Returns the event with all that is known now.
    pub(in super::super) fn sync(&self) -> Arc<PresenceEvent> {
        let mut state = lock(&self.0);
        let PublicPresence { entries, number, sync } = &mut *state;
        let made = || Arc::new(PresenceEvent::new(*number, sync_of(entries)));
        sync.get_or_insert_with(made).clone()
    }

    /// Returns the answer to a client that asks who is there.
    pub(in super::super) fn users(&self) -> String {
        users_of(&lock(&self.0).entries)
    }

    /// Returns the number of the state that is known now.
    pub(in super::super) fn number(&self) -> u64 {
        lock(&self.0).number
    }
}
