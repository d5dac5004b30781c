//! Which node a room lives on. Owns the hash ring, and the answer for one node.
//!
//! Invariant: every node with the same members gives the same answer, whatever its version or machine. The hash names
//! the home of a room. It does not know whether that node is alive, and no other node takes its rooms over.

mod ring;

use ring::Ring;
use room_core::config::{PeerNode, Space};
use room_core::id::{NodeId, RoomId};
use std::sync::Arc;

/// The homes of all rooms, from one node's point of view. Cheap to clone.
#[derive(Clone)]
pub struct Homes(Arc<HomesInner>);

struct HomesInner {
    own: NodeId,
    peers: Vec<PeerNode>,
    ring: Ring,
}

impl Homes {
    /// Returns the homes in this space.
    pub fn new(space: &Space) -> Self {
        let names = space.peers.iter().map(|peer| (peer.name().clone(), 1)).collect();
        Self(Arc::new(HomesInner {
            own: space.node.clone(),
            peers: space.peers.clone(),
            ring: Ring::new((space.node.clone(), 1), names),
        }))
    }

    /// Returns the name of this node.
    pub fn own(&self) -> &NodeId {
        &self.0.own
    }

    /// Returns true if all rooms live here.
    pub fn is_alone(&self) -> bool {
        self.0.peers.is_empty()
    }

    /// Returns the peer on which a project's room lives, or `None` if it lives here. The project's name is empty if the
    /// process has only one.
    pub fn elsewhere(&self, project: &str, room: &RoomId) -> Option<&PeerNode> {
        if self.is_alone() {
            return None;
        }
        let owner = self.0.ring.owner(project, room);
        self.0.peers.iter().find(|peer| peer.name() == owner)
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

    /// Returns true if a room lives on another node.
    pub fn is_elsewhere(&self, room: &RoomId) -> bool {
        self.homes.elsewhere(&self.project, room).is_some()
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
            let of = |at: usize| homes[at].elsewhere("chat", &room).map(PeerNode::name);
            let here: Vec<usize> = (0..3).filter(|at| of(*at).is_none()).collect();
            let [home] = here[..] else { panic!("room {number} lives on {here:?}") };
            for at in (0..3).filter(|at| *at != home) {
                assert_eq!(of(at), Some(homes[home].own()));
            }
            lived[home] += 1;
        }
        assert!(lived.iter().all(|rooms| *rooms > 60), "{lived:?}");
    }
}
