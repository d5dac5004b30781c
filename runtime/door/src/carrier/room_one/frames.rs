//! The frames of the subprotocol `room.1`. Owns how they are read and written.
//!
//! Invariant: any frame of a client is read, or refused by a name with the client's own number for it, where that can be
//! read. Unknown keys are ignored. `sdk/PROTOCOL.md` has the chapter. Pure: it does not know channels.

mod presence;

pub(super) use presence::presence;

use super::refusal::{SessionErrorName, SessionRefusal};
use crate::carrier::told;
use bytes::{BufMut, Bytes, BytesMut};
use presence::{FrameContent, wish};
use room_core::event::{CloseFrame, Message};
use room_core::id::SequenceNumber;
use room_core::limits::{Limits, size};
use room_rooms::room::{ClientDelivery, PresenceAsk, Welcome};
use serde::Deserialize;
use serde_json::{Value, json};

/// The name of the subprotocol.
pub(crate) const ROOM_PROTOCOL: &str = "room.1";

/// The largest number that every client can count to: a JavaScript number holds it exactly.
const REFERENCE_END: u64 = 1 << 53;
/// Bytes of the head of a client's binary message before its id: the channel, the number and the length of the id.
const SENT_HEAD_BYTES: usize = 13;
/// Bytes of the head of a room's binary message: the channel, and the id's two numbers.
const SAID_HEAD_BYTES: usize = 20;

/// The bounds of what a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameBounds {
    message_bytes_max: usize,
    id_bytes_max: usize,
    token_bytes_max: usize,
    presence_bytes_max: usize,
    flag_bytes_max: usize,
    flag_ms_max: u64,
}

/// A frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionFrame {
    Join(Box<JoinAsk>),
    Leave { reference: Option<u64>, channel: usize },
    Send { channel: usize, delivery: ClientDelivery },
    Present { channel: usize, ask: PresenceAsk },
    Token { reference: Option<u64>, token: String },
    Ping { reference: Option<u64> },
}

/// A room that a client wants to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinAsk {
    pub(crate) reference: u64,
    pub(crate) party: String,
    pub(crate) room: String,
    /// The query of its URL, without the parameters below.
    pub(crate) query: String,
    /// The parameters that the server knows, by their names in a URL.
    pub(crate) parameters: Vec<(&'static str, String)>,
    /// A token or ticket for this room alone.
    pub(crate) token: Option<String>,
}

/// The keys of all frames. Each type of frame has some of them.
#[derive(Deserialize)]
struct FrameKeys {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "ref")]
    reference: Option<u64>,
    channel: Option<u32>,
    data: Option<FrameContent>,
    id: Option<String>,
    party: Option<String>,
    room: Option<String>,
    query: Option<String>,
    since: Option<String>,
    resume: Option<String>,
    rewind: Option<RewindKey>,
    token: Option<String>,
}

/// How much a client asks for of the time before: a number of messages, or a time.
#[derive(Deserialize)]
#[serde(untagged)]
enum RewindKey {
    Messages(u64),
    Time(String),
}

/// The number of a frame that cannot be read otherwise.
#[derive(Deserialize)]
struct ReferenceKey {
    #[serde(rename = "ref")]
    reference: Option<Value>,
}

impl FrameBounds {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            message_bytes_max: size(limits.message_bytes_max),
            id_bytes_max: size(limits.message_id_bytes_max),
            token_bytes_max: size(limits.token_bytes_max),
            presence_bytes_max: size(limits.presence_data_bytes_max),
            flag_bytes_max: size(limits.presence_flag_bytes_max),
            flag_ms_max: limits.presence_flag_ms_max,
        }
    }
}

impl SessionFrame {
    /// Reads a frame of a client.
    ///
    /// # Errors
    /// [`SessionRefusal`].
    pub(crate) fn read(frame: Message, bounds: FrameBounds) -> Result<Self, SessionRefusal> {
        match frame {
            Message::Text(text) => read_text(text.as_str(), bounds),
            Message::Binary(bytes) => read_binary(bytes, bounds),
        }
    }
}

