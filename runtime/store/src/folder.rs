//! The folder of a store on disk. Owns the layout of the folder, and its recovery after a crash.
//!
//! Invariant: acknowledged writes are in the newest snapshot and the log after it. The tree is made from
//! these. The store trusts the stored tree only where nothing can have damaged it: after a clean end, or
//! after a crash of the process alone, which leaves the kernel's pages as they are. It does not know who
//! opens it.
//!
//! ```text
//! lock                    held while a process has the store open
//! state                   format, the tree's folder, its checkpoint, how the store was left
//! log/<number>.log        the commit log
//! service                 for how long the store was served
//! crons                   up to when each cron has called its rooms
//! tickets                 the key of the project's tickets
//! renames                 how far the rooms of renamed parties are
//! snapshot-<offset>       a snapshot of everything up to <offset>; recovery replays the log from there
//! tree-<number>/          sled's files
//! ```

use crate::apply::{self, GatheredChanges};
use crate::backend::{StoreError, Tree};
use crate::sled::Sled;
use crate::{Offset, Record, copies, files, log};
use room_core::clock::Clock;
use room_core::limits::Limits;
use room_core::lock::lock;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The version of this layout.
const FORMAT: u32 = 2;
/// The number of times a lock is tried. Between two tries is a pause, because a process that this one is starting holds
/// copies of its open files for a moment, also of files that were closed just now.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// Identifies the machine and its present start. It changes with every start of the kernel.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A store's folder, held by this process.
pub(super) struct StoreFolder {
    dir: PathBuf,
    id: u128,
    state: Mutex<FolderState>,
    /// The end of the log at its closing: the space after it is not needed.
    end: Mutex<Option<(PathBuf, u64)>>,
    limits: Limits,
    _lock: File,
}

/// The contents of the file `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FolderState {
    format: u32,
    /// The number of the tree's folder.
    tree: u64,
    /// The offset up to which the tree has everything on disk.
    checkpoint: u64,
    /// The boot ID at the last write; `None` where it is unknown.
    boot: Option<String>,
    /// Whether everything was closed in order.
    clean: bool,
    /// The store's name, in hexadecimal digits; `None` where the file was written before stores had names.
    #[serde(default)]
    store: Option<String>,
    /// The newest segment of the log, and its minimum length.
    #[serde(default)]
    segment: Option<SegmentNote>,
    /// When it was last opened, as [`opening`] counts.
    #[serde(default)]
    opened: u64,
}

/// A note about a segment of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SegmentNote {
    number: u64,
    bytes: u64,
}

/// A store's folder after recovery.
pub(super) struct OpenedFolder {
    pub(super) folder: Arc<StoreFolder>,
    pub(super) tree: Arc<dyn Tree>,
    /// The offset of the last turn.
    pub(super) last: Offset,
    /// How the end of the log was found.
    pub(super) end: LogEnd,
    /// The number of this opening, noted on disk.
    pub(super) opened: u64,
    /// The size of the log, in bytes.
    pub(super) log_bytes: u64,
    /// The size of the last snapshot, in bytes.
    pub(super) snapshot_bytes: u64,
}

/// The end of the log at an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogEnd {
    /// The store was closed in order, and nothing was written after that.
    Closed,
    /// The newest segment may have a torn end, or there is none yet.
    Open,
}

