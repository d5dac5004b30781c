//! What an operator may do with rooms, while the node serves or without one. Owns the work that takes files
//! or looks at many rooms, and how much of it there is at a time.
//!
//! Invariant: what was begun comes to its end, whoever asked for it and left; then its files are gone. It
//! does not know how it is asked, or how it answers.

mod count;
mod listing;
mod look;
pub mod offline;
mod scratch;
mod token;

pub(crate) use listing::{Cursor, Listing, RoomList, Row, Sort};
pub(crate) use look::Looked;
pub(crate) use scratch::Scratch;
pub use token::AdminToken;

pub(crate) use crate::store::Line;

use crate::id::RoomId;
use crate::limits::{Limits, size};
use crate::room::RoomError;
use crate::rooms::{Rooms, Unreachable};
use crate::store::{RoomContent, Store, StoreError};
use count::Counting;
use scratch::ScratchFolder;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;

/// An operator's work on one node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Operator(Arc<Inner>);

struct Inner {
    token: AdminToken,
    /// None if the data is in memory only.
    scratch: Option<ScratchFolder>,
    store: Store,
    rooms: Rooms,
    limits: Arc<Limits>,
    places: Arc<Semaphore>,
    scans: Semaphore,
    counting: Counting,
    tasks: TaskTracker,
}

/// Why an operator's work was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorError {
    /// As much of it is done as may be at a time.
    #[error("{0} backups, exports and imports run already")]
    Busy(u64),
    /// There is no folder for files.
    #[error("the data is in memory only")]
    InMemory,
    /// There is no such room.
    #[error("nothing is stored for the room {0}")]
    NothingStored(RoomId),
    /// Nobody knows such a room.
    #[error("there is no room {0}: it is not in memory, and nothing is stored for it")]
    NoRoom(RoomId),
    /// The room has no such connection.
    #[error("the room {0} has no open connection {1:?}")]
    NoConnection(RoomId, String),
    /// The room has no such key.
    #[error("the room {0} has no such key")]
    NoKey(RoomId),
    /// A limit is in the way.
    #[error("{0}")]
    Refused(String),
    /// Too many rooms are stored for what was asked.
    #[error(
        "looking at all stored rooms takes longer than {0} ms; ask for one party, or raise admin_scan_ms_max"
    )]
    TooLong(u64),
    /// What was sent is no room.
    #[error("{0}")]
    Lines(String),
    /// The room or its storage.
    #[error(transparent)]
    Room(#[from] Unreachable),
}

impl From<StoreError> for OperatorError {
    fn from(error: StoreError) -> Self {
        Self::Room(Unreachable::Room(error.into()))
    }
}

impl From<RoomError> for OperatorError {
    fn from(error: RoomError) -> Self {
        Self::Room(error.into())
    }
}

impl Operator {
    /// For the node whose data lies in this folder, and nowhere else open; or in memory only.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be written to.
    pub(crate) fn new(
        dir: Option<&Path>,
        store: Store,
        rooms: Rooms,
        limits: Arc<Limits>,
    ) -> Result<Self, StoreError> {
        let scratch = dir.map(ScratchFolder::new).transpose()?;
        let places = size(limits.admin_transfers_max).min(Semaphore::MAX_PERMITS);
        let (places, tasks) = (Arc::new(Semaphore::new(places)), TaskTracker::new());
        let scans = Semaphore::new(size(limits.admin_scans_max).min(Semaphore::MAX_PERMITS));
        Ok(Self(Arc::new(Inner {
            token: AdminToken::random(),
            scratch,
            store,
            rooms,
            limits,
            places,
            scans,
            counting: Counting::new(),
            tasks,
        })))
    }

    /// What an operator has to show.
    pub(crate) fn token(&self) -> &AdminToken {
        &self.0.token
    }

    /// A file for one piece of work, and the right to do it.
    ///
    /// # Errors
    /// [`OperatorError::Busy`], [`OperatorError::InMemory`].
    pub(crate) fn scratch(&self) -> Result<Scratch, OperatorError> {
        let folder = self.0.scratch.as_ref().ok_or(OperatorError::InMemory)?;
        let place = self.0.places.clone().try_acquire_owned();
        let place = place.map_err(|_| OperatorError::Busy(self.0.limits.admin_transfers_max))?;
        Ok(folder.file(Some(place)))
    }

    /// A file beside the one that is asked for.
    fn copy(&self) -> Result<Scratch, OperatorError> {
        let folder = self.0.scratch.as_ref().ok_or(OperatorError::InMemory)?;
        Ok(folder.file(None))
    }

    /// The right to look at many stored rooms.
    async fn scan(&self) -> Result<SemaphorePermit<'_>, OperatorError> {
        self.0.scans.acquire().await.map_err(|_| StoreError::Closed.into())
    }

    /// A copy of everything that is stored, as one file.
    ///
    /// # Errors
    /// [`OperatorError`]; no file is left.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the copy is made, and removed.
    pub(crate) async fn backup(&self) -> Result<Scratch, OperatorError> {
        let (file, store) = (self.scratch()?, self.0.store.clone());
        self.whole(async move {
            store.backup(file.path().to_owned()).await?;
            Ok(file)
        })
        .await
    }

    /// Everything that is stored for a room, as a file of lines; see [`RoomContent`].
    ///
    /// # Errors
    /// [`OperatorError`]; no file is left.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the file is made, and removed.
    pub(crate) async fn export(&self, room: RoomId) -> Result<Scratch, OperatorError> {
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

    /// Replaces what is stored for a room by the lines of a file, of whichever room they are. How many
    /// keys it has now.
    ///
    /// # Errors
    /// [`OperatorError`], and what [`Rooms::import`] says of it.
    ///
    /// # Cancel safety
    /// Dropped before it returns, it is done all the same.
    pub(crate) async fn import(
        &self,
        room: RoomId,
        lines: Scratch,
    ) -> Result<usize, OperatorError> {
        let (rooms, limits) = (self.0.rooms.clone(), self.0.limits.clone());
        self.whole(async move {
            let content = on_disk(move || {
                let read = lines.open().map(BufReader::new)?;
                let content = RoomContent::read(read, &limits);
                content.map_err(|error| OperatorError::Lines(error.to_string()))
            });
            let content = content.await?.renamed(room);
            let keys = content.keys();
            rooms.import(content).await?;
            Ok(keys)
        })
        .await
    }

    /// Does work to its end, whether somebody waits for it or not.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, OperatorError>> + Send + 'static,
    ) -> Result<T, OperatorError> {
        let done = self.0.tasks.spawn(work).await;
        done.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Waits until everything that was begun is done.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the work goes on by itself.
    pub(crate) async fn drain(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// Does something with files, away from the threads that run rooms.
async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, OperatorError> + Send + 'static,
) -> Result<T, OperatorError> {
    let done = tokio::task::spawn_blocking(act).await;
    done.unwrap_or_else(|_| Err(StoreError::Closed.into()))
}
