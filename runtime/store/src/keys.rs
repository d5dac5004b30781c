//! The layout of the tree. Owns the layout of keys and of the store's own records.
//!
//! Invariant: encoding and decoding are inverse, and the keys of a room are one range in which the guest's
//! keys keep their byte order. It does not know where the bytes are kept.
//!
//! ```text
//! version 'a'                                     : the offset up to which everything is applied
//! version 'i' len party len name                  : the facts of a room: turns, keys, bytes, alarm, number
//! version 'r' len party len name, key             : a value of the guest
//! version 'd' due ms, len party len name          : when a room has an alarm or a job, in the order of time
//! version 'j' len party len name, key             : a job of a room
//! version 'o' len party len name, id              : a message that a room remembers
//! version 's'                                     : the store that the tree belongs to
//! version 't' len party, used ms, len name        : when a room was last used, in the order of time
//! version 'w' len party len name, number index    : a webhook of a room, which may be gone
//! ```

mod part;

pub(super) use part::{RoomPart, is_of_node, part_of, room_of};

use crate::room::{AlarmRecord, LastUse};
use crate::{Offset, OutboundFacts, StoreError};
use bytes::{Buf, BufMut, Bytes};
use room_core::id::{PartyName, RoomId, SequenceNumber};
use room_core::jobs::{JobId, Wake};
use room_core::span::{Direction, Key, Span, after_prefix};
use room_core::webhooks::WebhookId;
use std::ops::Bound;

/// The first byte of every key. Each layout has its own.
const VERSION: u8 = 1;

const APPLIED: u8 = b'a';
const DUE: u8 = b'd';
const INFO: u8 = b'i';
const JOB: u8 = b'j';
const NUMBERED: u8 = b'n';
const OUTBOUND: u8 = b'o';
const GUEST: u8 = b'r';
const STORE: u8 = b's';
const TOUCHED: u8 = b't';
const WEBHOOK: u8 = b'w';

/// The facts of a room besides the guest's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomFacts {
    /// Turns that changed something.
    pub turns: u64,
    /// The guest's keys.
    pub keys: u64,
    /// Bytes of the guest's keys and values.
    pub bytes: u64,
    /// The last number that is known to be given.
    pub number: SequenceNumber,
    /// The alarm.
    pub alarm: Option<AlarmRecord>,
    /// When it was last used.
    pub touch: Option<LastUse>,
    /// When it has to be awake for its jobs.
    pub wake: Wake,
    /// The messages that it remembers, if it ever did.
    pub outbound: Option<OutboundFacts>,
}

impl RoomFacts {
    /// Returns when the room has to be awake, for its alarm or a job, in milliseconds since 1970.
    pub fn due_ms(&self) -> Option<u64> {
        let alarm = self.alarm.map(|alarm| alarm.due_ms);
        alarm.into_iter().chain(self.wake.due_ms()).min()
    }
}

/// Returns the key of the applied offset.
pub(super) fn applied() -> Key {
    vec![VERSION, APPLIED]
}

/// Returns the key of the store's name.
pub(super) fn store() -> Key {
    vec![VERSION, STORE]
}

/// Encodes an applied offset.
pub(super) fn encode_offset(offset: Offset) -> Bytes {
    Bytes::copy_from_slice(&offset.0.to_be_bytes())
}

/// Decodes an applied offset.
pub(super) fn decode_offset(mut bytes: Bytes) -> Result<Offset, StoreError> {
    let number = bytes.try_get_u64();
    number.map(Offset).map_err(|_| StoreError::Corrupt("invalid offset".to_owned()))
}

/// Returns the key of a room's facts.
pub(super) fn info(room: &RoomId) -> Key {
    with_room(vec![VERSION, INFO], room)
}

/// Returns the prefix of the guest's keys of a room.
pub(super) fn guest_prefix(room: &RoomId) -> Key {
    with_room(vec![VERSION, GUEST], room)
}

/// Returns the prefix of the jobs of a room.
pub(super) fn job_prefix(room: &RoomId) -> Key {
    with_room(vec![VERSION, JOB], room)
}

/// Returns the span of the jobs of a room.
pub(super) fn jobs(room: &RoomId) -> Span {
    below(&job_prefix(room), &Span::ALL)
}

/// Returns the prefix of the messages that a room remembers.
pub(super) fn outbound_prefix(room: &RoomId) -> Key {
    with_room(vec![VERSION, OUTBOUND], room)
}

