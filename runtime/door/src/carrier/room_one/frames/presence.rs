//! The frames of presence. Owns the keys of a client's wish, and the form in which clients learn who is there.
//!
//! Invariant: a wish is within its bounds, or refused by a name. It does not know users.

use super::{FrameBounds, malformed};
use crate::carrier::room_one::refusal::{SessionErrorName, SessionRefusal};
use room_core::event::Message;
use room_rooms::room::{PresenceAsk, PresenceEvent};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;

/// The data of a frame. A message is a text, and what a user shows is any JSON, which is read again where it is needed.
pub(super) enum FrameContent {
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for FrameContent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FrameContentVisitor)
    }
}

struct FrameContentVisitor;

impl<'de> Visitor<'de> for FrameContentVisitor {
    type Value = FrameContent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<FrameContent, E> {
        Ok(FrameContent::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<FrameContent, E> {
        Ok(FrameContent::Text(text))
    }

    fn visit_bool<E>(self, _: bool) -> Result<FrameContent, E> {
        Ok(FrameContent::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<FrameContent, E> {
        Ok(FrameContent::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<FrameContent, E> {
        Ok(FrameContent::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<FrameContent, E> {
        Ok(FrameContent::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FrameContent, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FrameContent::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FrameContent, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(FrameContent::Other)
    }
}

/// The keys of a frame of presence. `data` that is null is not data that is missing.
#[derive(Deserialize)]
struct PresenceKeys {
    #[serde(default, deserialize_with = "present")]
    data: Option<Value>,
    flag: Option<String>,
    for_ms: Option<u64>,
}

fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// Reads what a client asks for its own user.
pub(super) fn wish(
    text: &str,
    reference: Option<u64>,
    bounds: FrameBounds,
) -> Result<PresenceAsk, SessionRefusal> {
    let keys: PresenceKeys = serde_json::from_str(text)
        .map_err(|error| malformed(reference, format!("the frame cannot be read: {error}")))?;
    let FrameBounds { presence_bytes_max, flag_bytes_max, flag_ms_max, .. } = bounds;
    let data = match keys.data {
        Some(Value::Null) => Some(None),
        data => data.map(|data| Some(data.to_string())),
    };
    if let Some(Some(data)) = &data
        && data.len() > presence_bytes_max
    {
        let text = format!("`data` has {} bytes, at most {presence_bytes_max}", data.len());
        return Err(SessionRefusal::new(reference, SessionErrorName::TooLarge, text));
    }
    let flag = match (keys.flag, keys.for_ms) {
        (None, None) if data.is_none() => {
            return Err(malformed(reference, "`presence` needs `data`, or `flag` and `for_ms`"));
        }
        (None, None) => None,
        (Some(flag), Some(for_ms)) => {
            if !(1..=flag_bytes_max).contains(&flag.len()) || for_ms > flag_ms_max {
                let text = format!(
                    "`flag` has 1 to {flag_bytes_max} bytes, and `for_ms` is at most {flag_ms_max}"
                );
                return Err(malformed(reference, text));
            }
            Some((flag, for_ms))
        }
        _ => return Err(malformed(reference, "`flag` and `for_ms` need each other")),
    };
    Ok(PresenceAsk { reference, data, flag })
}

/// Returns the frame of an event of presence.
pub(in super::super) fn presence(channel: usize, event: &PresenceEvent) -> Message {
    // An event is an object with at least one key.
    let keys = event.json().trim_start_matches('{');
    Message::text(format!(r#"{{"type":"presence","channel":{channel},{keys}"#))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::room_one::frames::SessionFrame;
    use room_core::limits::Limits;

    fn read(frame: &str) -> Result<PresenceAsk, (&'static str, Option<u64>)> {
        let bounds = FrameBounds::of(&Limits::default());
        match SessionFrame::read(Message::text(frame), bounds) {
            Ok(SessionFrame::Present { channel: 3, ask }) => Ok(ask),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err((refusal.name.as_str(), refusal.reference)),
        }
    }

    #[test]
    fn a_wish_has_data_or_a_flag_or_both() {
        let data = |text: &str| Some(Some(text.to_owned()));
        let ask = PresenceAsk { reference: Some(5), data: data(r#"{"a":[1,"x"]}"#), flag: None };
        let frame = r#"{"type":"presence","channel":3,"ref":5,"data":{"a":[1, "x"]}}"#;
        assert_eq!(read(frame), Ok(ask));
        for (json, kept) in [("7", "7"), ("\"x\"", "\"x\""), ("true", "true"), ("-1.5", "-1.5")] {
            let frame = format!(r#"{{"type":"presence","channel":3,"data":{json}}}"#);
            assert_eq!(read(&frame).unwrap().data, data(kept));
        }
        let cleared = read(r#"{"type":"presence","channel":3,"data":null}"#).unwrap();
        assert_eq!(cleared, PresenceAsk { data: Some(None), ..PresenceAsk::default() });
        let typing = r#"{"type":"presence","channel":3,"flag":"typing","for_ms":5000}"#;
        let flag = Some(("typing".to_owned(), 5_000));
        assert_eq!(read(typing), Ok(PresenceAsk { flag, ..PresenceAsk::default() }));
    }

    #[test]
    fn a_wish_that_says_nothing_or_too_much_is_refused_by_name() {
        let long = "x".repeat(4_096);
        for (keys, name) in [
            ("", "malformed"),
            (r#""flag":"typing""#, "malformed"),
            (r#""for_ms":5"#, "malformed"),
            (r#""flag":"","for_ms":5"#, "malformed"),
            (r#""flag":"typing","for_ms":60001"#, "malformed"),
            (r#""flag":"typing","for_ms":-1"#, "malformed"),
            (r#""data":"\ud800""#, "malformed"),
            (r#""data":1e999"#, "malformed"),
            (&format!(r#""data":"{long}""#), "too_large"),
            (&format!(r#""flag":"{long}","for_ms":1"#), "malformed"),
        ] {
            let keys = if keys.is_empty() { String::new() } else { format!(",{keys}") };
            let frame = format!(r#"{{"type":"presence","channel":3,"ref":9{keys}}}"#);
            assert_eq!(read(&frame), Err((name, Some(9))), "{frame:.80}");
        }
        let deep = format!(r#"{{"type":"presence","channel":3,"data":{}"#, "[".repeat(100_000));
        assert!(read(&deep).is_err());
    }

    #[test]
    fn an_event_names_its_channel() {
        let event = PresenceEvent::new(1, r#"{"left":["bob"]}"#.to_owned());
        let frame = r#"{"type":"presence","channel":2,"left":["bob"]}"#;
        assert_eq!(presence(2, &event), Message::text(frame));
    }
}
