//! Bytes in memory, for tests and `--ephemeral`. Owns the same contract as the disk's.
//!
//! Invariant: it forgets what was not synced when asked to, as a power cut would. It does not know what the
//! bytes mean.

use super::backend::{Backend, Keys, StoreError};
use crate::span::{Direction, Entries, Key, Overlay, Span};
use bytes::Bytes;
use hashbrown::HashSet;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A map, and how to undo what was not synced yet.
#[derive(Default)]
pub(super) struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    live: BTreeMap<Key, Bytes>,
    undo: Vec<(Key, Option<Bytes>)>,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        // A batch is applied by moves that cannot panic, so what a panicking holder left is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state().live.get(key).cloned())
    }

    fn keys<'a>(&'a self, span: &Span) -> Keys<'a> {
        Box::new(self.scan(span, HashSet::new()).map(|entry| Ok(entry?.0)))
    }

    fn scan<'a>(&'a self, span: &Span, shadow: HashSet<Key>) -> Entries<'a, StoreError> {
        if span.is_empty() {
            return Box::new(std::iter::empty());
        }
        let state = self.state();
        let range = state.live.range::<Key, _>((span.start.as_ref(), span.end.as_ref()));
        let visible = range.filter(|(key, _)| !shadow.contains(*key));
        let mut entries: Vec<_> =
            visible.map(|(key, value)| Ok((key.clone(), value.clone()))).collect();
        if span.direction == Direction::Reverse {
            entries.reverse();
        }
        Box::new(entries.into_iter())
    }

    fn apply(&self, batch: &Overlay) -> Result<(), StoreError> {
        let mut state = self.state();
        for (key, value) in batch {
            let old = match value {
                Some(value) => state.live.insert(key.clone(), value.clone()),
                None => state.live.remove(key),
            };
            state.undo.push((key.clone(), old));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.state().undo.clear();
        Ok(())
    }

    fn forget_unsynced(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        for (key, old) in std::mem::take(&mut state.undo).into_iter().rev() {
            match old {
                Some(value) => state.live.insert(key, value),
                None => state.live.remove(&key),
            };
        }
        Ok(())
    }
}
