//! The events that can wake a room, as plain data. Owns the closed list of events and the values in them.
//!
//! Invariant: an event holds no socket, channel or lock, so that it can be recorded, replayed and sent to
//! another node. It does not know who waits for an answer.

use crate::connection::Connection;
use crate::encoding;
use crate::id::{ConnectionId, RequestId};
use crate::identity::Identity;
use crate::jobs::{CallId, CallReceipt, JobId, OutcallAnswer, OutcallFailure, Timer};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

mod added;
mod stream;
mod text;

pub use crate::exchange::{Request, Response};
pub use added::AddedHeaders;
pub use stream::{BodyDelivery, BodyFault, BodyPiece, StreamEnd};
pub use text::Text;

/// One event of a room, which makes one turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A new instance takes over the room.
    Start,
    /// A client wants to connect. The guest chooses its tags in the same turn.
    Connect {
        /// The client, not yet open.
        connection: Connection,
        /// The request that opened its socket.
        request: Request,
    },
    /// An open connection sent a message.
    Message {
        /// The connection.
        connection: ConnectionId,
        /// The message.
        message: Message,
    },
    /// A connection ended.
    Close {
        /// The connection.
        connection: Connection,
        /// How it ended.
        ending: Ending,
    },
    /// A connection broke the protocol; its close follows.
    Error {
        /// The connection.
        connection: Connection,
        /// The mistake.
        error: String,
    },
    /// A plain HTTP request, and who sent it, if the door checked that.
    Request(Request, Option<Identity>),
    /// A piece of the body of a request whose response is open.
    Body {
        /// The request.
        id: RequestId,
        /// The piece.
        piece: BodyPiece,
    },
    /// An open response ended that the room had not completed.
    StreamClose {
        /// The request.
        id: RequestId,
        /// Why.
        end: StreamEnd,
    },
    /// The room's alarm is due.
    Alarm,
    /// A timer is due.
    Timer {
        /// Its id.
        id: JobId,
        /// The timer.
        timer: Timer,
        /// The timer at its next time, if it repeats.
        again: Option<Timer>,
    },
    /// A request of the room has its answer.
    Answer {
        /// The request.
        id: JobId,
        /// The guest's name for it.
        tag: String,
        /// The answer.
        answer: OutcallAnswer,
    },
    /// A part of the body that answers a request of the room.
    Chunk(ResponseChunk),
    /// Another room calls this one.
    Call {
        /// The call.
        call: CallId,
        /// What the other room asks.
        payload: CallPayload,
        /// Until when the other room may repeat the call, in milliseconds since 1970.
        until_ms: u64,
    },
    /// Another server publishes a message.
    Publish {
        /// The message.
        message: Message,
        /// What the room keeps if the callback does not end after a flush, in case the server may repeat it.
        receipt: Option<Box<CallReceipt>>,
    },
    /// The time for the room's next tick has come.
    Tick,
    /// A cron of the project is due.
    Cron {
        /// Its name.
        name: String,
        /// The planned time, in milliseconds since 1970.
        at_ms: u64,
    },
    /// The room has been unused for too long. This turn deletes it.
    Expire,
}

impl Event {
    /// Returns the event's name in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Connect { .. } => "connect",
            Self::Message { .. } => "message",
            Self::Close { .. } => "close",
            Self::Error { .. } => "error",
            Self::Request(..) => "request",
            Self::Body { .. } => "body",
            Self::StreamClose { .. } => "stream_close",
            Self::Alarm => "alarm",
            Self::Timer { .. } => "timer",
            Self::Answer { .. } => "answer",
            Self::Chunk(_) => "chunk",
            Self::Call { .. } => "call",
            Self::Publish { .. } => "publish",
            Self::Tick => "tick",
            Self::Cron { .. } => "cron",
            Self::Expire => "expire",
        }
    }
}

/// A guest's answer to an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestAnswer {
    /// The callback returned.
    Done,
    /// The tags of the connection that may now open.
    Tags(Vec<String>),
    /// The response to a request.
    Response(Response),
    /// What a call of another room returns.
    Returned(#[serde(with = "encoding::bytes")] Bytes),
    /// A later turn responds to the request.
    Later,
    /// The response to a request that the guest refused. Its turn did nothing.
    Refused(Response),
}

