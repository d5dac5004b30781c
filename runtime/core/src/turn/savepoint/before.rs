//! What a part of a turn replaced in one of the turn's maps. Owns how that is noted and put back.
//!
//! Invariant: of several notes of one key the oldest counts, so there is at most one for each key that was changed. It
//! does not know what the map is for.

use std::collections::{BTreeMap, BTreeSet};

/// The entries of a map at a savepoint, as far as they differ from the present ones.
#[derive(Clone, Debug)]
pub(in crate::turn) struct Before<K, V> {
    /// All of them, once everything was removed.
    pub(super) all: Option<BTreeMap<K, V>>,
    /// Entries that were replaced or removed.
    pub(super) replaced: BTreeMap<K, V>,
    /// Keys that had no entry.
    pub(super) untouched: BTreeSet<K>,
}

impl<K, V> Default for Before<K, V> {
    fn default() -> Self {
        Self { all: None, replaced: BTreeMap::new(), untouched: BTreeSet::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Before<K, V> {
    /// Notes the entry of a key that is about to change.
    pub(super) fn note(&mut self, key: &K, old: Option<&V>) {
        if self.all.is_some() || self.replaced.contains_key(key) || self.untouched.contains(key) {
            return;
        }
        match old {
            Some(old) => drop(self.replaced.insert(key.clone(), old.clone())),
            None => drop(self.untouched.insert(key.clone())),
        }
    }

    /// Notes the entries of a map that was emptied.
    pub(super) fn note_all(&mut self, mut old: BTreeMap<K, V>) {
        if self.all.is_none() {
            std::mem::take(self).restore(&mut old);
            self.all = Some(old);
        }
    }

    /// Notes what a later savepoint has noted.
    pub(super) fn take_over(&mut self, later: Self) {
        for key in &later.untouched {
            self.note(key, None);
        }
        for (key, old) in &later.replaced {
            self.note(key, Some(old));
        }
        if let Some(old) = later.all {
            self.note_all(old);
        }
    }

    /// Makes the map what it was.
    pub(super) fn restore(mut self, map: &mut BTreeMap<K, V>) {
        if let Some(all) = self.all {
            *map = all;
            return;
        }
        for key in self.untouched {
            map.remove(&key);
        }
        map.append(&mut self.replaced);
    }
}
