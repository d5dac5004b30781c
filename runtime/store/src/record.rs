//! One turn as it is kept: its room, its number, its code, and its changes. Owns its encoding.
//!
//! Invariant: encoding and decoding are inverse, and any bytes are a record or damaged. The log, snapshots
//! and backups consist of the same records, so there is one way to read what a room did. It does not know
//! where the bytes lie.
//!
//! ```text
//! u8 version · u16 len, party · u16 len, name · u64 turn · 32 bytes module · u8 wipe · u8 what follows
//! u64 epoch · u64 seq · [alarm: u64 due ms, u32 tries] · [use: u64 at ms, u32 tries] · [u64 fence]
//! u32 count · count × (u32 len, key · u32 len, value, or u32 max for a removal)
//! [jobs: u8 wake · u64 ms · u32 count · count × as above] · [webhooks: u32 count · count × as above]
//! [outbound: u8 parts · [u64 epoch, u64 seq: the floor] · u32 count · count × (u64 epoch · u64 seq · u32 len, entry)]
//! ```
//!
//! Records of earlier versions, which are still read, have no version, number or fence. They start
//! with the length of a party's name, which is at most 64, and so with a zero.

use crate::{AlarmRecord, LastUse, Offset, OutboundChange, StoreError};
use bytes::{Buf, BufMut, Bytes};
use room_core::id::{Fence, ModuleHash, PartyName, RoomId, SequenceNumber};
use room_core::jobs::{JobsChange, Wake};
use room_core::span::{Key, Overlay};
use room_core::turn::Cleared;

/// The changes of one turn of one room, with its position in the order of all turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its position.
    pub offset: Offset,
    /// The room.
    pub room: RoomId,
    /// Its number among the room's turns that changed something, counted from 1; 0 if it is not a turn of a
    /// guest.
    pub turn: u64,
    /// The number of the room's last event or output, the turn's own outputs included. Later events may have
    /// numbers that are in no record, because their turns changed nothing.
    pub number: SequenceNumber,
    /// The code that ran; all zeros if no code ran.
    pub module: ModuleHash,
    /// The changes.
    pub change: Change,
    /// The right by which the room was run; `None` where only one node has the store.
    pub(crate) fence: Option<Fence>,
}

/// A change to a room's stored data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The deletion before anything is written.
    pub(crate) wipe: Wipe,
    /// The guest's keys.
    pub keys: Overlay,
    /// The alarm, if it changes.
    pub alarm: Option<Option<AlarmRecord>>,
    /// The room's jobs, if they change. A deletion of the room deletes them, a deletion of the keys does not.
    pub jobs: Option<JobsChange>,
    /// When the room was used, if that is noted. A deletion of the room deletes it, a deletion of the keys
    /// does not.
    pub touch: Option<LastUse>,
    /// Webhooks, of this room or of others. No deletion deletes them.
    pub(crate) webhooks: Overlay,
    /// What the room remembers of its messages, if that changes. A deletion of the room deletes it, a deletion of the
    /// keys does not.
    pub outbound: Option<Box<OutboundChange>>,
}

impl Change {
    /// Returns true if it may change when the room has to be awake.
    pub(crate) fn wakes(&self) -> bool {
        self.alarm.is_some() || self.jobs.as_ref().is_some_and(|jobs| jobs.wake.is_some())
    }

    /// Returns the earliest time for which it sets an alarm or a job.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let alarm = self.alarm.flatten().map(|alarm| alarm.due_ms);
        let job = self.jobs.as_ref().and_then(|jobs| jobs.wake?.due_ms());
        alarm.into_iter().chain(job).min()
    }
}

/// The extent of the deletion before a change writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wipe {
    /// Nothing.
    #[default]
    Nothing,
    /// The guest's keys.
    Keys,
    /// Every trace of the room.
    Room,
}

impl From<Cleared> for Wipe {
    fn from(cleared: Cleared) -> Self {
        match cleared {
            Cleared::No => Self::Nothing,
            Cleared::Yes => Self::Keys,
        }
    }
}

