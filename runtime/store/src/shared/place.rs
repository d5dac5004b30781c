//! This node's place in its cluster, as the store of one project sees it. Owns which records the node may write.
//!
//! Invariant: a record is written only under the incarnation under which its room was read, and only for a shard that the
//! node owns. It does not know how a node gets or loses shards.

use super::loaded::LoadedRoom;
use super::tree::SharedTree;
use crate::Record;
use crate::backend::StoreError;
use room_core::id::{Fence, RoomId};
use room_database::{Incarnation, Lease, ShardSet, shard_of};
use std::sync::Arc;

/// The right of a node to write for the rooms of one project.
pub(crate) struct Place {
    lease: Lease,
    project: Arc<str>,
    tree: Arc<SharedTree>,
}

/// The right as of one moment.
pub(super) struct WriteRight {
    project: Arc<str>,
    incarnation: Incarnation,
    owned: Arc<ShardSet>,
}

impl Place {
    pub(super) fn new(lease: Lease, project: &str, tree: Arc<SharedTree>) -> Self {
        Self { lease, project: project.into(), tree }
    }

    /// Returns the fence of what this node writes now.
    pub(crate) fn fence(&self) -> Fence {
        fence_of(self.lease.incarnation())
    }

    /// Reads a room into memory that is to run here, and returns the fence of its commits.
    ///
    /// # Errors
    /// [`StoreError::Displaced`] if no room of the shard may start here now; [`StoreError::Database`] if it cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is kept if the future is dropped.
    pub(crate) async fn start(&self, room: &RoomId) -> Result<(Fence, LoadedRoom), StoreError> {
        // The right comes first: what is read afterwards is what the owner before has left.
        let right = self.right();
        if !self.lease.covers(shard_of(&self.project, room)) {
            return Err(StoreError::Displaced);
        }
        let loaded = self.tree.load(right.incarnation, room).await?;
        Ok((fence_of(right.incarnation), loaded))
    }

    pub(super) fn right(&self) -> WriteRight {
        // In this order: a lease that ends owns nothing before it gets another incarnation.
        let incarnation = self.lease.incarnation();
        WriteRight { project: self.project.clone(), incarnation, owned: self.lease.owned() }
    }

    /// Ends the lease, if it is still that of this incarnation.
    pub(super) fn lose(&self, incarnation: Incarnation) {
        if self.lease.incarnation() == incarnation {
            tracing::error!(
                incarnation = incarnation.0,
                "the database counts this node as dead; it stops running rooms"
            );
            self.lease.end();
        }
    }

    /// Returns the shard of a room, as rows have it.
    pub(super) fn shard_in_row(&self, room: &RoomId) -> i16 {
        i16::try_from(shard_of(&self.project, room)).expect("a cluster has far fewer shards")
    }
}

impl WriteRight {
    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn owns(&self, room: &RoomId) -> bool {
        self.owned.has(shard_of(&self.project, room))
    }

    /// Returns the reason why this node may not write a record, if there is one.
    pub(super) fn refusal(&self, record: &Record) -> Option<StoreError> {
        let is_current = record.fence == Some(fence_of(self.incarnation));
        (!is_current || !self.owns(&record.room)).then_some(StoreError::Displaced)
    }
}

fn fence_of(incarnation: Incarnation) -> Fence {
    Fence(incarnation.0.unsigned_abs())
}
