//! The reads of a turn. Owns the contract with the store of the room's bytes.
//!
//! Invariant: a view shows the commits of earlier turns, and does not change during a turn. It does not know
//! the turn's own writes.

use crate::id::PartyName;
use crate::span::{Entries, Span};
use bytes::Bytes;

/// A room's stored entries after the earlier turns.
pub trait View: Send + Sync {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError>;

    /// Returns the length of a key's value, in bytes.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot read.
    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, ReadError>;

    /// Reads the entries of a span, in its order.
    fn scan<'a>(&'a self, span: &Span) -> Entries<'a, ReadError>;

    /// Returns when the room's alarm is due, in milliseconds since 1970.
    fn alarm(&self) -> Option<u64>;

    /// Returns an upper bound of the bytes of the room's keys and values, without waiting.
    fn bytes_at_most(&self) -> u64;

    /// Returns the bytes of the room's keys and values. Waits for pending commits.
    fn bytes(&self) -> u64;

    /// Returns the names of a party's rooms that store something, in order, behind this one, and at most so many. A view
    /// of one room alone knows none.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot read.
    fn rooms(
        &self,
        _party: &PartyName,
        _after: Option<&str>,
        _max: usize,
    ) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }
}

/// The store could not read; its text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// An empty view, for a turn that belongs to no room.
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
