//! Which node a room lives on. Owns the hash ring of nodes with fixed names, and what a cluster's picture of its shards
//! means.
//!
//! Invariant: nodes with the same fixed names give the same answer, whatever their version or machine. In a cluster a room
//! lives here only as long as this node's lease is certain and has the room's shard. It does not know whether another
//! node can be reached.

mod ring;

pub use room_database::{ClusterKey, Incarnation, Lease, Membership, ShardSet};

use ring::Ring;
use room_core::config::{PeerNode, Space};
use room_core::id::{NodeId, RoomId};
use room_core::limits::{Limits, ms};
use room_database::{ShardMap, shard_of};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The homes of all rooms, from one node's point of view. Cheap to clone.
#[derive(Clone)]
pub struct Homes(Arc<HomesInner>);

struct HomesInner {
    own: NodeId,
    space: HomeSpace,
}

/// How nodes agree on homes.
enum HomeSpace {
    /// By their names, which never change.
    Fixed { peers: Vec<PeerNode>, ring: Ring },
    /// By the shards that the cluster's database gives to each.
    Cluster(ClusterHomes),
}

struct ClusterHomes {
    lease: Lease,
    map: watch::Receiver<Arc<ShardMap>>,
    key: ClusterKey,
    wait_max: Duration,
}

/// Where a room lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// On this node.
    Here,
    /// On another node, in this life of it.
    Peer(PeerNode, Incarnation),
    /// On no node: it is on its way to one.
    Nobody,
}

impl Homes {
    /// Returns the homes in this space.
    pub fn new(space: &Space) -> Self {
        let names = space.peers.iter().map(|peer| (peer.name().clone(), 1)).collect();
        let (own, peers) = (space.node.clone(), space.peers.clone());
        let ring = Ring::new((own.clone(), 1), names);
        Self(Arc::new(HomesInner { own, space: HomeSpace::Fixed { peers, ring } }))
    }

    /// Returns the homes in the cluster of this membership.
    pub fn cluster(membership: &Membership, limits: &Limits) -> Self {
        let own = membership.own().name().clone();
        let (lease, key) = (membership.lease().clone(), membership.key().clone());
        let (map, wait_max) = (membership.map(), ms(limits.home_wait_ms_max));
        let space = HomeSpace::Cluster(ClusterHomes { lease, map, key, wait_max });
        Self(Arc::new(HomesInner { own, space }))
    }

    /// Returns the homes of a node that knows no others, and runs what this lease has.
    #[cfg(test)]
    pub(crate) fn leased(lease: Lease) -> Self {
        let (map, wait_max) = (watch::Sender::default().subscribe(), Duration::from_millis(1));
        let cluster = ClusterHomes { lease, map, key: ClusterKey::new([1; 32]), wait_max };
        let space = HomeSpace::Cluster(cluster);
        Self(Arc::new(HomesInner { own: NodeId::new("a"), space }))
    }

    /// Returns the name of this node.
    pub fn own(&self) -> &NodeId {
        &self.0.own
    }

    /// Returns true if all rooms live here, now and later.
    pub fn is_alone(&self) -> bool {
        matches!(&self.0.space, HomeSpace::Fixed { peers, .. } if peers.is_empty())
    }

    /// Returns the key by which nodes prove that they belong to this node's cluster; `None` without a cluster.
    pub fn key(&self) -> Option<&ClusterKey> {
        self.in_cluster().map(|homes| &homes.key)
    }

    /// Returns where a project's room lives. The project's name is empty if the process has only one.
    pub fn of(&self, project: &str, room: &RoomId) -> Home {
        match &self.0.space {
            HomeSpace::Fixed { peers, .. } if peers.is_empty() => Home::Here,
            HomeSpace::Fixed { peers, ring } => {
                let owner = ring.owner(project, room);
                let found = peers.iter().find(|peer| peer.name() == owner);
                found.map_or(Home::Here, |peer| Home::Peer(peer.clone(), Incarnation(0)))
            }
            HomeSpace::Cluster(homes) => homes.of(shard_of(project, room)),
        }
    }

