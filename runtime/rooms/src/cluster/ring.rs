//! Rendezvous hashing of rooms over nodes. Pure; owns nothing but the members.
//!
//! Invariant: when a node joins or leaves, only rooms move that go to it or come from it.

use hrw_hash::{HrwNode, HrwNodes};
use room_core::id::{NodeId, RoomId};
use std::hash::{Hash, Hasher};

/// The members and their shares.
pub(super) struct Ring {
    nodes: HrwNodes<Member>,
    only: Option<NodeId>,
}

/// One node with its share of the rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    id: NodeId,
    weight: usize,
}

// Only bytes are hashed: `str` and slices add a length or a mark that need not be the same everywhere.
impl Hash for Member {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.id.as_str().as_bytes());
    }
}

impl HrwNode for Member {
    fn capacity(&self) -> usize {
        self.weight
    }
}

/// A room as it is hashed: `project/party/name`, or `party/name` in a process with only one project.
struct HashedRoom<'a>(&'a str, &'a RoomId);

impl Hash for HashedRoom<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if !self.0.is_empty() {
            state.write(self.0.as_bytes());
            state.write(b"/");
        }
        state.write(self.1.party().as_str().as_bytes());
        state.write(b"/");
        state.write(self.1.name().as_bytes());
    }
}

impl Ring {
    /// Makes a ring of these nodes with their weights. There is at least one node.
    pub(super) fn new(first: (NodeId, usize), others: Vec<(NodeId, usize)>) -> Self {
        let only = others.is_empty().then(|| first.0.clone());
        let members = std::iter::once(first).chain(others);
        let nodes = HrwNodes::new(members.map(|(id, weight)| Member { id, weight }));
        Self { nodes, only }
    }

    /// Returns the node on which a project's room lives.
    pub(super) fn owner(&self, project: &str, room: &RoomId) -> &NodeId {
        if let Some(only) = &self.only {
            return only;
        }
        let best = self.nodes.sorted(&HashedRoom(project, room)).next();
        &best.expect("a ring has at least one node").id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use room_core::id::PartyName;

    fn ring(nodes: &[(&str, usize)]) -> Ring {
        let mut nodes = nodes.iter().map(|(id, weight)| (NodeId::new(id), *weight));
        Ring::new(nodes.next().unwrap(), nodes.collect())
    }

    fn room(name: &str) -> RoomId {
        RoomId::new(PartyName::parse("main").unwrap(), name, 256).unwrap()
    }

    /// Nodes of different versions must agree, so these answers never change.
    #[test]
    fn known_rooms_belong_to_known_nodes() {
        let ring = ring(&[("a", 1), ("b", 1), ("c", 2)]);
        let owners: Vec<&str> = ["lobby", "game-1", "game-2", "game-3", "é", "a b", "x", "y"]
            .iter()
            .map(|name| ring.owner("", &room(name)).as_str())
            .collect();
        expect_test::expect![[r#"
            b b a a c c c c
        "#]]
        .assert_eq(&format!("{}\n", owners.join(" ")));
        let of = |project| ring.owner(project, &room("lobby")).as_str();
        assert_eq!(["", "chat", "game", "board"].map(of), ["b", "c", "c", "b"]);
    }

    #[test]
    fn each_nodes_share_of_rooms_follows_its_weight() {
        let ring = ring(&[("a", 1), ("b", 3)]);
        let on_b =
            (0..4_000).filter(|n| ring.owner("", &room(&n.to_string())).as_str() == "b").count();
        assert!((2_800..3_200).contains(&on_b), "{on_b} of 4000");
    }

    proptest! {
        #[test]
        fn adding_a_node_moves_rooms_only_to_it(name in "[a-z0-9]{1,20}") {
            let before = ring(&[("a", 1), ("b", 1)]).owner("", &room(&name)).clone();
            let after = ring(&[("a", 1), ("b", 1), ("c", 1)]).owner("", &room(&name)).clone();
            prop_assert!(after == before || after.as_str() == "c");
        }
    }
}
