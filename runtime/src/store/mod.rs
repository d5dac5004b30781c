//! Owns the rooms' bytes: what is stored, and what of it survives a crash.
//!
//! Invariant: the writes of a turn are applied whole or not at all, in the order of their
//! [`Offset`]s, and an offset is reported durable only when everything up to it is on disk. It does
//! not know what a guest, a connection or an alarm's meaning is.
//!
//! One committer serves all rooms: commits that arrive while a flush is in the air share the next
//! one. Until then a room reads its own writes from what is pending.

mod backend;
mod committer;
mod keys;
mod memory;
mod room;
mod sled;

pub use backend::StoreError;
pub(crate) use room::{AlarmRecord, RoomStore, Settled};

use crate::id::RoomId;
use crate::limits::Limits;
use crate::span::{Direction, Span};
use backend::Backend;
use committer::Committer;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// Where a commit stands in the order of all commits of this node. Only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(u64);

/// The rooms' storage of one node. Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    committer: Arc<Committer>,
}

impl Store {
    /// Opens the store in a folder, made if it is not there.
    ///
    /// # Errors
    /// [`StoreError`]: the folder cannot be used, another process has it open, or what is in it is
    /// of a format that this version does not know. Nothing in it was changed.
    pub fn open(dir: &Path, limits: &Limits) -> Result<Self, StoreError> {
        Self::on(Arc::new(sled::Sled::open(dir, limits)?), limits)
    }

    /// A store that is gone with the process.
    ///
    /// # Errors
    /// [`StoreError::Io`] if no thread can be started for it.
    pub fn in_memory(limits: &Limits) -> Result<Self, StoreError> {
        Self::on(Arc::new(memory::Memory::default()), limits)
    }

    fn on(backend: Arc<dyn Backend>, limits: &Limits) -> Result<Self, StoreError> {
        let committer = Committer::start(backend.clone(), limits)?;
        Ok(Self { backend, committer: Arc::new(committer) })
    }

    /// The storage of one room. The caller makes sure that it is the only one who has it.
    ///
    /// # Errors
    /// [`StoreError`] if the room's alarm cannot be read.
    pub(crate) fn room(&self, room: &RoomId) -> Result<RoomStore, StoreError> {
        RoomStore::open(self.backend.clone(), self.committer.clone(), room)
    }

    /// The offset up to which every commit is settled: durable, or lost and known to be.
    pub(crate) fn settled(&self) -> watch::Receiver<Offset> {
        self.committer.settled()
    }

    /// Why the store takes nothing any more, if that is so.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.committer.failure()
    }

    /// Changes whenever a durable commit changed an alarm.
    pub(crate) fn alarms_changed(&self) -> watch::Receiver<u64> {
        self.committer.alarms_changed()
    }

    /// The durable alarms that are due first, at most `limit`, in the order of their times.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub(crate) fn alarms(&self, limit: usize) -> Result<Vec<(u64, RoomId)>, StoreError> {
        let (start, end) = keys::all_alarms();
        let span = Span {
            start: Bound::Included(start),
            end: Bound::Excluded(end),
            direction: Direction::Forward,
        };
        let mut due = Vec::new();
        for key in self.backend.keys(&span).take(limit) {
            match keys::decode_due(&key?) {
                Ok(alarm) => due.push(alarm),
                // One that cannot be read must not silence all others.
                Err(error) => tracing::error!(%error, "an alarm cannot be read"),
            }
        }
        Ok(due)
    }

    /// Commits what waits and stops. Blocks until the disk has it.
    pub(crate) fn close(&self) {
        self.committer.close();
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
