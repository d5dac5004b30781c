//! What a turn does, as plain data. Owns the shape of effects.
//!
//! Invariant: effects are in the order in which the guest caused them, and say nothing of how they are
//! carried out. It does not know the rules by which they were let in.

use crate::connection::Connection;
use crate::encoding;
use crate::event::{CloseFrame, Message};
use crate::id::Serial;
use crate::span::Overlay;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something a turn says to the outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// A message for one connection.
    Send {
        /// To whom.
        to: Serial,
        /// What.
        message: Message,
    },
    /// A message for all that were open at the time.
    Broadcast {
        /// What.
        message: Message,
        /// Only those with this tag.
        tag: Option<String>,
        /// Not those.
        without: BTreeSet<Serial>,
    },
    /// The end of a connection.
    Close {
        /// Whose.
        to: Serial,
        /// With what.
        frame: CloseFrame,
    },
}

impl Output {
    /// Its size while it waits, in bytes; what is small for itself counts a little, too.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Send { message, .. } | Self::Broadcast { message, .. } => message.len() + 64,
            Self::Close { frame, .. } => frame.reason.len() + 64,
        }
    }
}

/// What a turn does to the room's alarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmChange {
    /// Nothing.
    #[default]
    Keep,
    /// Sets it to this time, in milliseconds since 1970.
    Set(u64),
    /// Removes it.
    Delete,
}

/// What a turn writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writes {
    /// Whether everything that was stored goes first.
    pub cleared: Cleared,
    /// The keys that change.
    #[serde(with = "encoding::overlay")]
    pub keys: Overlay,
    /// The alarm.
    pub alarm: AlarmChange,
}

/// Whether a turn removed all keys before it wrote its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cleared {
    /// The keys that it did not write stay.
    #[default]
    No,
    /// Only what it wrote afterwards is there.
    Yes,
}

impl Writes {
    /// True if committing it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.cleared == Cleared::No && self.alarm == AlarmChange::Keep
    }

    /// Bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        self.keys.iter().map(|(key, value)| entry_bytes(key, value.as_ref())).sum()
    }
}

/// What a change of a key counts against the limits, in bytes.
pub(super) fn entry_bytes(key: &[u8], value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len)
}

/// The tags that a turn gives to the connection that it opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// Whose.
    pub to: Serial,
    /// What it carries from now on.
    #[serde(with = "encoding::shared")]
    pub tags: Arc<[String]>,
}

/// Everything a turn does, once it commits.
///
/// Equal effects are serialised as equal bytes, so that a turn and its repetition can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// For the store.
    pub writes: Writes,
    /// For the clients, in order.
    pub outputs: Vec<Output>,
    /// New states of connections.
    #[serde(with = "encoding::map_to_bytes")]
    pub states: BTreeMap<Serial, Bytes>,
    /// Connections that are closed.
    pub closed: BTreeSet<Serial>,
    /// The tags of the connection that opens.
    pub tags: Option<Tags>,
}

/// True if a broadcast is meant for this connection.
pub(crate) fn is_meant_for(
    connection: &Connection,
    tag: Option<&str>,
    without: &BTreeSet<Serial>,
) -> bool {
    tag.is_none_or(|tag| connection.has_tag(tag)) && !without.contains(&connection.serial)
}
