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
use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The version of all this.
const FORMAT: u32 = 2;
/// Which machine this is, since it was started. It changes with every start of the kernel.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A store's folder, held by this process.
pub(super) struct Folder {
    dir: PathBuf,
    state: Mutex<State>,
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
}

/// A store's folder, made whole.
pub(super) struct Opened {
    pub(super) folder: Arc<Folder>,
    pub(super) tree: Arc<dyn Tree>,
    /// The offset of the last turn.
    pub(super) last: Offset,
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
        let folder = Arc::new(Self {
            dir: dir.to_owned(),
            state: Mutex::new(state.clone().unwrap_or_default()),
            limits: limits.clone(),
            _lock: lock,
        });
        let (tree, last) = match state.as_ref().map(|state| folder.trusted_tree(state)) {
            Some(Ok(opened)) => opened,
            Some(Err(reason)) => {
                tracing::warn!(%reason, "the stored tree is made anew from the log");
                folder.rebuild()?
            }
            None => folder.rebuild()?,
        };
        folder.write_state(|state| state.clean = false)?;
        folder.tidy()?;
        let snapshot_bytes = folder.snapshot()?.map_or(Ok(0), |(path, _)| files::length(&path))?;
        let log_bytes = log::length(&folder.log())?;
        Ok(Opened { folder, tree, last, log_bytes, snapshot_bytes })
    }

    /// The tree that is there, brought up to date, if there is reason to believe it.
    fn trusted_tree(&self, state: &State) -> Result<(Arc<dyn Tree>, Offset), StoreError> {
        if !state.clean && (state.boot.is_none() || state.boot != boot()) {
            return Err(StoreError::Corrupt("the machine stopped while it was written".to_owned()));
        }
        let dir = self.tree_dir(state.tree);
        if !dir.is_dir() {
            return Err(StoreError::Corrupt(format!("{} is missing", dir.display())));
        }
        let (tree, batch) = (Sled::open(&dir, &self.limits)?, self.limits.copy_slice_bytes);
        let (checkpoint, applied) = (Offset(state.checkpoint), apply::applied(&tree)?);
        if applied < checkpoint {
            return Err(StoreError::Corrupt("sled lost what it had on disk".to_owned()));
        }
        let last = replay(&tree, batch, |each| log::read(&self.log(), checkpoint, each))?;
        Ok((Arc::new(tree), last))
    }

    /// Makes a new tree from the newest snapshot and the log behind it.
    fn rebuild(&self) -> Result<(Arc<dyn Tree>, Offset), StoreError> {
        let number = self.state().tree + 1;
        let dir = self.tree_dir(number);
        files::remove(&dir)?;
        let (tree, batch) = (Sled::open(&dir, &self.limits)?, self.limits.copy_slice_bytes);
        let mut from = Offset::default();
        if let Some((path, _)) = self.snapshot()? {
            from = replay(&tree, batch, |each| copies::read(&path, each))?;
        }
        let last = replay(&tree, batch, |each| log::read(&self.log(), from, each))?;
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

    /// Removes what nothing needs any more: other trees, older snapshots, copies that were not finished.
    fn tidy(&self) -> Result<(), StoreError> {
        let snapshot = self.snapshot()?.map(|(path, _)| path);
        let tree = self.tree_dir(self.state().tree);
        for name in files::list(&self.dir)? {
            let path = self.dir.join(&name);
            let is_old = (name.starts_with("tree-") && path != tree)
                || (name.starts_with("snapshot-") && Some(&path) != snapshot.as_ref())
                || name.ends_with(".new");
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

    /// Notes that everything was closed in order.
    pub(super) fn note_clean(&self) -> Result<(), StoreError> {
        self.write_state(|state| state.clean = true)
    }

    fn write_state(&self, change: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        let mut state = self.state();
        let mut new = State { boot: boot(), ..state.clone() };
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
        Self { format: FORMAT, tree: 0, checkpoint: 0, boot: boot(), clean: false }
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

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = files::at(&path, || File::create(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.display().to_string())),
        Err(TryLockError::Error(error)) => files::at(&path, || Err(error)),
    }
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
