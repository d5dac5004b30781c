//! Rooms that come to this node of a cluster, and go to others. Owns their end: a room that goes has ended before another
//! node may run it.
//!
//! Invariant: a room starts here only while this node has its shard. The step that puts the room on the list checks that, so
//! a look at the list after the shard is gone finds every room that started before. It does not know which node gets the
//! rooms.

use super::{Resident, Rooms};
use crate::cluster::ShardSet;
use crate::room::{MOVED, RoomError, RoomParts};
use room_core::event::CloseFrame;
use room_core::id::RoomId;
use room_store::StoreError;
use std::time::Duration;

/// The pause before the store is asked again.
const RETRY: Duration = Duration::from_secs(1);

impl Rooms {
    /// Searches for the alarms and webhooks of the rooms that have come to this node.
    pub fn took_shards(&self) {
        self.0.parts.store.look_again();
    }

    /// Stops the rooms of these shards, and waits until they have ended and no commit of theirs is under way. The caller
    /// has made sure that no other room of these shards starts. Each room completes its turns, and closes its connections
    /// with 1012.
    ///
    /// # Cancel safety
    /// If the future is dropped, the rooms still stop.
    pub async fn leave_shards(&self, shards: &ShardSet) {
        let RoomParts { homes, store, .. } = &*self.0.parts;
        self.stop(|room| homes.is_among(room, shards)).await;
        // A store that has failed may still find out what became of its last commits. If this node's right is uncertain, the
        // database refuses them. A closed store has nothing under way.
        while let Err(error) = store.idle().await
            && error != StoreError::Closed
            && homes.is_certain()
        {
            tracing::warn!(%error, "shards stay on this node until the store knows what became of its commits");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Stops all rooms of a node that has lost its right to run them, and waits until they have ended. Nothing that they
    /// say leaves.
    ///
    /// # Cancel safety
    /// If the future is dropped, the rooms still stop.
    pub async fn leave_all(&self) {
        self.stop(|_| true).await;
    }

    async fn stop(&self, goes: impl Fn(&RoomId) -> bool) {
        let going = self.residents().into_iter().filter(|(room, _)| goes(room));
        let going: Vec<Resident> = going.map(|(_, resident)| resident).collect();
        for resident in &going {
            resident.handle.stop(CloseFrame::new(1012, MOVED));
        }
        for resident in going {
            resident.ended.cancelled().await;
        }
    }

    /// Returns true if a room may run on this node now.
    pub(crate) fn may_run(&self, room: &RoomId) -> bool {
        self.0.parts.homes.may_run(room)
    }

    /// Checks that a room may run on this node.
    ///
    /// # Errors
    /// [`RoomError::Moved`].
    pub(super) fn check_lives_here(&self, room: &RoomId) -> Result<(), RoomError> {
        self.0.parts.check_lives_here(room)
    }
}

impl RoomParts {
    /// Checks that a room may run on this node.
    ///
    /// # Errors
    /// [`RoomError::Moved`].
    pub(super) fn check_lives_here(&self, room: &RoomId) -> Result<(), RoomError> {
        if self.homes.may_run(room) { Ok(()) } else { Err(RoomError::Moved) }
    }
}