/// In place of a value's length: the key is removed.
const REMOVED: u32 = u32::MAX;
/// Flags of the parts that follow: the alarm's removal, an alarm, a use.
const ALARM_GOES: u8 = 1;
const ALARM: u8 = 2;
const USE: u8 = 4;
const FENCE: u8 = 8;
const JOBS: u8 = 32;
const WEBHOOKS: u8 = 64;
const OUTBOUND: u8 = 128;
/// The mark of a change of jobs that leaves the time to wake unchanged.
const SAME_WAKE: u8 = u8::MAX;

/// The first byte of a record. Earlier versions start with 0.
const VERSION: u8 = 2;
const UNVERSIONED: u8 = 0;

impl Record {
    /// Makes a record that has no position yet, and no fence.
    pub fn of(
        room: RoomId,
        turn: u64,
        number: SequenceNumber,
        module: ModuleHash,
        change: Change,
    ) -> Self {
        let offset = Offset::default();
        Self { offset, room, turn, number, module, change, fence: None }
    }

    /// Appends the record's bytes, without its offset.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        put_short(out, self.room.party().as_str());
        put_short(out, self.room.name());
        out.put_u64(self.turn);
        out.put_slice(self.module.as_bytes());
        out.put_u8(match self.change.wipe {
            Wipe::Nothing => 0,
            Wipe::Keys => 1,
            Wipe::Room => 2,
        });
        let touch = self.change.touch;
        let alarm = match self.change.alarm {
            None => 0,
            Some(None) => ALARM_GOES,
            Some(Some(_)) => ALARM,
        };
        let given = |flag: u8, is_given: bool| if is_given { flag } else { 0 };
        let (fence, jobs) = (self.fence, self.change.jobs.as_ref());
        let outbound = self.change.outbound.as_deref();
        out.put_u8(
            alarm
                | given(USE, touch.is_some())
                | given(FENCE, fence.is_some())
                | given(JOBS, jobs.is_some())
                | given(WEBHOOKS, !self.change.webhooks.is_empty())
                | given(OUTBOUND, outbound.is_some()),
        );
        out.put_u64(self.number.epoch);
        out.put_u64(self.number.seq);
        let alarm = self.change.alarm.flatten().map(|alarm| (alarm.due_ms, alarm.tries));
        for (at_ms, tries) in alarm.into_iter().chain(touch.map(|use_| (use_.at_ms, use_.tries))) {
            out.put_u64(at_ms);
            out.put_u32(tries);
        }
        if let Some(Fence(fence)) = fence {
            out.put_u64(fence);
        }
        put_entries(out, &self.change.keys);
        if let Some(jobs) = jobs {
            let (mark, due_ms) = jobs.wake.map_or((SAME_WAKE, 0), Wake::parts);
            out.put_u8(mark);
            out.put_u64(due_ms);
            put_entries(out, &jobs.entries);
        }
        if !self.change.webhooks.is_empty() {
            put_entries(out, &self.change.webhooks);
        }
        if let Some(outbound) = outbound {
            outbound.encode(out);
        }
    }

    /// Decodes the record in these bytes.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: the bytes are not a record.
    pub(super) fn decode(offset: Offset, bytes: Bytes) -> Result<Self, StoreError> {
        RecordReader(bytes).record(offset).ok_or_else(|| {
            StoreError::Corrupt(format!("the record of offset {} cannot be read", offset.0))
        })
    }
}

/// Converts a length. The limits on keys, values and turns keep sizes far below the bound.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn put_entries(out: &mut Vec<u8>, entries: &Overlay) {
    out.put_u32(length(entries.len()));
    for (key, value) in entries {
        out.put_u32(length(key.len()));
        out.put_slice(key);
        out.put_u32(value.as_ref().map_or(REMOVED, |value| length(value.len())));
        out.put_slice(value.as_deref().unwrap_or_default());
    }
}

