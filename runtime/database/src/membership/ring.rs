//! Rendezvous hashing of shards over nodes. Pure; owns nothing but the names of the nodes.
//!
//! Invariant: when a node joins or leaves, only shards move that go to it or come from it. Every node with this code
//! proposes the same.

use crate::lease::SHARDS;
use hrw_hash::{HrwNode, HrwNodes};
use std::hash::{Hash, Hasher};

/// A node by its name.
#[derive(PartialEq, Eq)]
struct NamedNode<'a>(&'a str);

// Only bytes are hashed: `str` adds a mark that need not be the same everywhere.
impl Hash for NamedNode<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}

impl HrwNode for NamedNode<'_> {}

/// A shard as it is hashed.
struct HashedShard(u16);

impl Hash for HashedShard {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.to_be_bytes());
    }
}

/// Returns which of these nodes each shard belongs on; nothing if there is no node. Names are given once each.
pub(super) fn proposals<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let nodes = HrwNodes::new(names.map(NamedNode));
    let best = |shard| nodes.sorted(&HashedShard(shard)).next().map(|node| node.0);
    (0..SHARDS).map_while(best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&'static str]) -> Vec<&'static str> {
        proposals(names.iter().copied())
    }

    /// Nodes of different versions must agree, so these answers never change.
    #[test]
    fn known_shards_belong_to_known_nodes() {
        let first: String = of(&["a", "b", "c"]).into_iter().take(32).collect();
        expect_test::expect!["cacbacbcbbbaababaccacabccaacacbb"].assert_eq(&first);
        assert_eq!(of(&["c", "a", "b"]), of(&["a", "b", "c"]));
        assert!(of(&[]).is_empty() && of(&["a"]).iter().all(|node| *node == "a"));
    }

    #[test]
    fn a_node_that_joins_gets_its_share_and_nothing_else_moves() {
        let (before, after) = (of(&["a", "b"]), of(&["a", "b", "c"]));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(from, to)| from != to).collect();
        assert!(moved.iter().all(|(_, to)| **to == "c"));
        assert!((240..440).contains(&moved.len()), "{} of {SHARDS}", moved.len());
    }
}
