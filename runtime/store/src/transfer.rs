//! Storage in and out: backups of everything, and single rooms. Owns the changes to a room from outside.
//!
//! Invariant: an export is a state that the rooms really had, and an import replaces a room as a whole. It
//! does not know who is allowed to ask, or whether a room runs.

use crate::content::RoomContent;
use crate::outbound::{ID_BYTES, OutboundChange};
use crate::{Change, LastUse, Store, StoreError, Wipe, copies, files, folder};
use bytes::Bytes;
use room_core::id::{ModuleHash, RoomId, SequenceNumber};
use room_core::jobs::JobsChange;
use room_core::limits::size;
use room_core::span::Key;
use std::path::{Path, PathBuf};

impl Store {
    /// Writes a copy of everything into a new file, while rooms go on, and reads it back. The copy is a state
    /// that the rooms had, with every commit before the call. Returns its size in bytes.
    ///
    /// # Errors
    /// [`StoreError`]: the file does not exist, or has no useful content.
    ///
    /// # Cancel safety
    /// If the future is dropped, the file may still be made.
    pub async fn backup(&self, file: PathBuf) -> Result<u64, StoreError> {
        self.applied().await?;
        self.keeper.copy(file.clone(), None).await?;
        let read = move || copies::read(&file, |_| Ok(())).and_then(|_| files::length(&file));
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or(Err(StoreError::Closed))
    }

    /// Makes a store from a backup, in a folder that is empty or does not exist yet. It opens as any other
    /// store.
    ///
    /// # Errors
    /// [`StoreError`]: the backup is damaged or of another version, or the folder is not empty and is left
    /// unchanged.
    pub fn restore(backup: &Path, dir: &Path) -> Result<(), StoreError> {
        folder::restore(backup, dir)
    }

    /// Returns everything that is stored for a room, as of one moment; the room may continue. `None` if there is
    /// no such room. Uses `file` for a while, which must not exist yet.
    ///
    /// # Errors
    /// [`StoreError`] if the room cannot be read, or the file cannot be written.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the file may be left behind.
    pub async fn export(
        &self,
        room: &RoomId,
        file: PathBuf,
    ) -> Result<Option<RoomContent>, StoreError> {
        self.applied().await?;
        let copied = self.keeper.copy(file.clone(), Some(room.clone())).await;
        let room = room.clone();
        let read = move || {
            let mut content = RoomContent::of(room);
            let read = copied.and_then(|_| copies::read(&file, |record| content.apply(record)));
            files::remove(&file)?;
            read.map(|_| content.is_known().then_some(content))
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or(Err(StoreError::Closed))
    }

    /// Deletes a room, and waits until the deletion is durable. The caller makes sure that the room does not
    /// run.
    ///
    /// # Errors
    /// [`StoreError`]: the room is unchanged.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the room may be deleted or unchanged.
    pub async fn forget(&self, room: &RoomId) -> Result<(), StoreError> {
        self.import(RoomContent::of(room.clone()), None).await
    }

    /// Replaces everything that is stored for a room, and waits until the new content is durable. Empty
    /// content deletes the room. `touch` counts as the room's last use. The caller makes sure that the room
    /// does not run.
    ///
    /// A room of up to a quarter of `commit_bytes_max` is replaced in one step. A larger one comes in pieces:
    /// an interruption leaves a part of it, and the caller can repeat the import.
    ///
    /// # Errors
    /// [`StoreError`]: the room is unchanged, or has a part of its new content.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the room may be unchanged, or have a part of its new
    /// content.
    pub async fn import(
        &self,
        content: RoomContent,
        touch: Option<LastUse>,
    ) -> Result<(), StoreError> {
        let store = self.room(&content.room).await?;
        let alarm = Some(content.alarm);
        let mut change = Change { wipe: Wipe::Room, alarm, touch, ..Change::default() };
        if !content.jobs.is_empty() {
            let entries = content.jobs.into_iter().map(|(key, value)| (key, Some(value))).collect();
            change.jobs = Some(JobsChange { entries, wake: Some(content.wake) });
        }
        if let Some(floor) = content.sent_floor {
            let first = OutboundChange { floor: Some(floor), ..OutboundChange::default() };
            change.outbound = Some(Box::new(first));
        }
        let (mut bytes, piece) = (0, size(self.limits.commit_bytes_max) / 4);
        let mut last = None;
        let keys = content.entries.into_iter().map(|(key, value)| ImportPiece::Key(key, value));
        let sent = content.sent.into_iter().map(|(id, value)| ImportPiece::Sent(id, value));
        for next in keys.chain(sent) {
            let len = next.bytes();
            bytes += len;
            let is_empty = change.keys.is_empty() && change.outbound.is_none();
            if bytes > piece && !is_empty {
                let full = std::mem::take(&mut change);
                last = Some(store.commit_change(full, ModuleHash::NONE).await?);
                bytes = len;
            }
            next.put(&mut change);
        }
        if !change.keys.is_empty() || change.outbound.is_some() || last.is_none() {
            last = Some(store.commit_change(change, ModuleHash::NONE).await?);
        }
        match last {
            Some(offset) => store.durable(offset).await,
            None => Ok(()),
        }
    }
}

/// A part of a room's new content.
enum ImportPiece {
    Key(Key, Bytes),
    Sent(SequenceNumber, Bytes),
}

impl ImportPiece {
    fn bytes(&self) -> usize {
        match self {
            Self::Key(key, value) => key.len() + value.len(),
            Self::Sent(_, value) => ID_BYTES + value.len(),
        }
    }

    fn put(self, change: &mut Change) {
        match self {
            Self::Key(key, value) => drop(change.keys.insert(key, Some(value))),
            Self::Sent(id, value) => {
                drop(change.outbound.get_or_insert_default().entries.insert(id, value));
            }
        }
    }
}