fn put_short(out: &mut Vec<u8>, text: &str) {
    // `id.rs` keeps names far below this.
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

/// A cursor over a record's bytes. Its methods return `None` where the bytes end too early or have no
/// meaning.
struct RecordReader(Bytes);

impl RecordReader {
    fn record(mut self, offset: Offset) -> Option<Record> {
        let has_version = match *self.0.first()? {
            UNVERSIONED => false,
            VERSION => {
                self.0.advance(1);
                true
            }
            _ => return None,
        };
        let party = PartyName::parse(&self.short()?).ok()?;
        let room = RoomId::new(party, &self.short()?, usize::MAX).ok()?;
        let turn = self.0.try_get_u64().ok()?;
        let module = ModuleHash::from_bytes(self.take(32)?.as_ref().try_into().ok()?);
        let wipe = match self.0.try_get_u8().ok()? {
            0 => Wipe::Nothing,
            1 => Wipe::Keys,
            2 => Wipe::Room,
            _ => return None,
        };
        let follows = self.0.try_get_u8().ok()?;
        let (known, number) = match has_version {
            true => (USE | FENCE | JOBS | WEBHOOKS | OUTBOUND, self.number()?),
            false => (USE, SequenceNumber::default()),
        };
        let alarm = match follows & !known {
            0 => None,
            ALARM_GOES => Some(None),
            ALARM => {
                let (due_ms, tries) = self.timed()?;
                Some(Some(AlarmRecord { due_ms, tries }))
            }
            _ => return None,
        };
        let touch = match follows & USE {
            0 => None,
            _ => self.timed().map(|(at_ms, tries)| Some(LastUse { at_ms, tries }))?,
        };
        let fence = match follows & FENCE {
            0 => None,
            _ => Some(Fence(self.0.try_get_u64().ok()?)),
        };
        let keys = self.entries()?;
        let jobs = match follows & JOBS {
            0 => None,
            _ => Some(self.jobs()?),
        };
        let webhooks = match follows & WEBHOOKS {
            0 => Overlay::new(),
            _ => self.entries()?,
        };
        let outbound = match follows & OUTBOUND {
            0 => None,
            _ => Some(Box::new(OutboundChange::decode(&mut self.0)?)),
        };
        let change = Change { wipe, keys, alarm, jobs, touch, webhooks, outbound };
        let record = Record { offset, room, turn, number, module, change, fence };
        self.0.is_empty().then_some(record)
    }

    fn entries(&mut self) -> Option<Overlay> {
        let mut entries = Overlay::new();
        for _ in 0..self.0.try_get_u32().ok()? {
            let len = self.0.try_get_u32().ok()?;
            let key: Key = self.take(len)?.to_vec();
            let value = match self.0.try_get_u32().ok()? {
                REMOVED => None,
                len => Some(self.take(len)?),
            };
            entries.insert(key, value);
        }
        Some(entries)
    }

    fn jobs(&mut self) -> Option<JobsChange> {
        let (mark, due_ms) = (self.0.try_get_u8().ok()?, self.0.try_get_u64().ok()?);
        let wake = match (mark, due_ms) {
            (SAME_WAKE, 0) => None,
            (mark, due_ms) => Some(Wake::of_parts(mark, due_ms)?),
        };
        Some(JobsChange { entries: self.entries()?, wake })
    }

    fn number(&mut self) -> Option<SequenceNumber> {
        let (epoch, seq) = (self.0.try_get_u64().ok()?, self.0.try_get_u64().ok()?);
        Some(SequenceNumber { epoch, seq })
    }

    fn timed(&mut self) -> Option<(u64, u32)> {
        Some((self.0.try_get_u64().ok()?, self.0.try_get_u32().ok()?))
    }

    fn short(&mut self) -> Option<String> {
        let len = self.0.try_get_u16().ok()?;
        String::from_utf8(self.take(u32::from(len))?.to_vec()).ok()
    }

    fn take(&mut self, len: u32) -> Option<Bytes> {
        let len = usize::try_from(len).ok()?;
        (len <= self.0.len()).then(|| self.0.split_to(len))
    }
}

/// Encodes the record as before records had versions.
#[cfg(test)]
pub(super) fn encode_unversioned(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    record.encode(out);
    assert_eq!(record.fence, None);
    let name_bytes = record.room.party().as_str().len() + record.room.name().len();
    // The flags are one byte, after two lengths, the turn, the module and the wipe.
    let behind_flags = start + 1 + 2 + 2 + name_bytes + 8 + 32 + 1 + 1;
    out.drain(behind_flags..behind_flags + 16);
    out.remove(start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records() -> impl Strategy<Value = Record> {
        let keys = prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..20),
            prop::option::of(prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from)),
            0..8,
        );
        let alarm = prop::option::of(prop::option::of((any::<u64>(), any::<u32>())));
        let wipe = prop::sample::select(vec![Wipe::Nothing, Wipe::Keys, Wipe::Room]);
        let touch = prop::option::of((any::<u64>(), any::<u32>()));
        let id = any::<(u64, u64)>().prop_map(|(epoch, seq)| SequenceNumber { epoch, seq });
        let bytes = prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
        let entries = prop::collection::btree_map(id.clone(), bytes, 0..5);
        let outbound = (any::<bool>(), prop::option::of(id), entries)
            .prop_map(|(is_fresh, floor, entries)| OutboundChange { is_fresh, floor, entries });
        let outbound = prop::option::of(outbound.prop_map(Box::new));
        let wake =
            prop_oneof![Just(Wake::NoJobs), Just(Wake::Idle), any::<u64>().prop_map(Wake::At),];
        let jobs = (keys.clone(), prop::option::of(wake));
        let jobs = prop::option::of(jobs.prop_map(|(entries, wake)| JobsChange { entries, wake }));
        let fence = prop::option::of(any::<u64>());
        let optional = (alarm, touch, fence, outbound, jobs, keys.clone());
        let room = ("[a-z]{1,9}", "[^\\p{Cc}]{1,30}");
        let number = any::<(u64, u64)>();
        (room, any::<u64>(), number, any::<[u8; 32]>(), wipe, keys, optional).prop_map(
            |((party, name), turn, (epoch, seq), module, wipe, keys, optional)| {
                let (alarm, touch, fence, outbound, jobs, webhooks) = optional;
                Record {
                    offset: Offset(turn ^ 7),
                    room: RoomId::new(PartyName::parse(&party).unwrap(), &name, 1024).unwrap(),
                    turn,
                    number: SequenceNumber { epoch, seq },
                    module: ModuleHash::from_bytes(module),
                    change: Change {
                        wipe,
                        keys,
                        alarm: alarm.map(|alarm| {
                            alarm.map(|(due_ms, tries)| AlarmRecord { due_ms, tries })
                        }),
                        jobs,
                        touch: touch.map(|(at_ms, tries)| LastUse { at_ms, tries }),
                        webhooks,
                        outbound,
                    },
                    fence: fence.map(Fence),
                }
            },
        )
    }

    #[test]
    fn records_without_a_version_keep_their_meaning() {
        let (seven, two) = (7_u64.to_be_bytes(), 2_u32.to_be_bytes());
        let bytes = [
            &b"\0\x04main\0\x03one"[..],
            &seven,
            &[9; 32],
            &[1, ALARM | USE],
            &seven,
            &two,
            &seven,
            &two,
            &two,
            b"\0\0\0\x01a\xff\xff\xff\xff\0\0\0\x01k\0\0\0\x05value",
        ];
        let change = Change {
            wipe: Wipe::Keys,
            keys: [(b"a".to_vec(), None), (b"k".to_vec(), Some(Bytes::from_static(b"value")))]
                .into(),
            alarm: Some(Some(AlarmRecord { due_ms: 7, tries: 2 })),
            jobs: None,
            touch: Some(LastUse { at_ms: 7, tries: 2 }),
            webhooks: Overlay::new(),
            outbound: None,
        };
        let room = RoomId::new(PartyName::parse("main").unwrap(), "one", 256).unwrap();
        let (number, module) = (SequenceNumber::default(), ModuleHash::from_bytes([9; 32]));
        let wanted = Record { offset: Offset(1), ..Record::of(room, 7, number, module, change) };
        assert_eq!(Record::decode(Offset(1), bytes.concat().into()), Ok(wanted));
    }

    proptest! {
        #[test]
        fn a_record_is_read_back(record in records()) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(Record::decode(record.offset, bytes.into()), Ok(record));
        }

        #[test]
        fn a_record_without_a_version_is_read_with_defaults(record in records()) {
            let number = SequenceNumber::default();
            let webhooks = Overlay::new();
            let change = Change { jobs: None, webhooks, outbound: None, ..record.change };
            let record = Record { number, change, fence: None, ..record };
            let mut bytes = Vec::new();
            encode_unversioned(&record, &mut bytes);
            prop_assert_eq!(Record::decode(record.offset, bytes.into()), Ok(record));
        }

        #[test]
        fn a_truncated_record_is_damaged(record in records(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(Record::decode(record.offset, bytes.into()).is_err());
        }

        #[test]
        fn any_bytes_are_a_record_or_damaged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Record::decode(Offset(1), bytes.into()));
        }
    }
}
