//! Operations of an operator on a data folder that no node serves. Owns when a folder has data.
//!
//! Invariant: reading a folder without data never creates data in it, and a restore never overwrites data. It does not
//! know nodes or running rooms.

use crate::scratch::ScratchFolder;
use room_core::id::RoomId;
use room_core::limits::Limits;
use room_store::{LastUse, RoomContent, Store, StoreError};
use std::io;
use std::path::{Path, PathBuf};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The folder has no data.
    #[error("{} contains no room data", .0.display())]
    NoStore(PathBuf),
    /// The folder has data already.
    #[error("{} already contains room data", .0.display())]
    HasStore(PathBuf),
    /// The data cannot be used. [`StoreError::InUse`] means that a node or another command has it open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes a copy of all data into a new file, reads it back, and returns its size in bytes.
///
/// # Errors
/// [`OfflineError`]: the copy was not made, or its file is useless.
///
/// # Cancel safety
/// If dropped before it returns, the file may be written all the same.
pub async fn backup(dir: &Path, file: &Path, limits: &Limits) -> Result<u64, OfflineError> {
    let store = open(dir, limits, WhenMissing::Refused).await?;
    let done = store.backup(file.to_owned()).await;
    close(store).await;
    Ok(done?)
}

/// Restores a backup into a folder that is empty or does not exist yet.
///
/// # Errors
/// [`OfflineError`]: the backup is damaged or of another version, or the folder is not empty. A folder that is not
/// empty is left as it was.
pub fn restore(backup: &Path, dir: &Path) -> Result<(), OfflineError> {
    if has_store(dir)? {
        return Err(OfflineError::HasStore(dir.to_owned()));
    }
    Ok(Store::restore(backup, dir)?)
}

/// Returns everything that is stored for a room, or `None` if there is no such room.
///
/// # Errors
/// [`OfflineError`].
///
/// # Cancel safety
/// A dropped call changes nothing.
pub async fn export(
    dir: &Path,
    room: &RoomId,
    limits: &Limits,
) -> Result<Option<RoomContent>, OfflineError> {
    let store = open(dir, limits, WhenMissing::Refused).await?;
    let done = match ScratchFolder::new(dir) {
        Ok(scratch) => store.export(room, scratch.file(None).path().to_owned()).await,
        Err(error) => Err(error),
    };
    close(store).await;
    Ok(done?)
}

/// Replaces everything that is stored for a room. If the folder does not exist, it is created.
///
/// # Errors
/// [`OfflineError`]: nothing was changed. If the disk failed, the room may have a part of its new content.
///
/// # Cancel safety
/// If dropped before it returns, the room may be unchanged, or have a part of its new content.
pub async fn import(dir: &Path, content: RoomContent, limits: &Limits) -> Result<(), OfflineError> {
    let store = open(dir, limits, WhenMissing::Made).await?;
    let done = match store.service() {
        Ok(service) => {
            store.import(content, Some(LastUse { at_ms: service.served_ms, tries: 0 })).await
        }
        Err(error) => Err(error),
    };
    close(store).await;
    Ok(done?)
}

/// What to do with a folder that is empty or does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenMissing {
    Refused,
    Made,
}

async fn open(dir: &Path, limits: &Limits, missing: WhenMissing) -> Result<Store, OfflineError> {
    let is_empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    let may_open = has_store(dir)? || (missing == WhenMissing::Made && is_empty);
    if !may_open {
        return Err(OfflineError::NoStore(dir.to_owned()));
    }
    let (dir, limits) = (dir.to_owned(), limits.clone());
    let opened = tokio::task::spawn_blocking(move || Store::open(&dir, &limits)).await;
    Ok(opened.unwrap_or(Err(StoreError::Closed))?)
}

async fn close(store: Store) {
    if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
        tracing::error!("the store panicked while it was closed");
    }
}

/// Returns true if the folder has a store: `state`, `lock` or `snapshot-*` in this format, `db` in the first one.
fn has_store(dir: &Path) -> Result<bool, StoreError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(StoreError::Io(format!("{}: {error}", dir.display()))),
        Ok(entries) => entries,
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.into_iter().any(|name| {
        matches!(name.as_str(), "state" | "db" | "lock") || name.starts_with("snapshot-")
    }))
}
