//! The tree as a group of commits finds it. Owns what is read ahead for the group.
//!
//! Invariant: it shows the state up to the previous group, in memory or in the database, and asks the database a few
//! questions a group and not one a key. It does not know what the group changes.

use super::rows::PagedRows;
use super::tree::SharedTree;
use crate::backend::{Keys, StoreError, Tree};
use crate::keys;
use crate::{OutboundChange, Record, outbound};
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use room_core::lock::lock;
use room_core::span::{Entries, Key, Overlay, Span};
use std::sync::Mutex;

/// The tree of a shared store, with what a group needs of it.
pub(super) struct GroupTree<'a> {
    tree: &'a SharedTree,
    /// The facts of rooms that are not in memory; `None` where there are none.
    facts: HashMap<Key, Option<Bytes>>,
    /// The lengths of values that are not in memory; `None` where there is no value.
    lengths: Mutex<HashMap<Key, Option<usize>>>,
}

impl<'a> GroupTree<'a> {
    /// Reads ahead for these records.
    pub(super) fn before(tree: &'a SharedTree, records: &[&Record]) -> Result<Self, StoreError> {
        let (mut facts, mut lengths) = (HashMap::new(), HashMap::new());
        for record in records {
            let info = keys::info(&record.room);
            if tree.in_memory(&info).is_none() {
                facts.insert(info, None);
            }
            let prefix = keys::guest_prefix(&record.room);
            if tree.in_memory(&prefix).is_none() {
                let keys = record.change.keys.keys();
                lengths.extend(keys.map(|key| ([prefix.as_slice(), key].concat(), None)));
            }
            let prefix = keys::outbound_prefix(&record.room);
            if let Some(OutboundChange { entries, .. }) = record.change.outbound.as_deref()
                && tree.in_memory(&prefix).is_none()
            {
                let keys = entries.keys().map(|id| outbound::key_of(*id));
                lengths.extend(keys.map(|key| ([prefix.as_slice(), &key].concat(), None)));
            }
        }
        let rows = tree.rows();
        if !facts.is_empty() {
            let wanted: Vec<_> = facts.keys().cloned().collect();
            let found = rows.wait(rows.values(&wanted))?;
            facts.extend(found.into_iter().map(|(key, value)| (key, Some(value))));
        }
        if !lengths.is_empty() {
            let wanted: Vec<_> = lengths.keys().cloned().collect();
            let found = rows.wait(rows.lengths(&wanted))?;
            lengths.extend(found.into_iter().map(|(key, length)| (key, Some(length))));
        }
        Ok(Self { tree, facts, lengths: Mutex::new(lengths) })
    }
}

impl Tree for GroupTree<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.facts.get(key) {
            Some(known) => Ok(known.clone()),
            None => self.tree.get(key),
        }
    }

    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, StoreError> {
        let known = lock(&self.lengths).get(key).copied();
        known.map_or_else(|| self.tree.value_len(key), Ok)
    }

    fn keys(&self, span: &Span) -> Keys {
        if let Some(memory) = self.tree.in_memory_all(span) {
            return memory.keys(span);
        }
        // The lengths come with the keys, and the caller may ask for them next.
        let read: Vec<_> = PagedRows::keys(self.tree.rows(), span, None)
            .map(|row| {
                let (key, length) = row?;
                lock(&self.lengths).insert(key.clone(), Some(length));
                Ok(key)
            })
            .collect();
        Box::new(read.into_iter())
    }

    fn scan(&self, span: &Span, shadow: HashSet<Key>) -> Entries<'static, StoreError> {
        self.tree.scan(span, shadow)
    }

    fn apply(&self, changes: &Overlay) -> Result<(), StoreError> {
        self.tree.apply(changes)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.tree.sync()
    }
}
