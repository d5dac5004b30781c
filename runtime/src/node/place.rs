//! The node of a project in a cluster. Owns the list of all rooms that follow the shards of the process.
//!
//! Invariant: a project's rooms are on the list before one of them can run. It does not know who has which shard: `server`
//! passes the orders on.

use super::Node;
use hashbrown::HashMap;
use room_core::lock::lock;
use room_database::{Database, Lease};
use room_rooms::rooms::Rooms;
use std::sync::{Arc, Mutex};

/// The database of a cluster, and this process's right to run rooms.
#[derive(Clone)]
pub(crate) struct NodePlace {
    pub(crate) database: Database,
    pub(crate) lease: Lease,
    pub(crate) rooms: PlacedRooms,
}

/// The rooms of all projects of a process. Cheap to clone; clones are the same list.
#[derive(Clone, Default)]
pub(crate) struct PlacedRooms(Arc<Mutex<PlaceList>>);

#[derive(Default)]
struct PlaceList {
    next: u64,
    rooms: HashMap<u64, Rooms>,
}

/// The place of one project's rooms on the list, until it is dropped.
pub(crate) struct PlaceGuard {
    list: PlacedRooms,
    number: u64,
}

/// How many rooms and clients a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeFigures {
    /// Rooms in memory.
    pub(crate) rooms: u64,
    /// Open WebSockets, event streams and waiting polls.
    pub(crate) sockets: u64,
}

impl PlacedRooms {
    /// Adds a project's rooms.
    pub(super) fn add(&self, rooms: Rooms) -> PlaceGuard {
        let mut list = lock(&self.0);
        let number = list.next;
        list.next += 1;
        list.rooms.insert(number, rooms);
        PlaceGuard { list: self.clone(), number }
    }

    /// Returns the rooms of all projects, also of those that are being opened or closed.
    pub(crate) fn all(&self) -> Vec<Rooms> {
        lock(&self.0).rooms.values().cloned().collect()
    }
}

impl Drop for PlaceGuard {
    fn drop(&mut self) {
        lock(&self.list.0).rooms.remove(&self.number);
    }
}

impl Node {
    /// Returns how many rooms and clients there are now.
    pub(crate) fn figures(&self) -> NodeFigures {
        let (rooms, sockets) = (self.rooms.count() as u64, self.door.open_sockets() as u64);
        NodeFigures { rooms, sockets }
    }
}
