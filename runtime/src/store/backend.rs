//! What a store needs from whoever keeps the bytes. Owns the contracts between them.
//!
//! Invariant: a [`Journal`] makes turns durable, a [`Tree`] shows what they came to; nothing reaches
//! the tree before the journal has it, so a tree can always be made anew. They do not know rooms'
//! guests.

use super::Record;
use crate::span::{Entries, Key, Overlay, Span};
use bytes::Bytes;
use hashbrown::HashSet;

/// Why the store could not do its work. Cheap to clone, as all who waited for a flush get it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk or the file system refused.
    #[error("the disk failed: {0}")]
    Io(String),
    /// Another process has the folder open.
    #[error("the data folder {0} is in use by another process; stop it, or choose another folder")]
    InUse(String),
    /// What was read is not what was written.
    #[error("the stored data is damaged: {0}")]
    Corrupt(String),
    /// The data was written by another version.
    #[error(
        "the data has format {found}, this version reads format {wanted}; use the version that wrote it, or other data"
    )]
    Format {
        /// What it says of itself.
        found: String,
        /// What is read here.
        wanted: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// True if the disk has no space, by the words that the system has for it.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Io(text) if text.contains("No space left") || text.contains("quota"))
    }
}

/// Keys in the order of a span.
pub(super) type Keys = Box<dyn Iterator<Item = Result<Key, StoreError>>>;

/// What became of one record of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It survives a crash.
    Durable,
    /// It does not count, and neither does any later record of its room in the same append.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a journal that one node has to itself refuses nobody")
    )]
    Refused(StoreError),
}

/// Where turns become durable.
pub(super) trait Journal: Send {
    /// Appends records and makes them survive a crash: what became of each, in their order. A room's record that is
    /// refused is nobody else's loss. Blocks.
    ///
    /// # Errors
    /// None of them counts, whatever of them reached the disk; the next append begins behind them.
    fn append(
        &mut self,
        records: &mut dyn Iterator<Item = &Record>,
    ) -> Result<Vec<Appended>, StoreError>;

    /// Finds out whether it can go on after an append that failed.
    ///
    /// # Errors
    /// Not yet.
    fn resume(&mut self) -> Result<(), StoreError>;

    /// Notes that nothing waits any more, and how far everything is durable: damage of the last record is told from
    /// one that was never whole. Best effort, and not synced: it only has to outlive the process.
    fn mark(&mut self) {}
}

/// Ordered bytes with atomic batches: what all records came to. A batch that is applied can be read at
/// once; when it survives a crash is told by `sync` and matters only to how much is replayed.
pub(super) trait Tree: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The length of a key's value, in bytes.
    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, StoreError>;

    /// The keys of a span, in its order. No value is read.
    fn keys(&self, span: &Span) -> Keys;

    /// The entries of a span, in its order, without the keys in `shadow`: a value that is about to be
    /// replaced must not be read in the middle of that.
    fn scan(&self, span: &Span, shadow: HashSet<Key>) -> Entries<'static, StoreError>;

    /// Applies changes, all or none.
    fn apply(&self, batch: &Overlay) -> Result<(), StoreError>;

    /// Makes everything that was applied survive a crash. Blocks.
    fn sync(&self) -> Result<(), StoreError>;
}
