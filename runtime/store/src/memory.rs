//! Bytes in memory, for tests and `--ephemeral`. Owns the same contracts as the disk's.
//!
//! Invariant: a batch is applied as a whole. It does not know what the bytes mean.

use crate::Record;
use crate::backend::{Appended, Journal, Keys, StoreError, Tree};
use bytes::Bytes;
use hashbrown::HashSet;
use room_core::lock::lock;
use room_core::span::{Direction, Entries, Key, Overlay, Span};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

/// A journal that keeps nothing: the store is gone with the process.
pub(super) struct NullJournal;

impl Journal for NullJournal {
    fn append(
        &mut self,
        records: &mut dyn Iterator<Item = &Record>,
    ) -> Result<Vec<Appended>, StoreError> {
        Ok(records.map(|_| Appended::Durable).collect())
    }

    fn resume(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A map. Clones are the same map.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<BTreeMap<Key, Bytes>>>);

impl Memory {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Key, Bytes>> {
        lock(&self.0)
    }

    /// Returns the first entry of a span, and moves the start of the span after it.
    fn take_first(&self, span: &mut Span) -> Option<(Key, Bytes)> {
        if span.is_empty() {
            return None;
        }
        let entries = self.entries();
        let mut range = entries.range::<Key, _>((span.start.as_ref(), span.end.as_ref()));
        let (next, bound) = match span.direction {
            Direction::Forward => (range.next()?, &mut span.start),
            Direction::Reverse => (range.next_back()?, &mut span.end),
        };
        *bound = Bound::Excluded(next.0.clone());
        Some((next.0.clone(), next.1.clone()))
    }
}

impl Tree for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.entries().get(key).cloned())
    }

    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, StoreError> {
        Ok(self.entries().get(key).map(Bytes::len))
    }

    fn keys(&self, span: &Span) -> Keys {
        Box::new(self.scan(span, HashSet::new()).map(|entry| Ok(entry?.0)))
    }

    fn scan(&self, span: &Span, shadow: HashSet<Key>) -> Entries<'static, StoreError> {
        let (this, mut span) = (self.clone(), span.clone());
        let entries = std::iter::from_fn(move || this.take_first(&mut span));
        Box::new(entries.filter(move |(key, _)| !shadow.contains(key)).map(Ok))
    }

    fn apply(&self, batch: &Overlay) -> Result<(), StoreError> {
        let mut entries = self.entries();
        for (key, value) in batch {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