/// Returns the span of the messages that a room remembers.
pub(super) fn outbound(room: &RoomId) -> Span {
    below(&outbound_prefix(room), &Span::ALL)
}

/// Returns the span of the messages that all rooms remember.
pub(super) fn all_outbound() -> Span {
    between(vec![VERSION, OUTBOUND], Bound::Excluded(vec![VERSION, OUTBOUND + 1]))
}

/// Decodes the room and the key of a message that the room remembers.
pub(super) fn decode_outbound(key: &[u8]) -> Result<(RoomId, &[u8]), StoreError> {
    let decoded = key.strip_prefix(&[VERSION, OUTBOUND]).and_then(decode_room);
    decoded.ok_or_else(|| StoreError::Corrupt(format!("invalid key of a sent message: {key:02x?}")))
}

/// Returns the span of the jobs of all rooms.
pub(super) fn all_jobs() -> Span {
    between(vec![VERSION, JOB], Bound::Excluded(vec![VERSION, JOB + 1]))
}

/// Decodes the room and the key of a job.
pub(super) fn decode_job(key: &[u8]) -> Result<(RoomId, &[u8]), StoreError> {
    let decoded = key.strip_prefix(&[VERSION, JOB]).and_then(decode_room);
    decoded.ok_or_else(|| StoreError::Corrupt(format!("invalid key of a job: {key:02x?}")))
}

/// Returns the key of a webhook, as a commit has it.
pub(super) fn webhook(id: &WebhookId) -> Key {
    let mut key = with_room(Key::new(), &id.room);
    key.extend(id.job.key());
    key
}

/// Decodes a key made by [`webhook`].
pub(super) fn decode_webhook(key: &[u8]) -> Result<WebhookId, StoreError> {
    let decode = || {
        let (room, job) = decode_room(key)?;
        Some(WebhookId { room, job: JobId::of_key(job)? })
    };
    decode().ok_or_else(|| StoreError::Corrupt(format!("invalid key of a webhook: {key:02x?}")))
}

/// Returns the tree's key of a webhook that a commit has under this key.
pub(super) fn stored_webhook(key: &[u8]) -> Key {
    [&[VERSION, WEBHOOK], key].concat()
}

/// Returns the span of all webhooks.
pub(super) fn all_webhooks() -> Span {
    between(vec![VERSION, WEBHOOK], Bound::Excluded(vec![VERSION, WEBHOOK + 1]))
}

/// Decodes the tree's key of a webhook.
pub(super) fn decode_webhook_key(key: &[u8]) -> Result<WebhookId, StoreError> {
    decode_webhook(key.strip_prefix(&[VERSION, WEBHOOK]).unwrap_or_default())
}

/// Returns the key of an alarm in the order of time.
pub(super) fn due(at_ms: u64, room: &RoomId) -> Key {
    with_room(alarms_from(at_ms), room)
}

/// Returns the span of all alarms, in the order of time.
pub(super) fn all_alarms() -> Span {
    between(vec![VERSION, DUE], Bound::Excluded(vec![VERSION, DUE + 1]))
}

/// Returns the first key of the alarms that are due at this time or later.
pub(super) fn alarms_from(due_ms: u64) -> Key {
    let mut key = vec![VERSION, DUE];
    key.put_u64(due_ms);
    key
}

/// Returns the key of a room's last use, which orders the rooms of a party by time.
pub(super) fn touched(at_ms: u64, room: &RoomId) -> Key {
    let mut key = touched_from(room.party(), at_ms);
    put_text(&mut key, room.name());
    key
}

/// Returns the span of the rooms of a party that were last used before this time, in the order of time.
pub(super) fn touched_before(party: &PartyName, before_ms: u64) -> Span {
    between(touched_from(party, 0), Bound::Excluded(touched_from(party, before_ms)))
}

/// Returns the span of all last uses, by party and then by time.
pub(super) fn all_touched() -> Span {
    between(vec![VERSION, TOUCHED], Bound::Excluded(vec![VERSION, TOUCHED + 1]))
}

/// Returns the part of [`all_touched`] that comes before a party.
pub(super) fn touched_below(party: &PartyName) -> Span {
    between(vec![VERSION, TOUCHED], Bound::Excluded(touched_from(party, 0)))
}

