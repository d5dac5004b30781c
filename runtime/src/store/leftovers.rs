//! What rooms that ended had on its way. Owns how long a room that begins again waits.
//!
//! Invariant: a room begins when the tree has what the room itself committed before, however far behind the tree is
//! with others. It does not know what was committed.

use super::Offset;
use crate::id::RoomId;
use hashbrown::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Entries from which on those are dropped that the tree has. Then again at twice what was left.
const LOOK_AT: usize = 1_024;

/// The last commits of rooms that ended before the tree had them.
pub(super) struct Leftovers {
    applied: watch::Receiver<Offset>,
    rooms: Mutex<Rooms>,
}

struct Rooms {
    last: HashMap<RoomId, Offset>,
    look_at: usize,
}

impl Leftovers {
    /// None yet. `applied` is how far the tree is.
    pub(super) fn new(applied: watch::Receiver<Offset>) -> Self {
        let rooms = Rooms { last: HashMap::new(), look_at: LOOK_AT };
        Self { applied, rooms: Mutex::new(rooms) }
    }

    /// Notes the last commit of a room that ends, unless the tree has it. At most as many are kept as commits may wait
    /// for the tree, and as many again.
    pub(super) fn leave(&self, room: &RoomId, last: Offset) {
        let applied = *self.applied.borrow();
        if last <= applied {
            return;
        }
        let mut rooms = self.rooms();
        rooms.last.insert(room.clone(), last);
        if rooms.last.len() >= rooms.look_at {
            rooms.last.retain(|_, last| *last > applied);
            rooms.look_at = LOOK_AT.max(2 * rooms.last.len());
        }
    }

    /// What the tree must have before this room begins.
    pub(super) fn of(&self, room: &RoomId) -> Offset {
        self.rooms().last.get(room).copied().unwrap_or_default()
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        // It is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
