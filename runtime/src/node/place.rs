//! The node of a project in a cluster. Owns how its rooms follow the shards of the process.
//!
//! Invariant: when a shard has been left, none of its rooms runs here. It does not know who has which shard: `server` passes
//! the orders on.

use super::Node;
use room_database::{Database, Lease, ShardSet};

/// The database of a cluster, and this process's right to run rooms.
#[derive(Clone)]
pub(crate) struct NodePlace {
    pub(crate) database: Database,
    pub(crate) lease: Lease,
}

/// How many rooms and clients a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeFigures {
    /// Rooms in memory.
    pub(crate) rooms: u64,
    /// Open WebSockets, event streams and waiting polls.
    pub(crate) sockets: u64,
}

impl Node {
    /// Searches for the alarms and webhooks of the rooms that have come to this node.
    pub(crate) fn shards_taken(&self) {
        self.rooms.took_shards();
    }

    /// Stops the rooms of these shards between two turns.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the rooms still stop.
    pub(crate) async fn leave_shards(&self, shards: &ShardSet) {
        self.rooms.leave_shards(shards).await;
    }

    /// Stops all rooms, because the process has no right to run them any more.
    ///
    /// # Cancel safety
    /// As [`Node::leave_shards`].
    pub(crate) async fn stop_rooms(&self) {
        self.rooms.leave_all().await;
    }

    /// Returns how many rooms and clients there are now.
    pub(crate) fn figures(&self) -> NodeFigures {
        let (rooms, sockets) = (self.rooms.count() as u64, self.door.open_sockets() as u64);
        NodeFigures { rooms, sockets }
    }
}