fn read_text(text: &str, bounds: FrameBounds) -> Result<SessionFrame, SessionRefusal> {
    let keys: FrameKeys = serde_json::from_str(text).map_err(|error| {
        let own: Option<ReferenceKey> = serde_json::from_str(text).ok();
        let reference = own.and_then(|own| own.reference?.as_u64()).filter(is_reference);
        malformed(reference, format!("the frame cannot be read: {error}"))
    })?;
    let reference = keys.reference;
    if let Some(number) = reference
        && !is_reference(&number)
    {
        return Err(malformed(None, "`ref` is a whole number from 1 to 9007199254740991"));
    }
    let needs = |key: &str| malformed(reference, format!("`{}` needs `{key}`", keys.kind));
    let channel = || keys.channel.map(|channel| channel as usize).ok_or_else(|| needs("channel"));
    match keys.kind.as_str() {
        "send" => {
            let channel = channel()?;
            let Some(FrameContent::Text(data)) = keys.data else {
                return Err(malformed(reference, "`send` needs `data`, a text"));
            };
            let delivery = delivery(Message::text(data), keys.id, reference, bounds)?;
            Ok(SessionFrame::Send { channel, delivery })
        }
        "join" => {
            let number = reference.ok_or_else(|| needs("ref"))?;
            let party = keys.party.unwrap_or_else(|| "main".to_owned());
            let room = keys.room.filter(|room| !room.is_empty());
            let room = room.ok_or_else(|| malformed(reference, "`join` needs `room`"))?;
            if let Some(token) = &keys.token {
                check_token(reference, token, bounds)?;
            }
            let rewind = keys.rewind.map(|rewind| match rewind {
                RewindKey::Messages(count) => count.to_string(),
                RewindKey::Time(time) => time,
            });
            let named = [
                ("_pk", keys.id),
                ("_since", keys.since),
                ("_resume", keys.resume),
                ("_rewind", rewind),
            ];
            let parameters =
                named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let (query, token) = (keys.query.unwrap_or_default(), keys.token);
            let ask = JoinAsk { reference: number, party, room, query, parameters, token };
            Ok(SessionFrame::Join(Box::new(ask)))
        }
        "leave" => Ok(SessionFrame::Leave { reference, channel: channel()? }),
        "token" => {
            let token = keys.token.ok_or_else(|| needs("token"))?;
            check_token(reference, &token, bounds)?;
            Ok(SessionFrame::Token { reference, token })
        }
        "presence" => {
            let (channel, ask) = (channel()?, wish(text, reference, bounds)?);
            Ok(SessionFrame::Present { channel, ask })
        }
        "ping" => Ok(SessionFrame::Ping { reference }),
        kind => {
            let kind: String = kind.chars().take(32).collect();
            let text = format!(
                "{kind:?} is not a type of frame: join, leave, send, presence, token, ping"
            );
            Err(SessionRefusal::new(reference, SessionErrorName::UnknownType, text))
        }
    }
}

/// Reads a message of bytes: the channel in 4 bytes, the number in 8 (0 for none), the length of the id in 1, the id,
/// and the message. The highest byte of a number comes first.
fn read_binary(frame: Bytes, bounds: FrameBounds) -> Result<SessionFrame, SessionRefusal> {
    let short = || malformed(None, "a binary frame starts with a head of 13 bytes and an id");
    let head = frame.get(..SENT_HEAD_BYTES).ok_or_else(short)?;
    let number = |from: usize, to: usize| {
        head[from..to].iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let (channel, reference) = (number(0, 4), number(4, 12));
    let reference = (reference != 0).then_some(reference);
    if let Some(number) = reference
        && !is_reference(&number)
    {
        return Err(malformed(None, "the number of a frame is at most 9007199254740991"));
    }
    let id_end = SENT_HEAD_BYTES + usize::from(head[12]);
    let id = frame.get(SENT_HEAD_BYTES..id_end).ok_or_else(short)?;
    let id = std::str::from_utf8(id).map_err(|_| malformed(reference, "`id` is not UTF-8"))?;
    let id = (!id.is_empty()).then(|| id.to_owned());
    let message = Message::Binary(frame.slice(id_end..));
    let delivery = delivery(message, id, reference, bounds)?;
    Ok(SessionFrame::Send { channel: size(channel), delivery })
}

fn delivery(
    message: Message,
    id: Option<String>,
    reference: Option<u64>,
    bounds: FrameBounds,
) -> Result<ClientDelivery, SessionRefusal> {
    let FrameBounds { message_bytes_max, id_bytes_max, .. } = bounds;
    if message.len() > message_bytes_max {
        let text = format!("a message of {} bytes, at most {message_bytes_max}", message.len());
        return Err(SessionRefusal::new(reference, SessionErrorName::TooLarge, text));
    }
    if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > id_bytes_max) {
        return Err(malformed(reference, format!("`id` has 1 to {id_bytes_max} bytes")));
    }
    Ok(ClientDelivery { message, id: id.map(String::into_boxed_str), reference })
}

fn check_token(
    reference: Option<u64>,
    token: &str,
    bounds: FrameBounds,
) -> Result<(), SessionRefusal> {
    let max = bounds.token_bytes_max;
    // It becomes a header, as a token of a handshake is one.
    if token.is_empty() || token.len() > max || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = format!("`token` has 1 to {max} printable ASCII characters");
        return Err(malformed(reference, text));
    }
    Ok(())
}

fn malformed(reference: Option<u64>, text: impl Into<String>) -> SessionRefusal {
    SessionRefusal::new(reference, SessionErrorName::Malformed, text)
}

