//! The folder of a store on disk. Owns what lies where, and how it is made whole after a crash.
//!
//! Invariant: what was acknowledged is in the newest snapshot and the log behind it. The tree is made
//! of these, and is only believed where nothing can have hurt it: after a clean end, or after a crash
//! of the process alone, which leaves the kernel's pages as they are. It does not know who opens it.
//!
//! ```text
//! lock                    held while a process has the store open
//! state                   format, the tree's folder, its checkpoint, how it was left
//! log/<number>.log        the commit log
//! service                 for how long it was served
//! snapshot-<offset>       everything up to an offset, as of which the log is needed
//! tree-<number>/          sled's files
//! ```

use super::apply::{self, Changes};
use super::backend::{StoreError, Tree};
use super::sled::Sled;
use super::{Offset, Record, copies, files, log};
use crate::clock::Clock;
use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The version of all this.
const FORMAT: u32 = 2;
/// How often a lock is tried, and the pause between two tries: a process that this one is starting has the files of
/// this one for a moment, one that was closed just now among them.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// Which machine this is, since it was started. It changes with every start of the kernel.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A store's folder, held by this process.
pub(super) struct Folder {
    dir: PathBuf,
    id: u128,
    state: Mutex<State>,
    /// Where the log ended when it was closed: what follows there is not needed.
    end: Mutex<Option<(PathBuf, u64)>>,
    limits: Limits,
    _lock: File,
}

/// What the folder says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    format: u32,
    /// The number of the tree's folder.
    tree: u64,
    /// The tree has everything up to here on disk.
    checkpoint: u64,
    /// Where it was written. None where that cannot be known.
    boot: Option<String>,
    /// Whether everything was closed in order.
    clean: bool,
    /// Which store this is, in hexadecimal digits. None where it was written before stores had names.
    #[serde(default)]
    store: Option<String>,
    /// The newest segment of the log, and its length at least.
    #[serde(default)]
    segment: Option<Segment>,
    /// When it was opened last, as [`opening`] counts.
    #[serde(default)]
    opened: u64,
}

/// What is noted of a segment of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Segment {
    number: u64,
    bytes: u64,
}

/// A store's folder, made whole.
pub(super) struct Opened {
    pub(super) folder: Arc<Folder>,
    pub(super) tree: Arc<dyn Tree>,
    /// The offset of the last turn.
    pub(super) last: Offset,
    /// This opening, noted on disk.
    pub(super) opened: u64,
    /// The size of the log, in bytes.
    pub(super) log_bytes: u64,
    /// The size of the last snapshot, in bytes.
    pub(super) snapshot_bytes: u64,
}

impl Folder {
    /// Opens a store, made if it is not there, and makes it whole if it was not closed in order.
    ///
    /// # Errors
    /// [`StoreError`]: another process has it open, it is of another version, or what was acknowledged
    /// cannot be read. Nothing of that was changed.
    pub(super) fn open(dir: &Path, limits: &Limits) -> Result<Opened, StoreError> {
        files::at(dir, || std::fs::create_dir_all(dir.join("log")))?;
        let lock = lock(dir)?;
        let state = read_state(dir)?;
        let noted = state.as_ref().and_then(|state| state.store.as_ref());
        let noted = noted.and_then(|store| u128::from_str_radix(store, 16).ok());
        let id = match noted {
            Some(id) => id,
            None => {
                log::store_of(&dir.join("log"))?.unwrap_or_else(|| uuid::Uuid::new_v4().as_u128())
            }
        };
        let folder = Arc::new(Self {
            dir: dir.to_owned(),
            id,
            state: Mutex::new(state.clone().unwrap_or_default()),
            end: Mutex::default(),
            limits: limits.clone(),
            _lock: lock,
        });
        folder.check_log(state.as_ref())?;
        let (tree, last) = match state.as_ref().map(|state| folder.trusted_tree(state)) {
            Some(Ok(opened)) => opened,
            Some(Err(Distrust::Log(error))) => return Err(error),
            Some(Err(Distrust::Tree(reason))) => {
                tracing::warn!(%reason, "the stored tree is rebuilt from the log");
                folder.rebuild()?
            }
            None => folder.rebuild()?,
        };
        folder.write_state(|state| {
            state.clean = false;
            state.opened = opening(state.opened);
        })?;
        let opened = folder.state().opened;
        folder.tidy()?;
        folder.remove_unfinished()?;
        let snapshot_bytes = folder.snapshot()?.map_or(Ok(0), |(path, _)| files::length(&path))?;
        let log_bytes = log::length(&folder.log())?;
        Ok(Opened { folder, tree, last, opened, log_bytes, snapshot_bytes })
    }

