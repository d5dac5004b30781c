//! What happens to a request after its own turn: pieces of its body, and the end of its response. Owns the values.
//!
//! Invariant: plain data, as in all events. It does not know who sends or reads them.

use crate::encoding;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How a request's body reaches its room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyDelivery {
    /// The event of the request has all of it.
    #[default]
    Whole,
    /// Each piece is an event of its own, after the event of the request.
    Pieces,
}

/// A piece of a request's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyPiece {
    /// Bytes, after which others follow.
    More(#[serde(with = "encoding::bytes")] Bytes),
    /// The last bytes, or none.
    Last(#[serde(with = "encoding::bytes")] Bytes),
    /// Instead of the rest: it does not come.
    Failed(BodyFault),
}

impl BodyPiece {
    /// Returns its size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::More(bytes) | Self::Last(bytes) => bytes.len(),
            Self::Failed(_) => 0,
        }
    }

    /// Returns true if it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The reason why the rest of a request's body does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum BodyFault {
    /// It is larger than the limit.
    #[error("the request's body is larger than body_pieces_bytes_max allows")]
    TooLarge,
    /// The client sent nothing for too long, or the room had no space for it.
    #[error("the request's body did not arrive in time")]
    Stalled,
    /// The client left, or broke the protocol.
    #[error("the request's body broke off")]
    Aborted,
}

/// The reason why a response ended that its room had not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamEnd {
    /// The client left.
    Left,
    /// The client read too slowly.
    Slow,
    /// The room wrote nothing for too long.
    Idle,
    /// The room began no response in time.
    Late,
    /// The room failed to take a piece of the request's body, or the body did not arrive.
    Failed,
}

impl StreamEnd {
    /// Returns its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Slow => "slow",
            Self::Idle => "idle",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }
}
