//! What a turn reads from. Owns the contract with whoever keeps the room's bytes.
//!
//! Invariant: a view shows what the turns before committed, and does not change during a turn. It does
//! not know the turn's own writes.

use crate::span::{Entries, Span};
use bytes::Bytes;

/// What is stored for a room, as of the turns before.
pub trait View: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot tell.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError>;

    /// The length of a key's value, in bytes.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot tell.
    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, ReadError>;

    /// The entries of a span, in its order.
    fn scan<'a>(&'a self, span: &Span) -> Entries<'a, ReadError>;

    /// When the room's alarm is due, in milliseconds since 1970.
    fn alarm(&self) -> Option<u64>;

    /// A bound on the bytes of the room's keys and values, known at once.
    fn bytes_at_most(&self) -> u64;

    /// The bytes of the room's keys and values. Waits for what is on its way.
    fn bytes(&self) -> u64;
}

/// The store could not read; its text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// Nothing stored: the view of a turn that belongs to no room.
pub struct EmptyView;

impl View for EmptyView {
    fn get(&self, _key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(None)
    }

    fn value_len(&self, _key: &[u8]) -> Result<Option<usize>, ReadError> {
        Ok(None)
    }

    fn scan<'a>(&'a self, _span: &Span) -> Entries<'a, ReadError> {
        Box::new(std::iter::empty())
    }

    fn alarm(&self) -> Option<u64> {
        None
    }

    fn bytes_at_most(&self) -> u64 {
        0
    }

    fn bytes(&self) -> u64 {
        0
    }
}