    /// Returns where a project's room lives, and waits while the room is on its way. `tried` is a home that could not be
    /// reached: this waits for another one. Returns [`Home::Nobody`] if the room has not arrived by the deadline.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub async fn settled(
        &self,
        (project, room): (&str, &RoomId),
        tried: Option<&Home>,
        deadline: Instant,
    ) -> Home {
        let HomeSpace::Cluster(homes) = &self.0.space else { return self.of(project, room) };
        let (shard, mut map) = (shard_of(project, room), homes.map.clone());
        let settled = async {
            loop {
                map.mark_unchanged();
                let home = homes.of(shard);
                if home != Home::Nobody && Some(&home) != tried {
                    return home;
                }
                // The membership has ended, so this node would not learn where the room arrives.
                if map.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout_at(deadline, settled).await.unwrap_or(Home::Nobody)
    }

    /// Returns the time until which a request that arrives now waits for its room.
    pub fn deadline(&self) -> Instant {
        let wait_max = self.in_cluster().map(|homes| homes.wait_max);
        Instant::now() + wait_max.unwrap_or_default()
    }

    fn in_cluster(&self) -> Option<&ClusterHomes> {
        match &self.0.space {
            HomeSpace::Fixed { .. } => None,
            HomeSpace::Cluster(homes) => Some(homes),
        }
    }
}

impl ClusterHomes {
    fn of(&self, shard: u16) -> Home {
        if self.lease.covers(shard) {
            return Home::Here;
        }
        match self.map.borrow().owner(shard) {
            Some(node) if node.incarnation != self.lease.incarnation() => {
                Home::Peer(node.peer.clone(), node.incarnation)
            }
            // It is about to leave this node, or to come.
            _ => Home::Nobody,
        }
    }
}

/// The homes of one project's rooms, from one node's point of view.
#[derive(Clone)]
pub struct ProjectHomes {
    homes: Homes,
    project: String,
}

impl Default for ProjectHomes {
    /// Returns the homes of rooms that all live here.
    fn default() -> Self {
        Self::new(Homes::new(&Space::default()), "")
    }
}

impl ProjectHomes {
    /// Returns the homes of this project's rooms. Its name is empty if the process has only one.
    pub fn new(homes: Homes, project: &str) -> Self {
        Self { homes, project: project.to_owned() }
    }

    /// Returns the project's name, which is empty if the process has only one.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Returns true if a room does not live on this node.
    pub fn is_elsewhere(&self, room: &RoomId) -> bool {
        self.homes.of(&self.project, room) != Home::Here
    }

    /// Returns true if a room is on its way from one node to another.
    pub fn is_moving(&self, room: &RoomId) -> bool {
        self.homes.of(&self.project, room) == Home::Nobody
    }

    /// Returns true if a room may run on this node now. Only a cluster forbids it: among nodes with fixed names, the door
    /// decides which requests come here.
    pub fn may_run(&self, room: &RoomId) -> bool {
        let cluster = self.homes.in_cluster();
        cluster.is_none_or(|homes| homes.lease.covers(shard_of(&self.project, room)))
    }

    /// Returns this node's right to run a room that starts now.
    pub fn right_to(&self, room: &RoomId) -> RoomRight {
        RoomRight(self.homes.in_cluster().map(|homes| {
            let shard = shard_of(&self.project, room);
            (homes.lease.clone(), shard, homes.lease.incarnation())
        }))
    }

    /// Returns true if this node may run the rooms that it owns now.
    pub fn is_certain(&self) -> bool {
        self.homes.in_cluster().is_none_or(|homes| homes.lease.is_certain())
    }

    /// Returns true if rooms come to this node and leave it while it runs.
    pub fn may_move(&self) -> bool {
        self.homes.in_cluster().is_some()
    }

    /// Returns true if a room has one of these shards.
    pub fn is_among(&self, room: &RoomId, shards: &ShardSet) -> bool {
        shards.has(shard_of(&self.project, room))
    }
}

/// The right of this node to run one room, from the room's start on.
pub struct RoomRight(Option<(Lease, u16, Incarnation)>);

impl RoomRight {
    /// Returns true if what the room says may leave this node now: no other node may have run the room since it started
    /// here.
    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|(lease, shard, own)| {
            lease.is_certain() && lease.incarnation() == *own && lease.owned().has(*shard)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::id::PartyName;

    #[test]
    fn all_nodes_name_the_same_home() {
        let names = ["a", "b", "c"];
        let homes = names.map(|own| {
            let others = names.iter().filter(|name| **name != own);
            let peers = others.map(|name| format!("{name}=http://{name}").parse().unwrap());
            Homes::new(&Space { node: NodeId::new(own), peers: peers.collect() })
        });
        let mut lived = [0; 3];
        for number in 0..300 {
            let party = PartyName::parse("main").unwrap();
            let room = RoomId::new(party, &number.to_string(), 256).unwrap();
            let of = |at: usize| match homes[at].of("chat", &room) {
                Home::Peer(peer, _) => Some(peer.name().clone()),
                Home::Here | Home::Nobody => None,
            };
            let here: Vec<usize> = (0..3).filter(|at| of(*at).is_none()).collect();
            let [home] = here[..] else { panic!("room {number} lives on {here:?}") };
            for at in (0..3).filter(|at| *at != home) {
                assert_eq!(of(at).as_ref(), Some(homes[home].own()));
            }
            lived[home] += 1;
        }
        assert!(lived.iter().all(|rooms| *rooms > 60), "{lived:?}");
    }
}
