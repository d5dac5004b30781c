//! What an operator does with a data folder that no node serves. Owns when a folder is one.
//!
//! Invariant: a folder that has no data is not made into one by looking at it, and data is never restored
//! over other data. It does not know nodes or rooms that run.

use super::scratch::ScratchFolder;
use crate::id::RoomId;
use crate::limits::Limits;
use crate::store::{RoomContent, Store, StoreError, Touch};
use std::io;
use std::path::{Path, PathBuf};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// There is no data to work on.
    #[error("there is no data of rooms in {}", .0.display())]
    NoStore(PathBuf),
    /// There is data where none may be.
    #[error("{} has data of rooms in it", .0.display())]
    HasStore(PathBuf),
    /// The data cannot be used; [`StoreError::InUse`] if a node, or another command, has it open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes a copy of everything into a new file, and reads it back. Its size in bytes.
///
/// # Errors
/// [`OfflineError`]: there is no such file, or nothing of use in it.
///
/// # Cancel safety
/// Dropped before it returns, the file may be made all the same.
pub async fn backup(dir: &Path, file: &Path, limits: &Limits) -> Result<u64, OfflineError> {
    let store = open(dir, limits, Missing::Refused).await?;
    let done = store.backup(file.to_owned()).await;
    close(store).await;
    Ok(done?)
}

/// Makes data of a backup, in a folder that is empty or not there yet.
///
/// # Errors
/// [`OfflineError`]: the backup is damaged or of another version, or the folder has something in it, which
/// is left as it was.
pub fn restore(backup: &Path, dir: &Path) -> Result<(), OfflineError> {
    if has_store(dir)? {
        return Err(OfflineError::HasStore(dir.to_owned()));
    }
    Ok(Store::restore(backup, dir)?)
}

/// Everything that is stored for a room; none if there is no such room.
///
/// # Errors
/// [`OfflineError`].
///
/// # Cancel safety
/// Nothing is changed.
pub async fn export(
    dir: &Path,
    room: &RoomId,
    limits: &Limits,
) -> Result<Option<RoomContent>, OfflineError> {
    let store = open(dir, limits, Missing::Refused).await?;
    let done = match ScratchFolder::new(dir) {
        Ok(scratch) => store.export(room, scratch.file(None).path().to_owned()).await,
        Err(error) => Err(error),
    };
    close(store).await;
    Ok(done?)
}

/// Replaces everything that is stored for a room. A folder that is not there is made.
///
/// # Errors
/// [`OfflineError`]: nothing was changed, or, if the disk failed, the room may have a part of its new
/// content.
///
/// # Cancel safety
/// Dropped before it returns, the room may be as it was, or have a part of its new content.
pub async fn import(dir: &Path, content: RoomContent, limits: &Limits) -> Result<(), OfflineError> {
    let store = open(dir, limits, Missing::Made).await?;
    let done = match store.service() {
        Ok(service) => {
            store.import(content, Some(Touch { at_ms: service.served_ms, tries: 0 })).await
        }
        Err(error) => Err(error),
    };
    close(store).await;
    Ok(done?)
}

/// What becomes of a folder that is empty or not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Refused,
    Made,
}

async fn open(dir: &Path, limits: &Limits, missing: Missing) -> Result<Store, OfflineError> {
    let is_empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    let may_open = has_store(dir)? || (missing == Missing::Made && is_empty);
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

/// True if a store was opened here once, or restored: `state` of this format, `db` of the first one.
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
