//! A disk that misbehaves on purpose, for tests of the store's users.
//!
//! Invariant: it loses what it has not synced when it fails or the machine stops, as a real disk does. It
//! does not know what the tests are about.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::apply::GatheredChanges;
use crate::backend::{Appended, Journal, StoreError, Tree};
use crate::memory::Memory;
use crate::notes::NoteFile;
use crate::{AlarmsFrom, Offset, Record, Store, StoreParts};
use hashbrown::HashSet;
use room_core::id::{PartyName, RoomId, SequenceNumber};
use room_core::limits::Limits;
use room_core::lock::{lock, unpoisoned};
use room_core::metrics::{Metrics, StoreMetrics};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Returns the offset with this number.
pub fn offset(number: u64) -> Offset {
    Offset(number)
}

/// Lists the alarms that can be found, in the order of their times.
pub fn alarms(store: &Store) -> Vec<(u64, RoomId)> {
    let mut alarms = Vec::new();
    let shown = store.alarms(&AlarmsFrom::START, |due_ms, room| {
        alarms.push((due_ms, room));
        ControlFlow::Continue(())
    });
    shown.unwrap();
    alarms
}

/// Lists the rooms of the party `main` that were used, in the order of their last uses.
pub fn uses(store: &Store) -> Vec<(u64, RoomId)> {
    let mut uses = Vec::new();
    let main = PartyName::parse("main").unwrap();
    let shown = store.used_before(&main, u64::MAX, |at_ms, room| {
        uses.push((at_ms, room));
        ControlFlow::Continue(())
    });
    shown.unwrap();
    uses
}

/// The longest wait of a sync: a test that failed must not leave the committer waiting forever.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// A disk in memory whose syncs wait or fail on a test's command. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The name of all stores on it.
    id: u128,
    synced: Mutex<Vec<Record>>,
    refused: Mutex<HashSet<RoomId>>,
    openings: AtomicU64,
    mood: Mutex<Mood>,
    changed: Condvar,
    waiting: AtomicBool,
}

/// The behaviour of a sync.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Works,
    Waits,
    Fails,
    FallsOver,
}

impl Disk {
    /// Opens a store on this disk, with everything that was synced to it.
    pub fn store(&self, limits: &Limits) -> Store {
        self.counted_store(limits, Metrics::new().store)
    }

    /// As [`Disk::store`], with metrics.
    pub fn counted_store(&self, limits: &Limits, metrics: Arc<StoreMetrics>) -> Store {
        let limits = Limits { store_retry_ms: 1, ..limits.clone() };
        let disk = self.clone();
        Store::on(StoreParts {
            journal: Box::new(self.clone()),
            tree: self.tree().unwrap(),
            rebuild: Box::new(move || disk.tree()),
            on_disk: None,
            service: NoteFile::default(),
            crons: NoteFile::default(),
            renames: NoteFile::default(),
            tickets: NoteFile::default(),
            id: self.0.id,
            opened: self.0.openings.fetch_add(1, Ordering::Relaxed) + 1,
            last: self.synced().last().map_or(Offset::default(), |record| record.offset),
            place: None,
            limits: &limits,
            metrics,
        })
        .unwrap()
    }

    /// Returns another disk with the bytes that are synced now, as a crash leaves them: stores on this disk do not
    /// reach it.
    pub fn crashed(&self) -> Self {
        let inner = Inner {
            id: self.0.id,
            synced: Mutex::new(self.synced().clone()),
            openings: AtomicU64::new(self.0.openings.load(Ordering::Relaxed)),
            ..Inner::default()
        };
        Self(Arc::new(inner))
    }

    /// Returns another disk with the first of the records that are synced now.
    pub fn cut(&self, records: usize) -> Self {
        let disk = self.crashed();
        disk.synced().truncate(records);
        disk
    }

    /// Returns the number of records that are synced.
    pub fn records(&self) -> usize {
        self.synced().len()
    }

    /// Returns the tree of all synced records.
    pub(super) fn tree(&self) -> Result<Arc<dyn Tree>, StoreError> {
        let tree = Memory::default();
        for record in self.synced().iter() {
            let mut changes = GatheredChanges::on(&tree);
            changes.add(record)?;
            changes.write()?;
        }
        Ok(Arc::new(tree))
    }

    /// Makes syncs wait from now on.
    pub fn hold(&self) {
        self.set(Mood::Waits);
    }

    /// Returns true while a sync waits.
    pub fn is_waited_for(&self) -> bool {
        self.0.waiting.load(Ordering::SeqCst)
    }

    /// Makes syncs work from now on, those that wait first.
    pub fn work(&self) {
        self.set(Mood::Works);
    }

    /// Makes syncs fail from now on, waiting ones first. The disk loses unsynced bytes.
    pub fn fail(&self) {
        self.set(Mood::Fails);
    }

    /// Makes the disk refuse records of this room from now on, or take them again. Records of other rooms are
    /// unaffected.
    pub fn refuse(&self, room: &RoomId, refused: bool) {
        let mut rooms = lock(&self.0.refused);
        match refused {
            true => rooms.insert(room.clone()),
            false => rooms.remove(room),
        };
    }

    /// Returns the numbers that were synced with commits of this room.
    pub fn numbers(&self, room: &RoomId) -> Vec<SequenceNumber> {
        let synced = self.synced();
        synced.iter().filter(|record| record.room == *room).map(|record| record.number).collect()
    }

    /// Makes the thread that syncs panic, which it never should.
    pub fn fall_over(&self) {
        self.set(Mood::FallsOver);
    }

    fn set(&self, mood: Mood) {
        *self.mood() = mood;
        self.0.changed.notify_all();
    }

    fn mood(&self) -> MutexGuard<'_, Mood> {
        lock(&self.0.mood)
    }

    fn synced(&self) -> MutexGuard<'_, Vec<Record>> {
        lock(&self.0.synced)
    }
}

impl Journal for Disk {
    fn append(
        &mut self,
        records: &mut dyn Iterator<Item = &Record>,
    ) -> Result<Vec<Appended>, StoreError> {
        let mood = self.mood();
        self.0.waiting.store(*mood == Mood::Waits, Ordering::SeqCst);
        let waits = |mood: &mut Mood| *mood == Mood::Waits;
        let (mood, _) = unpoisoned(self.0.changed.wait_timeout_while(mood, HOLD_MAX, waits));
        self.0.waiting.store(false, Ordering::SeqCst);
        assert!(*mood != Mood::FallsOver, "asked to panic");
        if *mood != Mood::Works {
            return Err(StoreError::Io("asked to fail".to_owned()));
        }
        let refused = lock(&self.0.refused);
        let appended = records.map(|record| {
            if refused.contains(&record.room) {
                return Appended::Refused(StoreError::Io("asked to refuse".to_owned()));
            }
            self.synced().push(record.clone());
            Appended::Durable
        });
        Ok(appended.collect())
    }

    fn resume(&mut self) -> Result<(), StoreError> {
        if *self.mood() == Mood::Fails {
            return Err(StoreError::Io("still asked to fail".to_owned()));
        }
        Ok(())
    }
}
