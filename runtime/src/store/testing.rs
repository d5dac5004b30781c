//! A disk that misbehaves on purpose, for tests of the store's users.
//!
//! Invariant: it loses what it has not synced when it fails or the machine stops, as a real disk does. It
//! does not know what the tests are about.

use super::apply::Changes;
use super::backend::{Appended, Journal, StoreError, Tree};
use super::memory::Memory;
use super::service::ServiceFile;
use super::{AlarmsFrom, Offset, Parts, Record, Store};
use crate::id::{PartyName, RoomId, SequenceNumber};
use crate::limits::Limits;
use crate::metrics::{Metrics, StoreMetrics};
use hashbrown::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Returns the offset with this number.
pub(crate) fn offset(number: u64) -> Offset {
    Offset(number)
}

/// Lists the alarms that can be found, in the order of their times.
pub(crate) fn alarms(store: &Store) -> Vec<(u64, RoomId)> {
    let mut alarms = Vec::new();
    let shown = store.alarms(&AlarmsFrom::START, |due_ms, room| {
        alarms.push((due_ms, room));
        ControlFlow::Continue(())
    });
    shown.unwrap();
    alarms
}

/// Lists the rooms of the party `main` that were used, in the order of their last uses.
pub(crate) fn uses(store: &Store) -> Vec<(u64, RoomId)> {
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
pub(crate) struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
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
    pub(crate) fn store(&self, limits: &Limits) -> Store {
        self.counted_store(limits, Metrics::new().store)
    }

    /// As [`Disk::store`], with metrics.
    pub(crate) fn counted_store(&self, limits: &Limits, metrics: Arc<StoreMetrics>) -> Store {
        let limits = Limits { store_retry_ms: 1, ..limits.clone() };
        let disk = self.clone();
        Store::on(Parts {
            journal: Box::new(self.clone()),
            tree: self.tree().unwrap(),
            rebuild: Box::new(move || disk.tree()),
            on_disk: None,
            service: ServiceFile::default(),
            opened: self.0.openings.fetch_add(1, Ordering::Relaxed) + 1,
            last: self.synced().last().map_or(Offset::default(), |record| record.offset),
            limits: &limits,
            metrics,
        })
        .unwrap()
    }

    /// Returns another disk with what is synced now, as a crash leaves it: stores on this disk do not reach it.
    pub(crate) fn crashed(&self) -> Self {
        let inner = Inner {
            synced: Mutex::new(self.synced().clone()),
            openings: AtomicU64::new(self.0.openings.load(Ordering::Relaxed)),
            ..Inner::default()
        };
        Self(Arc::new(inner))
    }

    /// Returns the tree of all synced records.
    pub(super) fn tree(&self) -> Result<Arc<dyn Tree>, StoreError> {
        let tree = Memory::default();
        for record in self.synced().iter() {
            let mut changes = Changes::on(&tree);
            changes.add(record)?;
            changes.write()?;
        }
        Ok(Arc::new(tree))
    }

    /// Makes syncs wait from now on.
    pub(crate) fn hold(&self) {
        self.set(Mood::Waits);
    }

    /// Returns true while a sync waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.0.waiting.load(Ordering::SeqCst)
    }

    /// Makes syncs work from now on, those that wait first.
    pub(crate) fn work(&self) {
        self.set(Mood::Works);
    }

    /// Makes syncs fail from now on, those that wait first. The disk loses what was not synced.
    pub(crate) fn fail(&self) {
        self.set(Mood::Fails);
    }

    /// Makes the disk refuse records of this room from now on, or take them again. Records of other rooms are
    /// unaffected.
    pub(crate) fn refuse(&self, room: &RoomId, refused: bool) {
        let mut rooms = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match refused {
            true => rooms.insert(room.clone()),
            false => rooms.remove(room),
        };
    }

    /// Returns the numbers that were synced with commits of this room.
    pub(crate) fn numbers(&self, room: &RoomId) -> Vec<SequenceNumber> {
        let synced = self.synced();
        synced.iter().filter(|record| record.room == *room).map(|record| record.number).collect()
    }

    /// Makes the thread that syncs panic, which it never should.
    pub(crate) fn fall_over(&self) {
        self.set(Mood::FallsOver);
    }

    fn set(&self, mood: Mood) {
        *self.mood() = mood;
        self.0.changed.notify_all();
    }

    fn mood(&self) -> MutexGuard<'_, Mood> {
        self.0.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn synced(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0.synced.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (mood, _) = self
            .0
            .changed
            .wait_timeout_while(mood, HOLD_MAX, waits)
            .unwrap_or_else(PoisonError::into_inner);
        self.0.waiting.store(false, Ordering::SeqCst);
        assert!(*mood != Mood::FallsOver, "told to fall over");
        if *mood != Mood::Works {
            return Err(StoreError::Io("told to fail".to_owned()));
        }
        let refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let appended = records.map(|record| {
            if refused.contains(&record.room) {
                return Appended::Refused(StoreError::Io("told to refuse".to_owned()));
            }
            self.synced().push(record.clone());
            Appended::Durable
        });
        Ok(appended.collect())
    }

    fn resume(&mut self) -> Result<(), StoreError> {
        if *self.mood() == Mood::Fails {
            return Err(StoreError::Io("still told to fail".to_owned()));
        }
        Ok(())
    }
}

