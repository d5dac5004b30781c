//! A disk that misbehaves on purpose, for tests of those who use a store.
//!
//! Invariant: what it has not synced is lost when it breaks, as with a real one. It does not know what
//! the tests are about.

use super::backend::{Backend, Keys, StoreError};
use super::memory::Memory;
use super::{Offset, Store};
use crate::limits::Limits;
use crate::span::{Entries, Key, Overlay, Span};
use bytes::Bytes;
use hashbrown::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The offset with this number.
pub(crate) fn offset(number: u64) -> Offset {
    Offset(number)
}

/// How long a sync waits at most: a test that failed must not leave the committer waiting for ever.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// A disk in memory whose syncs wait or fail when it is told so. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    memory: Memory,
    mood: Mutex<Mood>,
    changed: Condvar,
    waiting: AtomicBool,
}

/// What a sync does.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Works,
    Waits,
    Fails,
    Breaks,
}

impl Disk {
    /// A store on this disk.
    pub(crate) fn store(&self, limits: &Limits) -> Store {
        Store::on(Arc::new(self.clone()), limits).unwrap()
    }

    /// Syncs wait from now on.
    pub(crate) fn hold(&self) {
        self.set(Mood::Waits);
    }

    /// True while a sync waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.0.waiting.load(Ordering::SeqCst)
    }

    /// Syncs work from now on, those that wait first.
    pub(crate) fn work(&self) {
        self.set(Mood::Works);
    }

    /// Syncs fail from now on, those that wait first, and what was not synced is lost.
    pub(crate) fn fail(&self) {
        self.set(Mood::Fails);
    }

    /// Syncs fail from now on, and nobody can tell what was lost.
    pub(crate) fn break_down(&self) {
        self.set(Mood::Breaks);
    }

    fn set(&self, mood: Mood) {
        *self.mood() = mood;
        self.0.changed.notify_all();
    }

    fn mood(&self) -> MutexGuard<'_, Mood> {
        self.0.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.memory.get(key)
    }

    fn keys<'a>(&'a self, span: &Span) -> Keys<'a> {
        self.0.memory.keys(span)
    }

    fn scan<'a>(&'a self, span: &Span, shadow: HashSet<Key>) -> Entries<'a, StoreError> {
        self.0.memory.scan(span, shadow)
    }

    fn apply(&self, batch: &Overlay) -> Result<(), StoreError> {
        self.0.memory.apply(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mood = self.mood();
        self.0.waiting.store(*mood == Mood::Waits, Ordering::SeqCst);
        let waits = |mood: &mut Mood| *mood == Mood::Waits;
        let (mood, _) = self
            .0
            .changed
            .wait_timeout_while(mood, HOLD_MAX, waits)
            .unwrap_or_else(PoisonError::into_inner);
        self.0.waiting.store(false, Ordering::SeqCst);
        if *mood != Mood::Works {
            return Err(StoreError::Io("told to fail".to_owned()));
        }
        self.0.memory.sync()
    }

    fn forget_unsynced(&self) -> Result<(), StoreError> {
        if *self.mood() == Mood::Breaks {
            return Err(StoreError::Io("told to break".to_owned()));
        }
        self.0.memory.forget_unsynced()
    }
}
