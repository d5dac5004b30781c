//! Where things lie in the store. Owns the layout of keys and of the records that are ours.
//!
//! Invariant: encoding and decoding are inverse, and the keys of a room are one range in which the
//! guest's keys keep their byte order. It does not know who keeps the bytes.
//!
//! ```text
//! version 'm' "format"                                → the format's name
//! version 'r' len party len name 'a'                  → the room's alarm: due ms, tries
//! version 'r' len party len name 'k' key              → a value of the guest
//! version 'd' due ms, len party len name              → the same alarm, in the order of time
//! ```

use super::StoreError;
use super::room::AlarmRecord;
use crate::id::{PartyName, RoomId};
use crate::span::{Key, Span, after_prefix};
use bytes::Bytes;
use std::ops::Bound;

/// The first byte of every key. Another layout gets another one.
const VERSION: u8 = 1;
/// What the store says of its format.
pub(super) const FORMAT: &str = "1";

const META: u8 = b'm';
const ROOM: u8 = b'r';
const DUE: u8 = b'd';
const ALARM: u8 = b'a';
const GUEST: u8 = b'k';

/// The key under which the format's name lies.
pub(super) fn format() -> Key {
    [&[VERSION, META][..], b"format"].concat()
}

/// What the keys of a room begin with.
pub(super) fn room(room: &RoomId) -> Key {
    let mut key = vec![VERSION, ROOM];
    push_room(&mut key, room);
    key
}

/// What the guest's keys of a room begin with.
pub(super) fn guest_prefix(room_key: &[u8]) -> Key {
    [room_key, &[GUEST]].concat()
}

/// The key of a room's alarm.
pub(super) fn alarm(room_key: &[u8]) -> Key {
    [room_key, &[ALARM]].concat()
}

/// The key of an alarm in the order of time.
pub(super) fn due(at_ms: u64, room: &RoomId) -> Key {
    let mut key = vec![VERSION, DUE];
    key.extend_from_slice(&at_ms.to_be_bytes());
    push_room(&mut key, room);
    key
}

/// The range of all alarms: first key inclusive, last exclusive.
pub(super) fn all_alarms() -> (Key, Key) {
    (vec![VERSION, DUE], vec![VERSION, DUE + 1])
}

/// The time and the room of a key made by [`due`].
pub(super) fn decode_due(key: &[u8]) -> Result<(u64, RoomId), StoreError> {
    let damaged = || StoreError::Corrupt(format!("no alarm key: {key:02x?}"));
    let rest = key.strip_prefix(&[VERSION, DUE]).ok_or_else(damaged)?;
    let (at, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    let room = decode_room(rest).ok_or_else(damaged)?;
    Ok((u64::from_be_bytes(*at), room))
}

/// Lengths go before the texts: no room's keys can begin with another room's.
fn push_room(key: &mut Key, room: &RoomId) {
    for text in [room.party().as_str(), room.name()] {
        // Names are bounded far below this by `id.rs`.
        let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
        key.extend_from_slice(&len.to_be_bytes());
        key.extend_from_slice(text.as_bytes());
    }
}

fn decode_room(bytes: &[u8]) -> Option<RoomId> {
    let (party, rest) = decode_text(bytes)?;
    let (name, rest) = decode_text(rest)?;
    let party = PartyName::parse(party).ok()?;
    rest.is_empty().then(|| RoomId::new(party, name, usize::MAX).ok())?
}

fn decode_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// The range below a prefix.
pub(super) struct RoomPrefix(Key);

impl RoomPrefix {
    /// The range of the keys that begin with this one, which is never all `0xff`.
    pub(super) fn of(prefix: &[u8]) -> Self {
        Self(prefix.to_vec())
    }

    /// All of it.
    pub(super) fn span(&self) -> Span {
        self.within(&Span::ALL)
    }

    /// The part that a span over the keys behind the prefix means.
    pub(super) fn within(&self, span: &Span) -> Span {
        let below = |key: &Key| [self.0.as_slice(), key].concat();
        let start = match &span.start {
            Bound::Unbounded => Bound::Included(self.0.clone()),
            bound => bound.as_ref().map(below),
        };
        let end = match &span.end {
            Bound::Unbounded => after_prefix(&self.0).map_or(Bound::Unbounded, Bound::Excluded),
            bound => bound.as_ref().map(below),
        };
        Span { start, end, direction: span.direction }
    }
}

/// An alarm as it is stored.
pub(super) fn encode_alarm(alarm: AlarmRecord) -> Bytes {
    [&alarm.due_ms.to_be_bytes()[..], &alarm.tries.to_be_bytes()].concat().into()
}

/// The alarm of a stored record.
pub(super) fn decode_alarm(bytes: &[u8]) -> Result<AlarmRecord, StoreError> {
    let damaged = || StoreError::Corrupt(format!("no alarm record: {bytes:02x?}"));
    let (due_ms, tries) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let tries = tries.try_into().map_err(|_| damaged())?;
    Ok(AlarmRecord { due_ms: u64::from_be_bytes(*due_ms), tries: u32::from_be_bytes(tries) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(party: &str, name: &str) -> RoomId {
        RoomId::new(PartyName::parse(party).unwrap(), name, 1024).unwrap()
    }

    proptest! {
        #[test]
        fn an_alarm_key_is_read_back_and_ordered_by_time(
            a in any::<u64>(), b in any::<u64>(), name in "[^\\p{Cc}]{1,30}",
        ) {
            let room = id("main", &name);
            prop_assert_eq!(decode_due(&due(a, &room)), Ok((a, room.clone())));
            prop_assert_eq!(due(a, &room).cmp(&due(b, &room)), a.cmp(&b));
        }

        #[test]
        fn any_bytes_are_an_alarm_key_or_damaged(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let key = [&[VERSION, DUE][..], &bytes].concat();
            if let Ok((at, room)) = decode_due(&key) {
                prop_assert_eq!(due(at, &room), key);
            }
        }

        #[test]
        fn rooms_do_not_overlap(a in "[a-c]{1,3}", b in "[a-c]{1,3}", c in "[a-c]{1,3}", d in "[a-c]{1,3}") {
            let (one, two) = (id(&a, &b), id(&c, &d));
            prop_assume!(one != two);
            prop_assert!(!room(&one).starts_with(&room(&two)));
        }
    }

    #[test]
    fn an_alarm_is_read_back() {
        let alarm = AlarmRecord { due_ms: 1_700_000_000_000, tries: 3 };
        assert_eq!(decode_alarm(&encode_alarm(alarm)), Ok(alarm));
        assert!(decode_alarm(b"short").is_err());
    }
}