fn touched_from(party: &PartyName, at_ms: u64) -> Key {
    let mut key = vec![VERSION, TOUCHED];
    put_text(&mut key, party.as_str());
    key.put_u64(at_ms);
    key
}

/// Decodes the time and the room of a key made by [`touched`].
pub(super) fn decode_touched(key: &[u8]) -> Result<(u64, RoomId), StoreError> {
    let decode = || {
        let (party, rest) = decode_text(key.strip_prefix(&[VERSION, TOUCHED])?)?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (name, rest) = decode_text(rest)?;
        let room = RoomId::new(PartyName::parse(party).ok()?, name, usize::MAX).ok()?;
        rest.is_empty().then_some((u64::from_be_bytes(*at), room))
    };
    decode().ok_or_else(|| StoreError::Corrupt(format!("invalid key of a room's use: {key:02x?}")))
}

/// Returns the span of the facts of all rooms.
pub(super) fn all_infos() -> Span {
    between(vec![VERSION, INFO], Bound::Excluded(vec![VERSION, INFO + 1]))
}

/// Returns the span of the facts of one party's rooms.
pub(super) fn infos_of(party: &PartyName) -> Span {
    let mut prefix = vec![VERSION, INFO];
    put_text(&mut prefix, party.as_str());
    below(&prefix, &Span::ALL)
}

/// Returns the span of the keys of all guests.
pub(super) fn all_guests() -> Span {
    between(vec![VERSION, GUEST], Bound::Excluded(vec![VERSION, GUEST + 1]))
}

/// Returns the span of the guest's keys of a room.
pub(super) fn guest(room: &RoomId) -> Span {
    below(&guest_prefix(room), &Span::ALL)
}

/// Returns the span of the facts of one room.
pub(super) fn one_info(room: &RoomId) -> Span {
    between(info(room), Bound::Included(info(room)))
}

fn between(start: Key, end: Bound<Key>) -> Span {
    Span { start: Bound::Included(start), end, direction: Direction::Forward }
}

/// Decodes the time and the room of a key made by [`due`].
pub(super) fn decode_due(key: &[u8]) -> Result<(u64, RoomId), StoreError> {
    let damaged = || StoreError::Corrupt(format!("invalid alarm key: {key:02x?}"));
    let rest = key.strip_prefix(&[VERSION, DUE]).ok_or_else(damaged)?;
    let (at, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    match decode_room(rest) {
        Some((room, [])) => Ok((u64::from_be_bytes(*at), room)),
        _ => Err(damaged()),
    }
}

/// Decodes the room of a key made by [`info`].
pub(super) fn decode_info_key(key: &[u8]) -> Result<RoomId, StoreError> {
    match key.strip_prefix(&[VERSION, INFO]).and_then(decode_room) {
        Some((room, [])) => Ok(room),
        _ => Err(StoreError::Corrupt(format!("invalid key of a room: {key:02x?}"))),
    }
}

/// Decodes the room and the guest's own key.
pub(super) fn decode_guest(key: &[u8]) -> Result<(RoomId, &[u8]), StoreError> {
    let decoded = key.strip_prefix(&[VERSION, GUEST]).and_then(decode_room);
    decoded.ok_or_else(|| StoreError::Corrupt(format!("invalid key of a guest: {key:02x?}")))
}

/// Appends a room. Lengths go before the texts, so that no room's keys can start with another room's.
fn with_room(mut key: Key, room: &RoomId) -> Key {
    for text in [room.party().as_str(), room.name()] {
        put_text(&mut key, text);
    }
    key
}

fn put_text(key: &mut Key, text: &str) {
    // Names are bounded far below this by `id.rs`.
    key.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    key.put_slice(text.as_bytes());
}

/// Decodes the room at the start of these bytes, and returns it with the rest.
fn decode_room(bytes: &[u8]) -> Option<(RoomId, &[u8])> {
    let (party, rest) = decode_text(bytes)?;
    let (name, rest) = decode_text(rest)?;
    let party = PartyName::parse(party).ok()?;
    Some((RoomId::new(party, name, usize::MAX).ok()?, rest))
}

fn decode_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// Maps a span over what follows a prefix to a span of whole keys. The prefix is never all `0xff`.
pub(super) fn below(prefix: &[u8], span: &Span) -> Span {
    let below = |key: &Key| [prefix, key].concat();
    let start = match &span.start {
        Bound::Unbounded => Bound::Included(prefix.to_vec()),
        bound => bound.as_ref().map(below),
    };
    let end = match &span.end {
        Bound::Unbounded => after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded),
        bound => bound.as_ref().map(below),
    };
    Span { start, end, direction: span.direction }
}

