//! Server-sent events as bytes, as the HTML standard has them. Owns the names of events, and the id of a final close.
//!
//! Invariant: whatever a message holds, it is one event, and no part of it is a field of its own. A message has no event
//! name, so no message looks like an event of the server. It does not know when events are written.

use crate::carrier::told;
use ::http::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use room_core::event::{CloseFrame, Message};
use room_core::id::SequenceNumber;
use room_rooms::room::{LogEntry, PresenceEvent, Welcome};
use serde::Serialize;

/// The header in which an EventSource that comes again returns the id of the last event.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What the id of the last event begins with if the close was final. The close code follows.
const FINAL: &str = "closed-";
/// A comment, which no page sees.
const SIGN_OF_LIFE: &[u8] = b":\n\n";

/// What follows the id of a message, so that a stock `EventSource` that comes again has its connection again: it returns
/// the last id and knows nothing else. It is empty if the connection does not outlive its transport.
#[derive(Debug, Default)]
pub(super) struct ReturnTag(String);

/// What an `EventSource` that comes again returns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LastEvent<'a> {
    /// The id of the last message, as text.
    pub(super) since: &'a str,
    /// The secret and the id of the connection, percent-encoded.
    pub(super) connection: Option<(&'a str, &'a str)>,
}

/// The last event of a connection.
#[derive(Serialize)]
struct Closed<'a> {
    code: u16,
    reason: &'a str,
}

impl ReturnTag {
    pub(super) fn of(welcome: &Welcome) -> Self {
        if welcome.resume_ms == 0 && !welcome.continues {
            return Self::default();
        }
        let connection = utf8_percent_encode(welcome.connection.as_str(), NON_ALPHANUMERIC);
        Self(format!(".{}.{connection}", welcome.secret.reveal()))
    }
}

impl<'a> LastEvent<'a> {
    /// Reads the value of the header; `None` if it is no id of a message.
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let (since, tag) = match value.split_once('.') {
            Some((since, tag)) => (since, Some(tag.split_once('.')?)),
            None => (value, None),
        };
        since.parse::<SequenceNumber>().ok()?;
        Some(Self { since, connection: tag })
    }
}

/// Appends the first event of a connection.
pub(super) fn write_welcome(out: &mut Vec<u8>, welcome: &Welcome, tag: &ReturnTag) {
    if let Some(at) = welcome.at {
        write_id(out, at, tag);
    }
    write_named(out, "welcome", &told(welcome));
}

/// Appends a message of the room that has an id.
pub(super) fn write_entry(out: &mut Vec<u8>, entry: &LogEntry, tag: &ReturnTag) {
    write_id(out, entry.number(), tag);
    write_message(out, entry.message());
}

fn write_id(out: &mut Vec<u8>, id: SequenceNumber, tag: &ReturnTag) {
    out.extend_from_slice(format!("id: {id}{}\n", tag.0).as_bytes());
}

/// Appends who is in the room, or what of that changed.
pub(super) fn write_presence(out: &mut Vec<u8>, event: &PresenceEvent) {
    out.extend_from_slice(b"event: presence\n");
    write_data(out, event.json());
}

/// Appends after how many milliseconds the client comes again.
pub(super) fn write_retry(out: &mut Vec<u8>, retry_ms: u64) {
    out.extend_from_slice(format!("retry: {retry_ms}\n").as_bytes());
}

/// Appends a message of the room.
pub(super) fn write_message(out: &mut Vec<u8>, message: &Message) {
    match message {
        Message::Text(text) => write_data(out, text.as_str()),
        Message::Binary(bytes) => {
            out.extend_from_slice(b"event: binary\n");
            write_data(out, &BASE64_STANDARD.encode(bytes));
        }
    }
}

/// Appends the close. A final one has an id, by which the server stops the client when it comes again.
pub(super) fn write_close(out: &mut Vec<u8>, frame: &CloseFrame) {
    if is_final_code(frame.code) {
        out.extend_from_slice(format!("id: {FINAL}{}\n", frame.code).as_bytes());
    }
    write_named(out, "close", &Closed { code: frame.code, reason: &frame.reason });
}

pub(super) fn write_sign_of_life(out: &mut Vec<u8>) {
    out.extend_from_slice(SIGN_OF_LIFE);
}

/// Returns true if the last event that a client got was a final close.
pub(super) fn is_final(last_event_id: &HeaderValue) -> bool {
    let id = last_event_id.to_str().ok();
    let code = id.and_then(|id| id.strip_prefix(FINAL)).and_then(|code| code.parse().ok());
    code.is_some_and(is_final_code)
}

/// Returns true for the close codes of rooms and hooks, which an EventSource cannot be told to try again after.
fn is_final_code(code: u16) -> bool {
    (4000..=4999).contains(&code)
}

