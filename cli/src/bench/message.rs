//! The messages of the room `rooms-examples/bench`. Owns their spelling. Pure.
//!
//! Invariant: a message that is written here and comes back unaltered is read as what it was, and nothing else is. It
//! does not know how messages travel.

use std::io::Write as _;

/// The room's greeting to each client.
pub(crate) const HELLO: &[u8] = br#"{"t":"hello"}"#;
/// The length of a message with two large numbers, in bytes: shorter ones cannot be requested.
pub(crate) const BYTES_MIN: usize = 64;

const PAD: &[u8] = b",\"pad\":\"";

/// The request in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Send it back.
    Echo,
    /// Send it to all.
    Cast,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Cast => "cast",
        }
    }
}

/// The numbers that a message of this kind carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Its number.
    pub(crate) number: u64,
    /// When it was due, in nanoseconds since the start of the load.
    pub(crate) due: u64,
}

/// Replaces `into` by a message of so many bytes, or a little more if the numbers need them.
pub(crate) fn write(into: &mut Vec<u8>, kind: Kind, stamp: Stamp, bytes: usize) {
    into.clear();
    let Stamp { number, due } = stamp;
    // Writing to a vector cannot fail.
    let _never = write!(into, r#"{{"t":"{}","s":{number},"d":{due}"#, kind.name());
    into.extend_from_slice(PAD);
    let end = b"\"}";
    into.resize(into.len().max(bytes.saturating_sub(end.len())), b'.');
    into.extend_from_slice(end);
}

/// Returns the numbers of a message of this kind and length; `None` if it is another message.
pub(crate) fn read(body: &[u8], kind: Kind, bytes: usize) -> Option<Stamp> {
    let rest = body.strip_prefix(br#"{"t":""#)?.strip_prefix(kind.name().as_bytes())?;
    let (number, rest) = digits(rest.strip_prefix(br#"","s":"#)?)?;
    let (due, rest) = digits(rest.strip_prefix(br#","d":"#)?)?;
    let pad = rest.strip_prefix(PAD)?.strip_suffix(b"\"}")?;
    let is_whole = body.len() == bytes || (pad.is_empty() && body.len() > bytes);
    (is_whole && pad.iter().all(|byte| *byte == b'.')).then_some(Stamp { number, due })
}

/// Replaces `into` by an increment.
pub(crate) fn write_increment(into: &mut Vec<u8>, number: u64) {
    into.clear();
    let _never = write!(into, r#"{{"t":"incr","s":{number}}}"#);
}

/// Returns the number of an increment and the count that answers it; `None` if it is another message.
pub(crate) fn read_count(body: &[u8]) -> Option<(u64, u64)> {
    let (number, rest) = digits(body.strip_prefix(br#"{"t":"count","s":"#)?)?;
    let (count, rest) = digits(rest.strip_prefix(br#","n":"#)?)?;
    (rest == b"}").then_some((number, count))
}

/// Returns the number at the start of these bytes, and the rest.
fn digits(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at(length);
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_written_message_is_read_back_at_its_length(
            number: u64, due in 0u64..1_000_000_000_000_000, bytes in BYTES_MIN..2_000,
        ) {
            let (mut body, stamp) = (Vec::new(), Stamp { number, due });
            write(&mut body, Kind::Cast, stamp, bytes);
            prop_assert_eq!(read(&body, Kind::Cast, bytes), Some(stamp));
            prop_assert_eq!(read(&body, Kind::Echo, bytes), None);
            prop_assert!(body.len() == bytes || (bytes < 100 && body.len() < 100));
            serde_json::from_slice::<serde_json::Value>(&body).unwrap();
            body.truncate(body.len() - 3);
            body.extend_from_slice(b"\"}");
            prop_assert_eq!(read(&body, Kind::Cast, bytes), None);
        }

        #[test]
        fn parsing_any_bytes_never_panics(body in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(read(&body, Kind::Echo, 64).is_none());
            prop_assert!(read_count(&body).is_none());
        }
    }

    #[test]
    fn usual_numbers_fit_into_the_shortest_message() {
        let mut body = Vec::new();
        let stamp = Stamp { number: 9_999_999_999, due: 999_999_999_999 };
        write(&mut body, Kind::Echo, stamp, BYTES_MIN);
        assert_eq!(body.len(), BYTES_MIN);
        body[60] = b'!';
        assert_eq!(read(&body, Kind::Echo, BYTES_MIN), None);
    }

    #[test]
    fn counts_are_parsed() {
        let mut body = Vec::new();
        write_increment(&mut body, 7);
        assert_eq!(body, br#"{"t":"incr","s":7}"#);
        assert_eq!(read_count(br#"{"t":"count","s":7,"n":12}"#), Some((7, 12)));
        assert_eq!(read_count(br#"{"t":"count","s":7,"n":12,"x":1}"#), None);
        assert_eq!(read_count(br#"{"t":"count","s":,"n":12}"#), None);
    }
}