/// Bytes of an alarm, and of a use after its mark.
const TIMED: usize = 12;
/// Bytes of the last number and its mark.
const NUMBERED_BYTES: usize = 17;
/// Bytes of the time to wake and its mark.
const WAKE_BYTES: usize = 10;
/// Bytes of the facts of the remembered messages, and their mark.
const OUTBOUND_BYTES: usize = 49;

/// The sums of parts with marks, each a bit.
const MARKED_SUMS: u128 = {
    let mut sums: u128 = 1;
    sums |= sums << (1 + TIMED);
    sums |= sums << NUMBERED_BYTES;
    sums |= sums << WAKE_BYTES;
    sums | sums << OUTBOUND_BYTES
};

/// Encodes the facts of a room: three counts, the alarm if there is one, after a mark the time of the last
/// use if it is known, after another mark the last number if there is one, after a third one the time to wake if
/// there are jobs, and after a fourth one the facts of the messages that it remembers.
pub(super) fn encode_info(info: &RoomFacts) -> Bytes {
    let parts = TIMED + 1 + TIMED + NUMBERED_BYTES + WAKE_BYTES + OUTBOUND_BYTES;
    let mut bytes = Vec::with_capacity(24 + parts);
    for count in [info.turns, info.keys, info.bytes] {
        bytes.put_u64(count);
    }
    if let Some(alarm) = info.alarm {
        bytes.put_u64(alarm.due_ms);
        bytes.put_u32(alarm.tries);
    }
    if let Some(touch) = info.touch {
        bytes.put_u8(TOUCHED);
        bytes.put_u64(touch.at_ms);
        bytes.put_u32(touch.tries);
    }
    if info.number != SequenceNumber::default() {
        bytes.put_u8(NUMBERED);
        bytes.put_u64(info.number.epoch);
        bytes.put_u64(info.number.seq);
    }
    if info.wake != Wake::NoJobs {
        let (mark, due_ms) = info.wake.parts();
        bytes.put_u8(JOB);
        bytes.put_u8(mark);
        bytes.put_u64(due_ms);
    }
    if let Some(OutboundFacts { floor, newest, entries, bytes: size }) = info.outbound {
        bytes.put_u8(OUTBOUND);
        for number in [floor.epoch, floor.seq, newest.epoch, newest.seq, entries, size] {
            bytes.put_u64(number);
        }
    }
    bytes.into()
}

/// Decodes the facts of a room.
pub(super) fn decode_info(bytes: &Bytes) -> Result<RoomFacts, StoreError> {
    let mut rest = bytes.as_ref();
    let mut read = || {
        let mut info = RoomFacts {
            turns: rest.try_get_u64().ok()?,
            keys: rest.try_get_u64().ok()?,
            bytes: rest.try_get_u64().ok()?,
            number: SequenceNumber::default(),
            alarm: None,
            touch: None,
            wake: Wake::NoJobs,
            outbound: None,
        };
        if has_alarm(rest.len())? {
            let (due_ms, tries) = (rest.get_u64(), rest.get_u32());
            info.alarm = Some(AlarmRecord { due_ms, tries });
        }
        let mut is_marked = |mark: u8, bytes: usize| {
            let is_next = rest.first() == Some(&mark) && rest.len() >= bytes;
            is_next.then(|| rest.split_at(bytes)).map(|(part, behind)| {
                rest = behind;
                &part[1..]
            })
        };
        if let Some(mut part) = is_marked(TOUCHED, 1 + TIMED) {
            info.touch = Some(LastUse { at_ms: part.get_u64(), tries: part.get_u32() });
        }
        if let Some(mut part) = is_marked(NUMBERED, NUMBERED_BYTES) {
            info.number = SequenceNumber { epoch: part.get_u64(), seq: part.get_u64() };
        }
        if let Some(mut part) = is_marked(JOB, WAKE_BYTES) {
            info.wake = Wake::of_parts(part.get_u8(), part.get_u64())?;
        }
        if let Some(mut part) = is_marked(OUTBOUND, OUTBOUND_BYTES) {
            let mut id = || SequenceNumber { epoch: part.get_u64(), seq: part.get_u64() };
            let (floor, newest) = (id(), id());
            let (entries, bytes) = (part.get_u64(), part.get_u64());
            info.outbound = Some(OutboundFacts { floor, newest, entries, bytes });
        }
        rest.is_empty().then_some(info)
    };
    read().ok_or_else(|| StoreError::Corrupt(format!("invalid record of a room: {bytes:02x?}")))
}

