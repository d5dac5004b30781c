//! One event that passed through a room. Owns its shape, in memory and as JSON.
//!
//! Invariant: only an excerpt of a message is kept, cut between characters, whatever the size of the message. It does
//! not know who reads it.

use room_core::event::{CloseFrame, CloseHandshake, Ending, Message};
use room_core::id::{ConnectionId, SequenceNumber};
use serde::{Serialize, Serializer};
use std::fmt::Write as _;

/// An event that passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TapEvent {
    /// When it passed, in milliseconds since 1970.
    time_ms: u64,
    /// `in`: from a client; `out`: from the room; `None` for an event inside the room.
    direction: Option<&'static str>,
    /// `open`, `text`, `binary`, `close` or `fault`.
    kind: &'static str,
    /// The connection; `None` if the event is about several or no connections.
    #[serde(serialize_with = "as_text")]
    connection: Option<ConnectionId>,
    /// The number of receivers, if the message was sent to several at once.
    to: Option<usize>,
    /// The size of a message.
    bytes: Option<usize>,
    /// The start of a text, or of a binary message in hexadecimal digits, or a reason.
    text: Option<String>,
    /// Whether the text is incomplete.
    cut: bool,
    /// The close code of a connection.
    code: Option<u16>,
    /// Whether both sides sent a close frame.
    clean: Option<bool>,
    /// The event at which a guest failed.
    event: Option<&'static str>,
    /// The number of the room's output, as `epoch-seq`.
    #[serde(serialize_with = "as_shown")]
    number: Option<SequenceNumber>,
}

/// The receivers of an output.
#[derive(Clone, Copy, Debug)]
pub enum OutputReceivers<'a> {
    /// One connection.
    One(&'a ConnectionId),
    /// This number of connections at once.
    Many(usize),
}

impl TapEvent {
    pub(super) fn opened(who: &ConnectionId) -> Self {
        Self {
            direction: Some("in"),
            kind: "open",
            connection: Some(who.clone()),
            ..Self::default()
        }
    }

    pub(super) fn came(from: &ConnectionId, message: &Message, excerpt_bytes: usize) -> Self {
        let connection = Some(from.clone());
        Self { direction: Some("in"), connection, ..Self::message(message, excerpt_bytes) }
    }

    pub(super) fn went(
        number: SequenceNumber,
        to: OutputReceivers<'_>,
        message: &Message,
        excerpt_bytes: usize,
    ) -> Self {
        Self { number: Some(number), ..Self::message(message, excerpt_bytes).to(to) }
    }

    pub(super) fn closed(
        number: Option<SequenceNumber>,
        to: OutputReceivers<'_>,
        frame: &CloseFrame,
    ) -> Self {
        let (code, text) = (Some(frame.code), Some(frame.reason.clone()));
        Self { kind: "close", code, text, number, ..Self::default() }.to(to)
    }

    pub(super) fn ended(who: &ConnectionId, ending: &Ending) -> Self {
        let CloseFrame { code, reason } = &ending.frame;
        Self {
            direction: Some("in"),
            kind: "close",
            connection: Some(who.clone()),
            code: Some(*code),
            text: Some(reason.clone()),
            clean: Some(ending.handshake == CloseHandshake::Clean),
            ..Self::default()
        }
    }

    pub(super) fn failed(event: &'static str, reason: &str, excerpt_bytes: usize) -> Self {
        let (text, cut) = excerpt(reason, excerpt_bytes);
        Self { kind: "fault", event: Some(event), text: Some(text), cut, ..Self::default() }
    }

    fn message(message: &Message, excerpt_bytes: usize) -> Self {
        let (kind, (text, cut)) = match message {
            Message::Text(text) => ("text", excerpt(text.as_str(), excerpt_bytes)),
            Message::Binary(bytes) => ("binary", digits(bytes, excerpt_bytes)),
        };
        Self { kind, text: Some(text), cut, bytes: Some(message.len()), ..Self::default() }
    }

    fn to(self, whom: OutputReceivers<'_>) -> Self {
        let (connection, to) = match whom {
            OutputReceivers::One(one) => (Some(one.clone()), None),
            OutputReceivers::Many(count) => (None, Some(count)),
        };
        Self { direction: Some("out"), connection, to, ..self }
    }

    /// Sets the time.
    pub(super) fn at(self, time_ms: u64) -> Self {
        Self { time_ms, ..self }
    }

    /// Returns its size in memory, in bytes. A connection's id is counted although others share it.
    pub(super) fn size(&self) -> usize {
        let text = self.text.as_ref().map_or(0, String::len);
        size_of::<Self>() + text + self.connection.as_ref().map_or(0, |id| id.as_str().len())
    }
}

fn as_text<S: Serializer>(id: &Option<ConnectionId>, serializer: S) -> Result<S::Ok, S::Error> {
    id.as_ref().map(ConnectionId::as_str).serialize(serializer)
}

fn as_shown<S: Serializer>(
    number: &Option<SequenceNumber>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    number.map(|number| number.to_string()).serialize(serializer)
}

/// Returns the start of a text, and whether there is more.
fn excerpt(text: &str, bytes_max: usize) -> (String, bool) {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (text[..end].to_owned(), end < text.len())
}

/// Returns the first bytes as digits, and whether there are more.
fn digits(bytes: &[u8], digits_max: usize) -> (String, bool) {
    let shown = bytes.len().min(digits_max / 2);
    let mut digits = String::with_capacity(shown * 2);
    for byte in &bytes[..shown] {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    (digits, shown < bytes.len())
}
