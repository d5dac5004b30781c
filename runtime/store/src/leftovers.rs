//! The commits of ended rooms that the tree does not have yet. Owns how long a room that starts again waits.
//!
//! Invariant: a room starts when the tree has the room's own earlier commits, however far behind the tree is
//! with others. It does not know what was committed.

use crate::Offset;
use hashbrown::HashMap;
use room_core::id::RoomId;
use room_core::lock::lock;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::watch;

/// The number of entries at which those that the tree has are dropped. The next time is at twice the
/// remaining number.
const LOOK_AT: usize = 1_024;

/// The last commits of rooms that ended before the tree had them.
pub(super) struct Leftovers {
    applied: watch::Receiver<Offset>,
    rooms: Mutex<RoomOffsets>,
}

struct RoomOffsets {
    last: HashMap<RoomId, Offset>,
    look_at: usize,
}

impl Leftovers {
    /// Makes an empty list. `applied` is the offset up to which the tree has everything.
    pub(super) fn new(applied: watch::Receiver<Offset>) -> Self {
        let rooms = RoomOffsets { last: HashMap::new(), look_at: LOOK_AT };
        Self { applied, rooms: Mutex::new(rooms) }
    }

    /// Notes the last commit of a room that ends, unless the tree has it. The list keeps at most twice as
    /// many entries as commits may wait for the tree.
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

    /// Returns the offset that the tree must have before this room starts.
    pub(super) fn of(&self, room: &RoomId) -> Offset {
        self.rooms().last.get(room).copied().unwrap_or_default()
    }

    fn rooms(&self) -> MutexGuard<'_, RoomOffsets> {
        lock(&self.rooms)
    }
}
