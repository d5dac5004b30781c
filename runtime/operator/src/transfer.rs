//! Rooms as files: a backup of all rooms, an export of one room, an import of one room. Owns the files of this work.
//!
//! Invariant: work that was started is completed, even if its operator has left, and then its files are removed. It
//! does not know how files are sent and received.

use crate::scratch::Scratch;
use crate::{Operator, OperatorError};
use room_core::id::RoomId;
use room_store::{RoomContent, StoreError};
use std::io::BufReader;

impl Operator {
    /// Returns a file for one transfer, and takes a place for the transfer.
    ///
    /// # Errors
    /// [`OperatorError::TransfersFull`], [`OperatorError::InMemory`].
    pub(super) fn scratch(&self) -> Result<Scratch, OperatorError> {
        let folder = self.0.scratch.as_ref().ok_or(OperatorError::InMemory)?;
        let place = self.0.places.clone().try_acquire_owned();
        let place =
            place.map_err(|_| OperatorError::TransfersFull(self.0.limits.admin_transfers_max))?;
        Ok(folder.file(Some(place)))
    }

    /// Returns a second file for the same transfer.
    fn copy(&self) -> Result<Scratch, OperatorError> {
        let folder = self.0.scratch.as_ref().ok_or(OperatorError::InMemory)?;
        Ok(folder.file(None))
    }

    /// Writes a copy of all stored data into a file.
    ///
    /// # Errors
    /// [`OperatorError`]; no file is left.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the copy is made, and then removed.
    pub(super) async fn backup(&self) -> Result<Scratch, OperatorError> {
        let (file, store) = (self.scratch()?, self.0.store.clone());
        self.whole(async move {
            store.backup(file.path().to_owned()).await?;
            Ok(file)
        })
        .await
    }

    /// Writes everything that is stored for a room into a file of lines; see [`RoomContent`].
    ///
    /// # Errors
    /// [`OperatorError`]; no file is left.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the file is made, and then removed.
    pub(super) async fn export(&self, room: RoomId) -> Result<Scratch, OperatorError> {
        let (file, copy) = (self.scratch()?, self.copy()?);
        let store = self.0.store.clone();
        self.whole(async move {
            let content = store.export(&room, copy.path().to_owned()).await?;
            let content = content.ok_or(OperatorError::NothingStored(room))?;
            on_disk(move || {
                file.write(|out| content.write(out))?;
                Ok(file)
            })
            .await
        })
        .await
    }

    /// Replaces a room's stored data by the lines of a file, which may come from any room. Returns the number of
    /// keys that the room has now.
    ///
    /// # Errors
    /// [`OperatorError`], also for the errors of `Rooms::import`.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the import is completed all the same.
    pub(super) async fn import(
        &self,
        room: RoomId,
        lines: Scratch,
    ) -> Result<usize, OperatorError> {
        let (rooms, limits) = (self.0.rooms.clone(), self.0.limits.clone());
        self.whole(async move {
            let content = on_disk(move || {
                let read = lines.open().map(BufReader::new)?;
                let content = RoomContent::read(read, &limits);
                content.map_err(|error| OperatorError::Invalid(error.to_string()))
            });
            let content = content.await?.renamed(room);
            let keys = content.keys();
            rooms.import(content).await?;
            Ok(keys)
        })
        .await
    }
}

/// Runs work with files away from the threads that run rooms.
async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, OperatorError> + Send + 'static,
) -> Result<T, OperatorError> {
    let done = tokio::task::spawn_blocking(act).await;
    done.unwrap_or_else(|_| Err(StoreError::Closed.into()))
}