/// Returns whether parts of this many bytes begin with an alarm, which is the one part without a mark. The sums with it
/// differ from those without it. Returns `None` if there is neither sum.
fn has_alarm(bytes: usize) -> Option<bool> {
    let is_sum = |bytes: usize| bytes < 128 && MARKED_SUMS >> bytes & 1 == 1;
    match (is_sum(bytes), bytes.checked_sub(TIMED).is_some_and(is_sum)) {
        (true, false) => Some(false),
        (false, true) => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ops::RangeBounds;

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
        fn a_use_is_read_back_and_ordered_by_time_within_its_party(
            a in any::<u64>(), b in any::<u64>(), name in "[^\\p{Cc}]{1,30}", other in "[a-z]{1,9}",
        ) {
            let (room, other) = (id("main", &name), id(&other, "x"));
            prop_assert_eq!(decode_touched(&touched(a, &room)), Ok((a, room.clone())));
            prop_assert_eq!(touched(a, &room).cmp(&touched(b, &room)), a.cmp(&b));
            let before = touched_before(room.party(), b);
            let holds = |key: Key| (before.start.clone(), before.end.clone()).contains(&key);
            prop_assert_eq!(holds(touched(a, &room)), a < b);
            prop_assert!(other.party() == room.party() || !holds(touched(a, &other)));
        }

        #[test]
        fn any_bytes_are_a_key_of_a_use_or_damaged(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let key = [&[VERSION, TOUCHED][..], &bytes].concat();
            if let Ok((at, room)) = decode_touched(&key) {
                prop_assert_eq!(touched(at, &room), key);
            }
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
            prop_assert!(!guest_prefix(&one).starts_with(&guest_prefix(&two)));
        }
    }

    #[test]
    fn the_facts_of_a_room_are_read_back() {
        let (floor, newest) =
            (SequenceNumber { epoch: 1, seq: 2 }, SequenceNumber { epoch: 1 << 50, seq: 3 });
        let remembered = OutboundFacts { floor, newest, entries: 5, bytes: 600 };
        for alarm in [None, Some(AlarmRecord { due_ms: 1_700_000_000_000, tries: 3 })] {
            for touch in [None, Some(LastUse { at_ms: 86_400_000, tries: 2 })] {
                for number in [SequenceNumber::default(), SequenceNumber { epoch: 1 << 40, seq: 9 }]
                {
                    for (wake, outbound) in [
                        (Wake::NoJobs, None),
                        (Wake::Idle, Some(remembered)),
                        (Wake::At(1_700_000_000_001), None),
                        (Wake::NoJobs, Some(OutboundFacts::default())),
                    ] {
                        let counts =
                            RoomFacts { turns: 7, keys: 2, bytes: 300, ..Default::default() };
                        let info = RoomFacts { number, alarm, touch, wake, outbound, ..counts };
                        let bytes = encode_info(&info);
                        assert_eq!(decode_info(&bytes), Ok(info));
                        let cuts = 24..bytes.len();
                        assert!(
                            cuts.into_iter()
                                .all(|cut| decode_info(&bytes.slice(..cut)) != Ok(info))
                        );
                    }
                }
            }
        }
        assert!(decode_info(&Bytes::from_static(b"short")).is_err());
        assert!(decode_info(&Bytes::from_static(&[0; 37])).is_err());
        assert!(decode_info(&Bytes::from_static(&[0; 25])).is_err());
    }

    #[test]
    fn a_guests_key_is_read_back() {
        let key = [&guest_prefix(&id("main", "one"))[..], b"key"].concat();
        assert_eq!(decode_guest(&key), Ok((id("main", "one"), &b"key"[..])));
        assert_eq!(decode_info_key(&info(&id("main", "one"))), Ok(id("main", "one")));
        assert!(decode_guest(&key[..9]).is_err());
    }
}
