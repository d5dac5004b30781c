//! The interfaces that a store needs from its disk or memory. Owns the contracts between them.
//!
//! Invariant: a [`Journal`] makes turns durable, and a [`Tree`] shows the state after them. The tree gets
//! nothing that the journal does not have, so it can always be rebuilt. The contract does not know guests, or
//! how the bytes are kept.

use crate::{Record, RoomFacts};
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use room_core::id::RoomId;
use room_core::span::{Entries, Key, Overlay, Span};
use room_database::DatabaseError;

/// The reason why the store could not do its work. Cheap to clone, because a failed flush returns it to every
/// caller that waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk or the file system refused.
    #[error("the disk failed: {0}")]
    Io(String),
    /// Another process has the folder open.
    #[error("the data folder {0} is in use by another process; stop it, or choose another folder")]
    InUse(String),
    /// The bytes read are not the bytes written.
    #[error("the stored data is damaged: {0}")]
    Corrupt(String),
    /// The data was written by another version.
    #[error(
        "the data has format {found}, this version reads format {wanted}; use the version that wrote it, or other data"
    )]
    Format {
        /// The version of the data.
        found: String,
        /// The version that this code reads.
        wanted: String,
    },
    /// The database of the cluster did not do what it was asked for.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Another node may run the room by now.
    #[error(
        "this node has lost its place in the cluster and may not write for the room; the node that owns it now runs it"
    )]
    Displaced,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Returns true if the disk is full, judging by the words of the system's error.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io(text) => text.contains("No space left") || text.contains("quota"),
            // The SQLSTATE of a full disk.
            Self::Database(DatabaseError::Refused { code, .. }) => code == "53100",
            _ => false,
        }
    }
}

/// Keys in the order of a span.
pub(super) type Keys = Box<dyn Iterator<Item = Result<Key, StoreError>>>;

/// The outcome of one record of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It survives a crash.
    Durable,
    /// It is void, and so is any later record of its room in the same append.
    Refused(StoreError),
}

/// The journal, which makes turns durable.
pub(super) trait Journal: Send {
    /// Appends records and makes them survive a crash. Returns the outcome of each, in their order. A refused
    /// record loses nothing for other rooms. Blocks.
    ///
    /// # Errors
    /// All records are void, whatever part of them reached the disk. The next append starts after them.
    fn append(
        &mut self,
        records: &mut dyn Iterator<Item = &Record>,
    ) -> Result<Vec<Appended>, StoreError>;

    /// Finds out whether the journal can go on after an append that failed.
    ///
    /// # Errors
    /// It cannot go on yet.
    fn resume(&mut self) -> Result<(), StoreError>;

    /// Notes that no commit waits, and how far everything is durable. With the note, recovery can distinguish
    /// a damaged last record from one that was never whole. Best effort, and not synced: the note only has to
    /// outlive the process.
    fn mark(&mut self) {}
}

/// The state after all records: ordered bytes with atomic batches. An applied batch can be read at once.
/// `sync` makes it survive a crash, which matters only to how much recovery replays.
pub(super) trait Tree: Send + Sync {
    /// Returns the value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Returns the length of a key's value, in bytes.
    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, StoreError>;

    /// Lists the keys of a span, in its order. It reads no value.
    fn keys(&self, span: &Span) -> Keys;

    /// Reads the entries of a span, in its order, without the keys in `shadow`: the caller may be replacing a
    /// value of these keys, and must not read half of it.
    fn scan(&self, span: &Span, shadow: HashSet<Key>) -> Entries<'static, StoreError>;

    /// Applies changes, all or none.
    fn apply(&self, batch: &Overlay) -> Result<(), StoreError>;

    /// Makes everything that was applied survive a crash. Blocks.
    fn sync(&self) -> Result<(), StoreError>;

    /// Returns the facts of these rooms that are in memory, if the journal itself brings records into the tree. A tree
    /// that the applier fills returns `None`.
    fn journaled(
        &self,
        _rooms: &mut dyn Iterator<Item = &RoomId>,
    ) -> Option<HashMap<RoomId, RoomFacts>> {
        None
    }

    /// Returns the tree as of now, if it can show that while rooms commit.
    fn frozen(&self) -> Result<Option<Box<dyn Tree>>, StoreError> {
        Ok(None)
    }
}