fn is_reference(number: &u64) -> bool {
    (1..REFERENCE_END).contains(number)
}

/// Returns the frame that tells a client about a room that it has joined.
pub(super) fn joined(channel: usize, reference: Option<u64>, welcome: &Welcome) -> Message {
    let mut frame = told(welcome);
    frame["type"] = "joined".into();
    frame["channel"] = channel.into();
    if let Some(reference) = reference {
        frame["ref"] = reference.into();
    }
    Message::text(frame.to_string())
}

/// Returns the frame of a message of a room, with its id if it has one.
pub(super) fn message(channel: usize, id: Option<SequenceNumber>, message: &Message) -> Message {
    match message {
        Message::Text(text) => {
            let id = id.map(|id| format!(r#""id":"{id}","#)).unwrap_or_default();
            let data = serde_json::to_string(text.as_str()).expect("a text is JSON");
            let head = format!(r#"{{"type":"message","channel":{channel},{id}"data":"#);
            Message::text(head + &data + "}")
        }
        Message::Binary(bytes) => {
            let SequenceNumber { epoch, seq } = id.unwrap_or_default();
            let mut framed = BytesMut::with_capacity(SAID_HEAD_BYTES + bytes.len());
            framed.put_u32(u32::try_from(channel).unwrap_or(u32::MAX));
            framed.put_u64(epoch);
            framed.put_u64(seq);
            framed.put_slice(bytes);
            Message::Binary(framed.freeze())
        }
    }
}

/// Returns the frame that answers one of the client's.
pub(super) fn answer(kind: &str, reference: Option<u64>, channel: Option<usize>) -> Message {
    let mut frame = json!({ "type": kind });
    if let Some(channel) = channel {
        frame["channel"] = channel.into();
    }
    if let Some(reference) = reference {
        frame["ref"] = reference.into();
    }
    Message::text(frame.to_string())
}

/// Returns the frame of an error.
pub(super) fn error(channel: Option<usize>, refusal: &SessionRefusal) -> Message {
    let SessionRefusal { reference, name, message, retry_ms, close } = refusal;
    let mut frame = json!({ "type": "error", "code": name.as_str(), "message": message });
    if let Some(channel) = channel {
        frame["channel"] = channel.into();
    }
    if let Some(reference) = reference {
        frame["ref"] = (*reference).into();
    }
    if let Some(retry_ms) = retry_ms {
        frame["retry_ms"] = (*retry_ms).into();
    }
    if let Some(close) = close {
        frame["close"] = (*close).into();
    }
    Message::text(frame.to_string())
}

/// Returns the last frame of a channel.
pub(super) fn closed(channel: usize, frame: &CloseFrame) -> Message {
    let CloseFrame { code, reason } = frame;
    let frame = json!({ "type": "closed", "channel": channel, "code": code, "reason": reason });
    Message::text(frame.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_test_inputs::Inputs;

    fn read(frame: Message) -> Result<SessionFrame, SessionRefusal> {
        SessionFrame::read(frame, FrameBounds::of(&Limits::default()))
    }

    fn text(text: &str) -> Result<SessionFrame, SessionRefusal> {
        read(Message::text(text))
    }

    /// Returns the name of the refusal, and the number in it.
    fn refused(frame: &str) -> (&'static str, Option<u64>) {
        let refusal = text(frame).unwrap_err();
        (refusal.name.as_str(), refusal.reference)
    }

    #[test]
    fn each_frame_is_read_and_unknown_keys_are_ignored() {
        assert_eq!(text(r#"{"type":"ping"}"#), Ok(SessionFrame::Ping { reference: None }));
        assert_eq!(
            text(r#"{"type":"leave","channel":3,"ref":9,"new":{"a":[1]}}"#),
            Ok(SessionFrame::Leave { reference: Some(9), channel: 3 })
        );
        let delivery = ClientDelivery {
            message: Message::text("hé\n"),
            id: Some("m-1".into()),
            reference: Some(7),
        };
        assert_eq!(
            text(r#"{"type":"send","channel":0,"ref":7,"id":"m-1","data":"h\u00e9\n"}"#),
            Ok(SessionFrame::Send { channel: 0, delivery })
        );
        let ask = JoinAsk {
            reference: 2,
            party: "main".to_owned(),
            room: "a b".to_owned(),
            query: "x=1".to_owned(),
            parameters: vec![("_pk", "ada".to_owned()), ("_rewind", "50".to_owned())],
            token: None,
        };
        assert_eq!(
            text(r#"{"type":"join","ref":2,"room":"a b","id":"ada","rewind":50,"query":"x=1"}"#),
            Ok(SessionFrame::Join(Box::new(ask)))
        );
    }

    #[test]
    fn a_frame_that_cannot_be_read_is_refused_by_name_with_its_number() {
        let long = "x".repeat(65);
        for (frame, name, reference) in [
            ("", "malformed", None),
            ("[]", "malformed", None),
            (r#"{"ref":3}"#, "malformed", Some(3)),
            (r#"{"type":"send","ref":3,"channel":"a","data":""}"#, "malformed", Some(3)),
            (r#"{"type":"send","ref":3,"channel":-1,"data":""}"#, "malformed", Some(3)),
            (r#"{"type":"send","ref":3,"data":""}"#, "malformed", Some(3)),
            (r#"{"type":"send","ref":3,"channel":0,"data":{}}"#, "malformed", Some(3)),
            (r#"{"type":"send","ref":0,"channel":0,"data":""}"#, "malformed", None),
            (r#"{"type":"ping","ref":9007199254740992}"#, "malformed", None),
            (r#"{"type":"join","room":"a"}"#, "malformed", None),
            (r#"{"type":"join","ref":3}"#, "malformed", Some(3)),
            (r#"{"type":"token","ref":3,"token":"a b"}"#, "malformed", Some(3)),
            (r#"{"type":"JOIN","ref":3}"#, "unknown_type", Some(3)),
            (
                &format!(r#"{{"type":"send","ref":3,"channel":0,"data":"","id":"{long}"}}"#),
                "malformed",
                Some(3),
            ),
            (
                &format!(
                    r#"{{"type":"send","ref":3,"channel":0,"data":"{}"}}"#,
                    "x".repeat((1 << 20) + 1)
                ),
                "too_large",
                Some(3),
            ),
        ] {
            assert_eq!(refused(frame), (name, reference), "{:.80}", frame);
        }
    }

    #[test]
    fn a_binary_frame_has_a_head_with_its_channel_its_number_and_its_id() {
        let head = [&[0, 0, 1, 2][..], &[0, 0, 0, 0, 0, 0, 0, 5], &[3], b"abc"].concat();
        let frame = [head.as_slice(), &[9, 8]].concat();
        let delivery = ClientDelivery {
            message: Message::Binary(Bytes::from_static(&[9, 8])),
            id: Some("abc".into()),
            reference: Some(5),
        };
        let read_frame = read(Message::Binary(frame.into()));
        assert_eq!(read_frame, Ok(SessionFrame::Send { channel: 258, delivery }));
        for end in 0..head.len() {
            let cut = Message::Binary(Bytes::copy_from_slice(&head[..end]));
            assert_eq!(read(cut).unwrap_err().name, SessionErrorName::Malformed, "{end}");
        }
        let bare = Message::Binary(vec![0; SENT_HEAD_BYTES].into());
        let message = Message::Binary(Bytes::new());
        let delivery = ClientDelivery { message, id: None, reference: None };
        assert_eq!(read(bare), Ok(SessionFrame::Send { channel: 0, delivery }));
    }

    #[test]
    fn a_message_of_a_room_names_its_channel_and_its_id() {
        let id = Some(SequenceNumber { epoch: 7, seq: 42 });
        let said = Message::text("say \"hi\"");
        let expected = r#"{"type":"message","channel":2,"id":"7-42","data":"say \"hi\""}"#;
        assert_eq!(message(2, id, &said), Message::text(expected));
        let expected = r#"{"type":"message","channel":2,"data":"say \"hi\""}"#;
        assert_eq!(message(2, None, &said), Message::text(expected));
        let mut bytes = vec![0; SAID_HEAD_BYTES];
        (bytes[3], bytes[11], bytes[19]) = (2, 7, 42);
        bytes.push(1);
        let binary = Message::Binary(Bytes::from_static(&[1]));
        assert_eq!(message(2, id, &binary), Message::Binary(bytes.into()));
    }

    #[test]
    fn any_bytes_are_a_frame_or_are_refused_by_name() {
        let words = ["{\"type\":\"", "\"ref\":", "\"channel\":", "send", "join", "\\u0000", "}"];
        Inputs::of("room-one-frames", &words).each(|input| {
            let frames = [
                Message::text(String::from_utf8_lossy(input).into_owned()),
                Message::Binary(Bytes::copy_from_slice(input)),
            ];
            for frame in frames {
                let bytes = frame.len();
                match read(frame) {
                    Ok(SessionFrame::Send { delivery, .. }) => {
                        assert!(delivery.message.len() <= bytes);
                        assert!(delivery.reference.is_none_or(|number| is_reference(&number)));
                        assert!(delivery.id.is_none_or(|id| (1..=64).contains(&id.len())));
                    }
                    Ok(_) => {}
                    Err(refusal) => {
                        assert!(refusal.reference.is_none_or(|number| is_reference(&number)));
                        assert!(!refusal.message.is_empty());
                    }
                }
            }
        });
    }
}