/// The remains of a store after its process or its machine stops: a disk in memory, or a folder.
pub(super) struct Image {
    kind: Kind,
    scratch: tempfile::TempDir,
    taken: usize,
}

enum Kind {
    Memory(Disk),
    Folder(PathBuf),
}

impl Image {
    pub(super) fn of_memory(disk: Disk) -> Self {
        Self { kind: Kind::Memory(disk), scratch: tempfile::tempdir().unwrap(), taken: 0 }
    }

    pub(super) fn of_folder() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self { kind: Kind::Folder(scratch.path().join("0")), scratch, taken: 0 }
    }

    /// Opens a store on it.
    pub(super) fn store(&self, limits: &Limits) -> Store {
        match &self.kind {
            Kind::Memory(disk) => disk.store(limits),
            Kind::Folder(dir) => Store::open(dir, limits).unwrap(),
        }
    }

    /// Returns a folder for other files.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns the folder, if it is one.
    pub(super) fn dir(&self) -> &Path {
        match &self.kind {
            Kind::Memory(_) => self.scratch(),
            Kind::Folder(dir) => dir,
        }
    }

    /// Becomes what the store would leave if its process were killed now.
    pub(super) fn take(&mut self, store: &Store) {
        if let Kind::Folder(dir) = &mut self.kind {
            self.taken += 1;
            let copy = self.scratch.path().join(self.taken.to_string());
            // While these locks are held the files do not change: copying a folder takes time.
            let shared = store.applier.shared();
            let _still = (store.keeper.still(), shared.copy());
            copy_folder(dir, &copy);
            *dir = copy;
        }
    }

    /// Becomes what the machine may leave when it stops: only synced data is certain.
    pub(super) fn cut_power(&self) {
        if let Kind::Folder(dir) = &self.kind {
            rewrite(&dir.join("state"), |state| {
                let state = String::from_utf8(state).unwrap();
                state.replacen("\"boot\": \"", "\"boot\": \"before ", 1).into_bytes()
            });
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                if entry.file_name().to_string_lossy().starts_with("tree-") {
                    rewrite(&entry.path().join("db"), |db| {
                        db.chunks(512).flat_map(|page| [&[0xa5; 64][..], page].concat()).collect()
                    });
                }
            }
        }
    }
}

/// Copies a folder.
pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Replaces the content of a file, if it is there.
pub(super) fn rewrite(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    if let Ok(content) = std::fs::read(path) {
        std::fs::write(path, change(content)).unwrap();
    }
}