fn write_named(out: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    out.extend_from_slice(format!("event: {name}\n").as_bytes());
    // JSON has no line break of its own.
    let data = serde_json::to_string(data).expect("texts and numbers are JSON");
    write_data(out, &data);
}

/// Appends the lines of the data and the end of the event. Each of CR, LF and CRLF ends a line, and the client joins the
/// lines with LF.
fn write_data(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 16);
    let mut rest = text;
    loop {
        let end = rest.find(['\r', '\n']);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest.as_bytes()[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { break };
        let width = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + width..];
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn message(text: &str) -> String {
        written(|out| write_message(out, &Message::text(text)))
    }

    /// Reads an event as the HTML standard has it: its name and its data.
    fn read(event: &str) -> (String, String) {
        let (mut name, mut data) = (String::new(), String::new());
        let body = event.strip_suffix("\n\n").unwrap();
        assert!(!body.contains('\r') && !body.contains("\n\n"), "{event:?}");
        for line in body.split('\n') {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => name = value.to_owned(),
                "data" => data.extend([value, "\n"]),
                _ => panic!("{event:?} has the field {field:?}"),
            }
        }
        (name, data.strip_suffix('\n').unwrap().to_owned())
    }

    proptest! {
        #[test]
        fn a_text_is_one_event_with_its_lines(text in "[a-c:\\r\\n é\\x00]{0,20}") {
            let lines = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(read(&message(&text)), (String::new(), lines));
        }

        #[test]
        fn bytes_come_back_from_base64(bytes in any::<Vec<u8>>()) {
            let event = written(|out| write_message(out, &Message::Binary(bytes.clone().into())));
            let (name, data) = read(&event);
            prop_assert_eq!(name, "binary");
            prop_assert_eq!(BASE64_STANDARD.decode(data).unwrap(), bytes);
        }
    }

    #[test]
    fn the_id_of_an_event_has_what_a_stock_event_source_needs_to_come_back() {
        let id = SequenceNumber { epoch: 3, seq: 14 };
        let secret = room_core::id::ConnectionSecret::random();
        let mut welcome = Welcome {
            connection: room_core::id::ConnectionId::parse("a.b c", 16).unwrap(),
            secret,
            resume_ms: 1,
            continues: false,
            at: Some(id),
            arrival: room_rooms::room::ClientArrival::New,
        };
        let first = written(|out| write_welcome(out, &welcome, &ReturnTag::of(&welcome)));
        let value = first.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
        let expected =
            LastEvent { since: "3-14", connection: Some((&secret.reveal(), "a%2Eb%20c")) };
        assert_eq!(LastEvent::parse(value), Some(expected));
        // Without a time to come back, a client can only ask for what it missed.
        welcome.resume_ms = 0;
        let first = written(|out| write_welcome(out, &welcome, &ReturnTag::of(&welcome)));
        assert!(first.starts_with("id: 3-14\n"), "{first}");
        assert_eq!(LastEvent::parse("3-14"), Some(LastEvent { since: "3-14", connection: None }));
        for other in ["", ".", "3", "3-14.", "3-14.x", "3-x", "closed-4001", "-1-2", "3-14 "] {
            assert_eq!(LastEvent::parse(other), None, "{other}");
        }
    }

    #[test]
    fn no_text_makes_a_field_of_its_own() {
        for text in ["x\nevent: close", "x\r\rid: 7", "\n\ndata: y", ": z", "retry: 1\r\n"] {
            let event = message(text);
            assert!(
                event.lines().all(|line| line.is_empty() || line.starts_with("data: ")),
                "{event:?}"
            );
        }
        assert_eq!(message(""), "data: \n\n");
    }

    #[test]
    fn only_a_close_with_a_code_of_a_room_stops_a_client() {
        let last_id = |code| {
            let event = written(|out| write_close(out, &CloseFrame::new(code, "a\nb")));
            assert!(
                event.ends_with(&format!("data: {{\"code\":{code},\"reason\":\"a\\nb\"}}\n\n")),
                "{event}"
            );
            let id = event.lines().find_map(|line| line.strip_prefix("id: ")).unwrap_or_default();
            id.parse::<HeaderValue>().unwrap()
        };
        for code in [4000, 4001, 4409, 4999] {
            assert!(is_final(&last_id(code)), "{code}");
        }
        for code in [1000, 1001, 1005, 1011, 1012, 1013, 3000, 3999] {
            assert!(!is_final(&last_id(code)), "{code}");
        }
        for id in ["", "closed-", "closed-1000", "closed-65536", "closed-x", "1-2", "xclosed-4001"]
        {
            assert!(!is_final(&id.parse().unwrap()), "{id}");
        }
        assert!(!is_final(&HeaderValue::from_bytes(b"closed-\xff").unwrap()));
    }
}