impl StoreFolder {
    /// Opens a store, and makes it if it does not exist. Recovers it if it was not closed in order.
    ///
    /// # Errors
    /// [`StoreError`]: another process has it open, its version is unknown, or acknowledged data cannot be
    /// read. That data is unchanged.
    pub(super) fn open(dir: &Path, limits: &Limits) -> Result<OpenedFolder, StoreError> {
        files::at(dir, || std::fs::create_dir_all(dir.join("log")))?;
        let lock = lock_folder(dir)?;
        let state = read_state(dir)?;
        let noted = state.as_ref().and_then(|state| state.store.as_ref());
        let noted = noted.and_then(|store| u128::from_str_radix(store, 16).ok());
        let id = match noted {
            Some(id) => id,
            None => log::store_of(&dir.join("log"))?.unwrap_or_else(new_id),
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
        let end = folder.log_end(state.as_ref(), last)?;
        folder.write_state(|state| {
            state.clean = false;
            state.opened = opening(state.opened);
        })?;
        let opened = folder.state().opened;
        folder.tidy()?;
        folder.remove_unfinished()?;
        let snapshot_bytes = folder.snapshot()?.map_or(Ok(0), |(path, _)| files::length(&path))?;
        let log_bytes = log::length(&folder.log())?;
        Ok(OpenedFolder { folder, tree, last, end, opened, log_bytes, snapshot_bytes })
    }

    /// Compares the log's files with the notes about them.
    fn check_log(&self, state: Option<&FolderState>) -> Result<(), StoreError> {
        let segment = state.and_then(|state| state.segment);
        let expected = log::Expected {
            id: self.id,
            newest: segment.map(|SegmentNote { number, bytes }| (number, bytes)),
            snapshot: Offset(self.snapshot()?.map_or(0, |(_, end)| end)),
        };
        // Without the file `state`, the operator has decided to continue with what can be read.
        if state.is_some() { log::check(&self.log(), &expected) } else { Ok(()) }
    }

    /// Returns how the log ends, whose last turn is `last`.
    fn log_end(&self, state: Option<&FolderState>, last: Offset) -> Result<LogEnd, StoreError> {
        let Some(FolderState { clean: true, segment: Some(segment), checkpoint, .. }) = state
        else {
            return Ok(LogEnd::Open);
        };
        let is_newest = log::newest(&self.log())? == Some(segment.number);
        Ok(if is_newest && *checkpoint == last.0 { LogEnd::Closed } else { LogEnd::Open })
    }

    /// Returns the stored tree, brought up to date, if it can be trusted.
    fn trusted_tree(&self, state: &FolderState) -> Result<(Arc<dyn Tree>, Offset), Distrust> {
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

    /// Returns the stored tree as it is, with its checkpoint.
    fn stored_tree(&self, state: &FolderState) -> Result<(Sled, Offset), StoreError> {
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
            return Err(StoreError::Corrupt("sled lost data that it had on disk".to_owned()));
        }
        if !apply::belongs_to(&tree, self.id)? {
            return Err(StoreError::Corrupt(format!("{} is another store's", dir.display())));
        }
        Ok((tree, checkpoint))
    }

    /// Builds a new tree from the newest snapshot and the log after it.
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

    /// Builds a new tree while the store is open, and drops the old one.
    ///
    /// # Errors
    /// [`StoreError`]: the old tree is still the folder's.
    pub(super) fn renew(&self) -> Result<Arc<dyn Tree>, StoreError> {
        let old = self.tree_dir(self.state().tree);
        let (tree, _) = self.rebuild()?;
        if let Err(error) = files::remove(&old) {
            // The tree's threads may still write to it. The next start removes it.
            tracing::warn!(%error, "a tree that failed is left behind");
        }
        Ok(tree)
    }

    /// Returns the folder of the log.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn tree_dir(&self, number: u64) -> PathBuf {
        self.dir.join(format!("tree-{number}"))
    }

    /// Returns a path for a snapshot in progress.
    pub(super) fn new_snapshot(&self) -> PathBuf {
        self.dir.join("snapshot.new")
    }

    /// Replaces the valid snapshot with a new one, and removes the old one.
    pub(super) fn keep_snapshot(&self, new: &Path, end: Offset) -> Result<(), StoreError> {
        files::put_in_place(new, &self.dir.join(format!("snapshot-{:020}", end.0)))?;
        self.tidy()
    }

    /// Returns the newest snapshot, with its offset.
    fn snapshot(&self) -> Result<Option<(PathBuf, u64)>, StoreError> {
        let names = files::list(&self.dir)?.into_iter();
        let snapshots = names.filter_map(|name| {
            let end = name.strip_prefix("snapshot-")?.parse().ok()?;
            Some((self.dir.join(name), end))
        });
        Ok(snapshots.max_by_key(|(_, end)| *end))
    }

    /// Removes unfinished files. Only for the start of an opening: while the store is open, a file that is
    /// being replaced has such a name for a moment.
    fn remove_unfinished(&self) -> Result<(), StoreError> {
        let names = files::list(&self.dir)?.into_iter();
        names
            .filter(|name| name.ends_with(".new"))
            .try_for_each(|name| files::remove(&self.dir.join(name)))
    }

    /// Removes trees and snapshots that are not needed any more.
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

    /// Notes that the tree has everything up to this offset on disk.
    pub(super) fn note_checkpoint(&self, upto: Offset) -> Result<(), StoreError> {
        self.write_state(|state| state.checkpoint = upto.0)
    }

    /// Returns the store's name.
    pub(super) fn id(&self) -> u128 {
        self.id
    }

