//! The effects of a turn, as plain data. Owns their shape.
//!
//! Invariant: effects are in the order in which the guest caused them, and do not depend on how they are
//! carried out. It does not know the rules by which the turn accepted them.

use super::delivery::FleetingMessage;
use super::responses::{ResponseFinish, ResponsePhase, ResponseRest};
use crate::connection::Connection;
use crate::encoding;
use crate::event::{CloseFrame, Message, Response};
use crate::id::{RequestId, Serial};
use crate::jobs::{JobId, JobsChange, Outcall};
use crate::presence::PresenceEdits;
use crate::span::Overlay;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An output of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// A message for one connection.
    Send {
        /// The recipient.
        to: Serial,
        /// The message.
        message: Message,
    },
    /// A message for all connections that were open at the time.
    Broadcast {
        /// The message.
        message: Message,
        /// Only connections with this tag.
        tag: Option<String>,
        /// Connections that do not get it.
        without: BTreeSet<Serial>,
    },
    /// A message that a client may miss. Boxed, because other outputs are smaller and far more frequent.
    Fleeting(Box<FleetingMessage>),
    /// The end of a connection.
    Close {
        /// The connection.
        to: Serial,
        /// The close frame.
        frame: CloseFrame,
    },
    /// A response that was left open, or its beginning.
    Respond {
        /// The request.
        to: RequestId,
        /// The response.
        response: Box<Response>,
        /// What follows it.
        rest: ResponseRest,
    },
    /// More of a response that is open.
    Write {
        /// The request.
        to: RequestId,
        /// The bytes.
        #[serde(with = "encoding::bytes")]
        piece: Bytes,
    },
    /// The end of a response that has begun.
    End {
        /// The request.
        to: RequestId,
        /// What its client learns.
        finish: ResponseFinish,
    },
}

impl Output {
    /// Returns its size while it waits, in bytes. Small outputs count a minimum.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Send { message, .. } | Self::Broadcast { message, .. } => message.len() + 64,
            Self::Fleeting(fleeting) => fleeting.message.len() + 64,
            Self::Close { frame, .. } => frame.reason.len() + 64,
            Self::Respond { response, .. } => response.body.len() + 64,
            Self::Write { piece, .. } => piece.len() + 64,
            Self::End { .. } => 64,
        }
    }
}

/// A turn's change of the room's alarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmChange {
    /// No change.
    #[default]
    Keep,
    /// Sets it to this time, in milliseconds since 1970.
    Set(u64),
    /// Removes it.
    Delete,
}

/// The writes of a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writes {
    /// Whether everything that was stored is deleted first.
    pub cleared: Cleared,
    /// The keys that change.
    #[serde(with = "encoding::overlay")]
    pub keys: Overlay,
    /// The alarm.
    pub alarm: AlarmChange,
    /// The room's jobs, if they change.
    pub jobs: Option<JobsChange>,
}

/// Whether a turn removed all keys before it wrote its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cleared {
    /// The keys that it did not write stay.
    #[default]
    No,
    /// Only the keys that it wrote afterwards are there.
    Yes,
}

impl Writes {
    /// Returns true if committing it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.cleared == Cleared::No
            && self.alarm == AlarmChange::Keep
            && self.jobs.is_none()
    }

    /// Returns the bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        self.keys.iter().map(|(key, value)| entry_bytes(key, value.as_ref())).sum()
    }
}

/// Returns what a change of a key counts against the limits, in bytes.
pub(super) fn entry_bytes(key: &[u8], value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len)
}

/// The tags that a turn sets for the connection that it opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// The connection.
    pub to: Serial,
    /// Its tags from now on.
    #[serde(with = "encoding::shared")]
    pub tags: Arc<[String]>,
}

/// All effects of a turn, which take place when it commits.
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
    /// The room's ticks, if they change.
    pub ticks: Option<TickChange>,
    /// Requests to other servers that nothing stores.
    pub unstored: Vec<(JobId, Outcall)>,
    /// The requests among the jobs of [`Writes::jobs`] that are new.
    pub asked: Vec<JobId>,
    /// Open responses that change; `None` for those that are complete.
    pub responses: BTreeMap<RequestId, Option<ResponsePhase>>,
    /// What changes of the users of the room.
    pub presence: PresenceEdits,
}

/// A turn's change of the room's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TickChange {
    /// They come with this pause, in milliseconds, from now on.
    Every(u64),
    /// They end.
    Stop,
}

/// Returns true if a broadcast is meant for this connection.
#[inline]
pub fn is_meant_for(
    connection: &Connection,
    tag: Option<&str>,
    without: &BTreeSet<Serial>,
) -> bool {
    tag.is_none_or(|tag| connection.has_tag(tag)) && !without.contains(&connection.serial)
}
