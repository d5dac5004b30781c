//! What a store needs from whoever keeps the bytes. Owns the contract between the two.
//!
//! Invariant: keys are ordered by their bytes, a batch is atomic, and what was applied before a
//! `sync` that succeeded survives a crash. It does not know rooms.

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
        "the data folder has format {found}, this version reads format {wanted}; use the version that wrote it, or another folder"
    )]
    Format {
        /// What it says of itself.
        found: String,
        /// What is read here.
        wanted: &'static str,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Keys in the order of a span.
pub(super) type Keys<'a> = Box<dyn Iterator<Item = Result<Key, StoreError>> + 'a>;

/// Ordered bytes with atomic batches.
pub(super) trait Backend: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The keys of a span, in its order. No value is read.
    fn keys<'a>(&'a self, span: &Span) -> Keys<'a>;

    /// The entries of a span, in its order, without the keys in `shadow`: a value that is about to be
    /// replaced must not be read in the middle of that.
    fn scan<'a>(&'a self, span: &Span, shadow: HashSet<Key>) -> Entries<'a, StoreError>;

    /// Applies changes, all or none. They can be read at once, and survive a crash only after `sync`.
    fn apply(&self, batch: &Overlay) -> Result<(), StoreError>;

    /// Makes everything that was applied survive a crash. Blocks.
    fn sync(&self) -> Result<(), StoreError>;

    /// Goes back to what the last successful `sync` made durable, after one that failed: a later one
    /// that succeeds would prove nothing about what was applied before.
    ///
    /// # Errors
    /// It cannot tell what that is while it is open.
    fn forget_unsynced(&self) -> Result<(), StoreError>;
}