    /// Holds the log's files against what is noted of them.
    fn check_log(&self, state: Option<&State>) -> Result<(), StoreError> {
        let segment = state.and_then(|state| state.segment);
        let expected = log::Expected {
            id: self.id,
            newest: segment.map(|Segment { number, bytes }| (number, bytes)),
            snapshot: Offset(self.snapshot()?.map_or(0, |(_, end)| end)),
        };
        // Without the file `state`, the operator has decided to go on with what can be read.
        if state.is_some() { log::check(&self.log(), &expected) } else { Ok(()) }
    }

    /// The tree that is there, brought up to date, if there is reason to believe it.
    fn trusted_tree(&self, state: &State) -> Result<(Arc<dyn Tree>, Offset), Distrust> {
        let (tree, checkpoint) = self.stored_tree(state)?;
        let (applied, batch) = (apply::applied(&tree)?, self.limits.copy_slice_bytes);
        let last = replay(&tree, batch, |each| log::read(&self.log(), checkpoint, each))?;
        if applied > last {
            return Err(Distrust::Log(StoreError::Corrupt(format!(
                "the log in {} ends with offset {}, and the tree has turns up to {}; {}",
                self.log().display(),
                last.0,
                applied.0,
                log::WAYS_ON
            ))));
        }
        Ok((Arc::new(tree), last))
    }

    /// The tree that is there as it is, with its checkpoint.
    fn stored_tree(&self, state: &State) -> Result<(Sled, Offset), StoreError> {
        if !state.clean && (state.boot.is_none() || state.boot != boot()) {
            return Err(StoreError::Corrupt("the machine stopped while it was written".to_owned()));
        }
        let dir = self.tree_dir(state.tree);
        if !dir.is_dir() {
            return Err(StoreError::Corrupt(format!("{} is missing", dir.display())));
        }
        let tree = Sled::open(&dir, &self.limits)?;
        let (checkpoint, applied) = (Offset(state.checkpoint), apply::applied(&tree)?);
        if applied < checkpoint {
            return Err(StoreError::Corrupt("sled lost what it had on disk".to_owned()));
        }
        if !apply::belongs_to(&tree, self.id)? {
            return Err(StoreError::Corrupt(format!("{} is another store's", dir.display())));
        }
        Ok((tree, checkpoint))
    }

    /// Makes a new tree from the newest snapshot and the log behind it.
    fn rebuild(&self) -> Result<(Arc<dyn Tree>, Offset), StoreError> {
        let number = self.state().tree + 1;
        let dir = self.tree_dir(number);
        files::remove(&dir)?;
        let (tree, batch) = (Sled::open(&dir, &self.limits)?, self.limits.copy_slice_bytes);
        let mut from = Offset::default();
        if let Some((path, end)) = self.snapshot()? {
            from = replay(&tree, batch, |each| copies::read(&path, each))?;
            if from != Offset(end) {
                return Err(StoreError::Corrupt(format!(
                    "{} is not the snapshot that was made under this name: it ends with offset {}; put the file \
                     back as it was, or restore a backup",
                    path.display(),
                    from.0
                )));
            }
        }
        let last = replay(&tree, batch, |each| log::read(&self.log(), from, each))?;
        apply::mark(&tree, self.id)?;
        tree.sync()?;
        self.write_state(|state| {
            state.tree = number;
            state.checkpoint = last.0;
        })?;
        Ok((Arc::new(tree), last))
    }

