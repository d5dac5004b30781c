//! What can go wrong when a room calls its host.
//!
//! Owns the two refusals of the contract and [`Result`]. Invariant: a refused call did nothing and
//! the turn goes on; whether it fails is up to the room, which says so with `?`. It does not know
//! what a room's own errors look like: [`Error`] takes any.

use std::fmt;

/// Any error: [`anyhow::Error`], so that `?` works on everything that implements
/// [`std::error::Error`]. [`Error::downcast_ref`] finds a [`ConnectionError`] or [`StorageError`].
pub use anyhow::Error;

/// What every callback returns. `Err` drops the turn: nothing of it is kept, nothing of it is sent.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why a call about a connection was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// No open connection has this id.
    NotFound,
    /// The state is larger than the limit `connection_state_bytes_max`, given here in bytes.
    StateTooLarge(u32),
    /// The message is larger than the limit `message_bytes_max`, given here in bytes.
    MessageTooLarge(u32),
    /// This turn already sent as much as the limit named here allows.
    TooManySends(String),
    /// The close code or reason is not one a room may send; the text says why.
    InvalidClose(String),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no open connection has this id"),
            Self::StateTooLarge(max) => write!(
                f,
                "the connection's state is larger than {max} bytes (connection_state_bytes_max)"
            ),
            Self::MessageTooLarge(max) => {
                write!(f, "the message is larger than {max} bytes (message_bytes_max)")
            }
            Self::TooManySends(limit) => write!(f, "this turn sends more than {limit} allows"),
            Self::InvalidClose(why) => write!(f, "the close frame cannot be sent: {why}"),
        }
    }
}

impl std::error::Error for ConnectionError {}

/// Why a call to the storage was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageError {
    /// A key is empty or longer than the limit `key_bytes_max`, given here in bytes.
    InvalidKey(u32),
    /// A value is larger than the limit `value_bytes_max`, given here in bytes.
    ValueTooLarge(u32),
    /// The turn would write more than the limit named here allows.
    TooManyWrites(String),
    /// The bounds of a listing contradict each other; the text says how.
    InvalidRange(String),
    /// The host's store could not read. The turn should fail.
    Unavailable,
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidKey(max) => {
                write!(f, "the key is empty or longer than {max} bytes (key_bytes_max)")
            }
            Self::ValueTooLarge(max) => {
                write!(f, "the value is larger than {max} bytes (value_bytes_max)")
            }
            Self::TooManyWrites(limit) => write!(f, "this turn writes more than {limit} allows"),
            Self::InvalidRange(why) => write!(f, "the range cannot be listed: {why}"),
            Self::Unavailable => f.write_str("the storage could not be read"),
        }
    }
}

impl std::error::Error for StorageError {}
