//! The subprotocol `room.ids`: a plain WebSocket whose messages carry their ids. Owns the shape of its frames.
//!
//! Invariant: the first frame is the welcome, and every message after it has a head. What has none is an object with one
//! key, so that a client never has to guess.
//! A message is framed once for all sockets. `sdk/PROTOCOL.md` has the chapter. It does not know sockets.

use bytes::{BufMut, Bytes, BytesMut};
use room_core::event::Message;
use room_core::id::SequenceNumber;
use room_rooms::room::{ClientArrival, Gap, LogEntry, PresenceEvent, Welcome};
use serde_json::{Value, json};

/// The name of the subprotocol.
pub(crate) const IDS_PROTOCOL: &str = "room.ids";

/// Bytes of the head of a binary message: the epoch and the position, each with the highest byte first.
const HEAD_BYTES: usize = 16;

/// Returns the first frame.
pub(crate) fn welcome(welcome: &Welcome) -> Message {
    Message::text(json!({ "welcome": told(welcome) }).to_string())
}

/// Returns the frame of an event of presence, for this subprotocol and for sockets without one. It has no head.
pub(crate) fn presence(event: &PresenceEvent) -> Message {
    event.framed(|event| Message::text(format!(r#"{{"presence":{}}}"#, event.json())))
}

/// Returns what a client learns first, whatever carries it.
pub(crate) fn told(welcome: &Welcome) -> Value {
    let Welcome { connection, secret, resume_ms, at, arrival, .. } = welcome;
    let (arrival, gap) = match arrival {
        ClientArrival::New => ("new", None),
        ClientArrival::Resumed => ("resumed", None),
        ClientArrival::Continued => ("continued", None),
        ClientArrival::Gap(gap) => ("gap", Some(name(*gap))),
    };
    let mut told = json!({
        "connection": connection.as_str(),
        "secret": secret.reveal(),
        "resume_ms": resume_ms,
        "at": at.map(|at| at.to_string()),
        "arrival": arrival,
    });
    if let Some(gap) = gap {
        told["gap"] = gap.into();
    }
    told
}

/// Returns the frame of a message that has an id.
pub(super) fn entry(entry: &LogEntry) -> Message {
    entry.framed(|entry| framed(Some(entry.number()), entry.message()))
}

/// Returns the frame of a message without an id: the answer to a ping, and every message of a party that remembers none.
pub(super) fn unnumbered(message: &Message) -> Message {
    framed(None, message)
}

fn framed(number: Option<SequenceNumber>, message: &Message) -> Message {
    match message {
        Message::Text(text) => Message::text(match number {
            Some(number) => format!("{number} {}", text.as_str()),
            None => format!("- {}", text.as_str()),
        }),
        Message::Binary(bytes) => {
            let SequenceNumber { epoch, seq } = number.unwrap_or_default();
            let mut framed = BytesMut::with_capacity(HEAD_BYTES + bytes.len());
            framed.put_u64(epoch);
            framed.put_u64(seq);
            framed.put_slice(bytes);
            Message::Binary(Bytes::from(framed))
        }
    }
}

/// Returns the name of a gap for clients.
fn name(gap: Gap) -> &'static str {
    match gap {
        Gap::TooOld => "too_old",
        Gap::UnknownId => "unknown_id",
        Gap::UnknownConnection => "unknown_connection",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_a_head_with_its_id_or_none() {
        let number = SequenceNumber { epoch: 7, seq: 42 };
        let text = Message::text("hi there");
        assert_eq!(framed(Some(number), &text), Message::text("7-42 hi there"));
        assert_eq!(unnumbered(&text), Message::text("- hi there"));
        let mut bytes = vec![0; HEAD_BYTES];
        (bytes[7], bytes[15]) = (7, 42);
        bytes.extend([1, 2]);
        let binary = Message::Binary(Bytes::from_static(&[1, 2]));
        assert_eq!(framed(Some(number), &binary), Message::Binary(bytes.into()));
        let head = [[0; HEAD_BYTES].as_slice(), &[1, 2]].concat();
        assert_eq!(unnumbered(&binary), Message::Binary(head.into()));
    }
}