    /// Makes a new tree while the store is open, and forgets the one before.
    ///
    /// # Errors
    /// [`StoreError`]: the one before is still the folder's.
    pub(super) fn renew(&self) -> Result<Arc<dyn Tree>, StoreError> {
        let old = self.tree_dir(self.state().tree);
        let (tree, _) = self.rebuild()?;
        if let Err(error) = files::remove(&old) {
            // Its threads may still write to it; the next start removes it.
            tracing::warn!(%error, "a tree that failed is left behind");
        }
        Ok(tree)
    }

    /// Where the log lies.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn tree_dir(&self, number: u64) -> PathBuf {
        self.dir.join(format!("tree-{number}"))
    }

    /// A name for a snapshot that is being made.
    pub(super) fn new_snapshot(&self) -> PathBuf {
        self.dir.join("snapshot.new")
    }

    /// Makes a snapshot the one that counts, and removes the one before.
    pub(super) fn keep_snapshot(&self, new: &Path, end: Offset) -> Result<(), StoreError> {
        files::put_in_place(new, &self.dir.join(format!("snapshot-{:020}", end.0)))?;
        self.tidy()
    }

    /// The newest snapshot, with its offset.
    fn snapshot(&self) -> Result<Option<(PathBuf, u64)>, StoreError> {
        let names = files::list(&self.dir)?.into_iter();
        let snapshots = names.filter_map(|name| {
            let end = name.strip_prefix("snapshot-")?.parse().ok()?;
            Some((self.dir.join(name), end))
        });
        Ok(snapshots.max_by_key(|(_, end)| *end))
    }

    /// Removes what was begun and not finished. Only where nobody has begun anything yet: what is replaced while the
    /// store is open has such a name for a moment.
    fn remove_unfinished(&self) -> Result<(), StoreError> {
        let names = files::list(&self.dir)?.into_iter();
        names
            .filter(|name| name.ends_with(".new"))
            .try_for_each(|name| files::remove(&self.dir.join(name)))
    }

    /// Removes what nothing needs any more: other trees and older snapshots.
    fn tidy(&self) -> Result<(), StoreError> {
        let snapshot = self.snapshot()?.map(|(path, _)| path);
        let tree = self.tree_dir(self.state().tree);
        for name in files::list(&self.dir)? {
            let path = self.dir.join(&name);
            let is_old = (name.starts_with("tree-") && path != tree)
                || (name.starts_with("snapshot-") && Some(&path) != snapshot.as_ref());
            if is_old {
                files::remove(&path)?;
            }
        }
        Ok(())
    }

    /// Notes that the tree has everything up to here on disk.
    pub(super) fn note_checkpoint(&self, upto: Offset) -> Result<(), StoreError> {
        self.write_state(|state| state.checkpoint = upto.0)
    }

    /// Which store this is.
    pub(super) fn id(&self) -> u128 {
        self.id
    }

    /// Notes the newest segment of the log, which has so many bytes from now on, before anything is written to it.
    pub(super) fn note_segment(&self, number: u64, bytes: u64) -> Result<(), StoreError> {
        self.write_state(|state| state.segment = Some(Segment { number, bytes }))
    }

    /// Keeps in mind where the log ends, which is closed.
    pub(super) fn keep_end(&self, segment: PathBuf, bytes: u64) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some((segment, bytes));
    }

    /// Notes that everything was closed in order, and gives back the space behind the end of the log.
    pub(super) fn note_clean(&self) -> Result<(), StoreError> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.write_state(|state| {
            state.clean = true;
            if let (Some(segment), Some((_, bytes))) = (&mut state.segment, &end) {
                segment.bytes = *bytes;
            }
        })?;
        // Only now: shorter than noted, it would be missed.
        end.map_or(Ok(()), |(path, bytes)| {
            files::at(&path, || File::options().write(true).open(&path)?.set_len(bytes))
        })
    }

    fn write_state(&self, change: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        let mut state = self.state();
        let store = Some(format!("{:032x}", self.id));
        let mut new = State { boot: boot(), store, ..state.clone() };
        change(&mut new);
        let json = serde_json::to_vec_pretty(&new);
        let json = json.map_err(|error| StoreError::Io(error.to_string()))?;
        files::replace(&self.dir.join("state"), &json)?;
        *state = new;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is replaced as a whole, so what a panicking holder left is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for State {
    fn default() -> Self {
        let (boot, store, segment, opened) = (boot(), None, None, 0);
        Self { format: FORMAT, tree: 0, checkpoint: 0, boot, clean: false, store, segment, opened }
    }
}

/// Why the tree that is there is not taken.
enum Distrust {
    /// It is damaged or may be: the log has everything.
    Tree(StoreError),
    /// It has more than the log has.
    Log(StoreError),
}

impl From<StoreError> for Distrust {
    fn from(error: StoreError) -> Self {
        Self::Tree(error)
    }
}

/// Puts a copy in place as a store that can be opened.
///
/// # Errors
/// [`StoreError`]: the copy is damaged or of another version, or the folder has something in it.
/// Nothing was changed, or the folder has parts of a store that will not be taken for one.
pub(super) fn restore(copy: &Path, dir: &Path) -> Result<(), StoreError> {
    let end = copies::read(copy, |_| Ok(()))?;
    if !files::list(dir)?.is_empty() {
        let problem = format!("{} is not empty; restore into a new folder", dir.display());
        return Err(StoreError::Io(problem));
    }
    files::at(dir, || std::fs::create_dir_all(dir))?;
    let new = dir.join("restored.new");
    files::at(&new, || {
        std::fs::copy(copy, &new)?;
        File::open(&new)?.sync_all()
    })?;
    files::put_in_place(&new, &dir.join(format!("snapshot-{:020}", end.0)))
}

/// The number of an opening: greater than that of the one before, whatever the clock says, and greater than that of
/// an older copy of the store, which the number before does not tell of, as far as the clock is right. In milliseconds
/// since 1970.
pub(super) fn opening(before: u64) -> u64 {
    Clock::system().wall_ms().max(before.saturating_add(1))
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = files::at(&path, || File::create(&path))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return files::at(&path, || Err(error)),
        }
    }
    Err(StoreError::InUse(dir.display().to_string()))
}