    /// Notes the newest segment of the log, which has this many bytes from now on. The log calls it before it
    /// writes to the segment.
    pub(super) fn note_segment(&self, number: u64, bytes: u64) -> Result<(), StoreError> {
        self.write_state(|state| state.segment = Some(SegmentNote { number, bytes }))
    }

    /// Remembers the end of the log at its closing.
    pub(super) fn keep_end(&self, segment: PathBuf, bytes: u64) {
        *lock(&self.end) = Some((segment, bytes));
    }

    /// Notes that everything was closed in order, and gives back the space after the end of the log.
    pub(super) fn note_clean(&self) -> Result<(), StoreError> {
        let end = lock(&self.end).take();
        self.write_state(|state| {
            state.clean = true;
            if let (Some(segment), Some((_, bytes))) = (&mut state.segment, &end) {
                segment.bytes = *bytes;
            }
        })?;
        // Only after the note: a segment that is shorter than noted counts as cut.
        end.map_or(Ok(()), |(path, bytes)| {
            files::at(&path, || File::options().write(true).open(&path)?.set_len(bytes))
        })
    }

    fn write_state(&self, change: impl FnOnce(&mut FolderState)) -> Result<(), StoreError> {
        let mut state = self.state();
        let store = Some(format!("{:032x}", self.id));
        let mut new = FolderState { boot: boot(), store, ..state.clone() };
        change(&mut new);
        let json = serde_json::to_vec_pretty(&new);
        let json = json.map_err(|error| StoreError::Io(error.to_string()))?;
        files::replace(&self.dir.join("state"), &json)?;
        *state = new;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, FolderState> {
        lock(&self.state)
    }
}

impl Default for FolderState {
    fn default() -> Self {
        let (boot, store, segment, opened) = (boot(), None, None, 0);
        Self { format: FORMAT, tree: 0, checkpoint: 0, boot, clean: false, store, segment, opened }
    }
}

/// The reason why the stored tree is not used.
enum Distrust {
    /// It is damaged or may be. The log has everything.
    Tree(StoreError),
    /// The log lacks something that the tree has.
    Log(StoreError),
}

impl From<StoreError> for Distrust {
    fn from(error: StoreError) -> Self {
        Self::Tree(error)
    }
}

/// Makes a new store from a copy.
///
/// # Errors
/// [`StoreError`]: the copy is damaged or of another version, or the folder is not empty. The folder is
/// unchanged, or has parts that a later opening does not take for a store.
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

/// Returns a name that no other store has.
pub(super) fn new_id() -> u128 {
    uuid::Uuid::new_v4().as_u128()
}

/// Returns the number of an opening, in milliseconds since 1970. It is greater than the number before,
/// whatever the clock says. If the clock is right, it is also greater than the numbers that the store gave
/// since an older copy of it was made.
pub(super) fn opening(before: u64) -> u64 {
    Clock::system().wall_ms().max(before.saturating_add(1))
}

fn lock_folder(dir: &Path) -> Result<File, StoreError> {
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

/// Reads the file `state`; `None` if the folder has no store yet.
fn read_state(dir: &Path) -> Result<Option<FolderState>, StoreError> {
    let wrong = |found: String| StoreError::Format { found, wanted: FORMAT.to_string() };
    let path = dir.join("state");
    if !path.exists() {
        // The first format kept sled's files directly in the folder.
        return if dir.join("db").exists() { Err(wrong("1".to_owned())) } else { Ok(None) };
    }
    let json = files::at(&path, || std::fs::read(&path))?;
    let state: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
    match state.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format != u64::from(FORMAT) => Err(wrong(format.to_string())),
        // A damaged one counts as missing: recovery can find out everything that it says.
        _ => Ok(serde_json::from_value(state).ok()),
    }
}

fn boot() -> Option<String> {
    std::fs::read_to_string(BOOT_ID).ok().map(|id| id.trim().to_owned())
}

/// Applies records to a tree in large batches.
fn replay<T>(
    tree: &Sled,
    batch_bytes: u64,
    read: impl FnOnce(&mut dyn FnMut(Record) -> Result<(), StoreError>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut changes = GatheredChanges::on(tree);
    let result = read(&mut |record| {
        changes.add(&record)?;
        if changes.bytes() as u64 >= batch_bytes {
            std::mem::replace(&mut changes, GatheredChanges::on(tree)).write()?;
        }
        Ok(())
    })?;
    if !changes.is_empty() {
        changes.write()?;
    }
    Ok(result)
}
