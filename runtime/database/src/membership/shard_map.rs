//! Which node has which shard. Owns a picture of that, as of one look at the database.
//!
//! Invariant: an owner in the picture was alive at the look. It does not know how old the picture is: a caller
//! that relies on it asks the owner, and the owner knows its own right.

use crate::lease::{Incarnation, SHARDS, ShardSet};
use room_core::config::PeerNode;

/// The live nodes of a cluster, and which shards each of them has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardMap {
    nodes: Vec<ClusterNode>,
    /// For each shard the place of its owner in `nodes`; empty before the first look.
    owners: Vec<Option<usize>>,
}

/// A live node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNode {
    /// Its name, and the address at which the others reach it.
    pub peer: PeerNode,
    /// Its life.
    pub incarnation: Incarnation,
    /// The version of its program.
    pub program: String,
    /// When it joined, in Unix milliseconds on the database's clock.
    pub started_ms: i64,
    /// Milliseconds since its last heartbeat, on the database's clock.
    pub silent_ms: i64,
    /// The silence after which it is dead.
    pub lease_ms: i64,
    /// Whether it gives up its shards.
    pub is_draining: bool,
    /// What it says about itself.
    pub figures: String,
}

impl ShardMap {
    /// Returns the picture of these nodes, where each shard has this incarnation, if any.
    pub(super) fn new(nodes: Vec<ClusterNode>, shards: &[Option<i64>]) -> Self {
        let place = |incarnation: i64| {
            nodes.iter().position(|node| node.incarnation == Incarnation(incarnation))
        };
        let owners = shards.iter().map(|owner| owner.and_then(place)).collect();
        Self { nodes, owners }
    }

    /// Returns the live nodes, by name.
    pub fn nodes(&self) -> &[ClusterNode] {
        &self.nodes
    }

    /// Returns the node that has a shard; `None` if no live node has it.
    pub fn owner(&self, shard: u16) -> Option<&ClusterNode> {
        let place = self.owners.get(usize::from(shard)).copied().flatten()?;
        self.nodes.get(place)
    }

    /// Returns the shards of a node.
    pub fn shards_of(&self, incarnation: Incarnation) -> ShardSet {
        let is_its =
            |shard: &u16| self.owner(*shard).is_some_and(|node| node.incarnation == incarnation);
        ShardSet::of((0..SHARDS).filter(is_its))
    }

    /// Returns the life of the node with this name.
    pub(super) fn incarnation_of(&self, name: &str) -> Option<Incarnation> {
        let found = self.nodes.iter().find(|node| node.peer.name().as_str() == name);
        found.map(|node| node.incarnation)
    }
}