/// What the folder says of itself; none if there is no store in it yet.
fn read_state(dir: &Path) -> Result<Option<State>, StoreError> {
    let wrong = |found: String| StoreError::Format { found, wanted: FORMAT.to_string() };
    let path = dir.join("state");
    if !path.exists() {
        // The first format kept sled's files right in the folder.
        return if dir.join("db").exists() { Err(wrong("1".to_owned())) } else { Ok(None) };
    }
    let json = files::at(&path, || std::fs::read(&path))?;
    let state: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
    match state.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format != u64::from(FORMAT) => Err(wrong(format.to_string())),
        // One that is damaged is as good as none: it says nothing that cannot be found out.
        _ => Ok(serde_json::from_value(state).ok()),
    }
}

fn boot() -> Option<String> {
    std::fs::read_to_string(BOOT_ID).ok().map(|id| id.trim().to_owned())
}

/// Applies records to a tree, many at once.
fn replay<T>(
    tree: &Sled,
    batch_bytes: u64,
    read: impl FnOnce(&mut dyn FnMut(Record) -> Result<(), StoreError>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut changes = Changes::on(tree);
    let result = read(&mut |record| {
        changes.add(&record)?;
        if changes.bytes() as u64 >= batch_bytes {
            std::mem::replace(&mut changes, Changes::on(tree)).write()?;
        }
        Ok(())
    })?;
    if !changes.is_empty() {
        changes.write()?;
    }
    Ok(result)
}