/// What a room asks of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallPayload {
    /// Data for its `on_call`.
    Data(#[serde(with = "encoding::bytes")] Bytes),
    /// A request for its `on_request`.
    Request(Request),
}

impl CallPayload {
    /// Returns the answer that carries this failure.
    pub fn failed(&self, failure: OutcallFailure) -> OutcallAnswer {
        match self {
            Self::Data(_) => OutcallAnswer::NotReturned(failure),
            Self::Request(_) => OutcallAnswer::NoResponse(failure),
        }
    }

    /// Returns the receipt of a call whose callback may not end, after a part of it was committed.
    pub fn interrupted(&self, call: &CallId, until_ms: u64) -> CallReceipt {
        let message = "the call was carried out in part: its callback ended after a flush";
        let answer = self.failed(OutcallFailure::new("interrupted", message));
        CallReceipt { call: call.clone(), answer, until_ms }
    }
}

/// A part of the body that answers a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseChunk {
    /// The request.
    pub id: JobId,
    /// The guest's name for it.
    pub tag: String,
    /// The response's status.
    pub status: u16,
    /// The position of its first byte in the body; 0 again if the request was repeated.
    pub offset: u64,
    /// Its bytes.
    #[serde(with = "encoding::bytes")]
    pub bytes: Bytes,
}

impl GuestAnswer {
    /// Returns what a call of another room gets for it; `None` for answers to other events.
    pub fn for_call(&self) -> Option<OutcallAnswer> {
        match self {
            Self::Returned(data) => Some(OutcallAnswer::Returned(data.clone())),
            Self::Response(response) | Self::Refused(response) => {
                Some(OutcallAnswer::Response(response.clone()))
            }
            Self::Done | Self::Tags(_) | Self::Later => None,
        }
    }
}

/// One WebSocket message. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Text.
    Text(Text),
    /// Arbitrary bytes.
    Binary(#[serde(with = "encoding::bytes")] Bytes),
}

impl Message {
    /// Makes a text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Text::from(text.into()))
    }

    /// Returns the size of the payload in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Returns true if the payload is empty. An empty message is still a message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A close code with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseFrame {
    /// A code of RFC 6455 section 7.4. [`CloseFrame::NO_CODE`] stands for a missing code; 1006 is never sent.
    pub code: u16,
    /// UTF-8, at most [`CloseFrame::REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

impl CloseFrame {
    /// A control frame carries 125 bytes, two of them the code: RFC 6455 section 5.5.
    pub const REASON_BYTES_MAX: usize = 123;

    /// The codes that a room and an operator may close with, in words. No frame may carry 1004, 1005, 1006
    /// and 1015.
    pub const CODES: &str = "1000 to 4999 except 1004, 1005, 1006 and 1015";

    /// Stands for a frame without a code and a reason: RFC 6455 section 7.1.5.
    pub const NO_CODE: u16 = 1005;

    /// Makes a frame with this code, and as much of the reason as fits.
    pub fn new(code: u16, reason: &str) -> Self {
        let mut end = reason.len().min(Self::REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self { code, reason: reason[..end].to_owned() }
    }

    /// Returns true if the code is one of [`CloseFrame::CODES`].
    pub fn has_sendable_code(&self) -> bool {
        matches!(self.code, 1000..=4999) && !matches!(self.code, 1004..=1006 | 1015)
    }
}

/// The end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The last close frame; 1005 if it had no code, 1006 if there was none.
    pub frame: CloseFrame,
    /// Whether close frames were exchanged.
    pub handshake: CloseHandshake,
}

impl Ending {
    /// Returns the ending without a close frame: RFC 6455 section 7.1.5 has 1006 for it, and no reason.
    pub fn broken_off() -> Self {
        Self { frame: CloseFrame::new(1006, ""), handshake: CloseHandshake::Missing }
    }
}

/// Whether both sides sent a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseHandshake {
    /// Both sent a close frame.
    Clean,
    /// The connection just ended.
    Missing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = CloseFrame::new(4000, &"é".repeat(100));
        assert_eq!(frame.reason.len(), 122);
        assert_eq!(CloseFrame::new(4000, "short").reason, "short");
    }
}
