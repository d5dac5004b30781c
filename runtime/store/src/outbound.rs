//! The messages that a room remembers across restarts. Owns their place in the store, and what a commit changes of them.
//!
//! Invariant: an entry is stored with the commit of the turn that sent it. Everything up to the floor is gone, and the
//! floor is stored with the entries, so that a reader never takes a gap for the end. They are no keys of the guest: no
//! deletion of keys deletes them, and a deletion of the room does. It does not know what an entry says.

use crate::applier::ApplierState;
use crate::backend::Tree;
use crate::keys::{self, RoomFacts};
use crate::pending::{Pending, PendingCell};
use crate::{StoreError, blocking};
use bytes::{Buf, BufMut, Bytes};
use hashbrown::HashSet;
use room_core::id::{RoomId, SequenceNumber};
use room_core::span::{Key, Span};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of an entry's key: its id.
pub(super) const ID_BYTES: usize = 16;

/// What a commit changes of a room's remembered messages. The parts apply in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundChange {
    /// Whether everything is forgotten that was remembered before.
    pub is_fresh: bool,
    /// The id up to which everything is forgotten, if that changes.
    pub floor: Option<SequenceNumber>,
    /// New messages, in bytes of their owner.
    pub entries: BTreeMap<SequenceNumber, Bytes>,
}

/// A room's remembered messages, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboundFacts {
    /// The id up to which everything is forgotten.
    pub floor: SequenceNumber,
    /// The id of the newest entry there was, or the floor.
    pub newest: SequenceNumber,
    /// The stored entries.
    pub entries: u64,
    /// Their bytes, with their ids.
    pub bytes: u64,
}

/// Reads what a room remembers.
#[derive(Clone)]
pub struct OutboundReader {
    pub(super) applier: Arc<ApplierState>,
    pub(super) pending: Arc<PendingCell>,
    pub(super) room: RoomId,
    /// The longest wait for pending commits.
    pub(super) wait_max: Duration,
}

impl OutboundChange {
    /// Returns true if it changes nothing.
    pub fn is_empty(&self) -> bool {
        !self.is_fresh && self.floor.is_none() && self.entries.is_empty()
    }

    /// Returns the bytes of its entries, with their ids.
    pub(super) fn bytes(&self) -> usize {
        self.entries.values().map(|entry| ID_BYTES + entry.len()).sum()
    }

    /// Applies it to entries in memory, and returns the floor after it.
    pub(super) fn replay(
        self,
        entries: &mut BTreeMap<SequenceNumber, Bytes>,
        floor: Option<SequenceNumber>,
    ) -> Option<SequenceNumber> {
        let mut floor = floor;
        if self.is_fresh {
            entries.clear();
            floor = None;
        }
        let has_begun = floor.is_some() || self.floor.is_some() || !self.entries.is_empty();
        floor = has_begun.then(|| floor.max(self.floor).unwrap_or_default());
        if let Some(floor) = floor {
            entries.retain(|id, _| *id > floor);
        }
        entries.extend(self.entries);
        floor
    }

    /// Appends its bytes to a record.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.is_fresh) | u8::from(self.floor.is_some()) << 1);
        if let Some(floor) = self.floor {
            put_id(out, floor);
        }
        out.put_u32(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        for (id, entry) in &self.entries {
            put_id(out, *id);
            out.put_u32(u32::try_from(entry.len()).unwrap_or(u32::MAX));
            out.put_slice(entry);
        }
    }

    /// Decodes it at the start of a record's bytes, and takes these bytes away. Returns `None` where they end too early or
    /// have no meaning.
    pub(super) fn decode(bytes: &mut Bytes) -> Option<Self> {
        let parts = bytes.try_get_u8().ok().filter(|parts| *parts < 4)?;
        let floor = match parts & 2 {
            0 => None,
            _ => Some(take_id(bytes)?),
        };
        let mut entries = BTreeMap::new();
        for _ in 0..bytes.try_get_u32().ok()? {
            let id = take_id(bytes)?;
            let len = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
            let entry = (len <= bytes.len()).then(|| bytes.split_to(len))?;
            entries.insert(id, entry);
        }
        Some(Self { is_fresh: parts & 1 == 1, floor, entries })
    }
}

impl OutboundReader {
    /// Returns the room.
    pub fn room(&self) -> &RoomId {
        &self.room
    }

    /// Returns the entries behind one id and up to another, in their order, with every earlier commit of the room. May wait
    /// for the disk.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read, or the tree does not get the room's commits in time.
    pub fn read(
        &self,
        after: SequenceNumber,
        upto: SequenceNumber,
    ) -> Result<Vec<(SequenceNumber, Bytes)>, StoreError> {
        let span = between(&self.room, Bound::Excluded(after), Bound::Included(upto));
        self.applier.hurry();
        if !blocking(|| self.pending.when_applied(self.wait_max, Pending::is_applied)) {
            // What the tree has now is no answer: messages would seem to be missing.
            return Err(StoreError::Io("it is behind with what the room has written".to_owned()));
        }
        let tree = self.applier.tree();
        let entries = blocking(|| entries_of(&*tree, &self.room, &span));
        entries.inspect_err(|error| self.distrust(error))
    }

    /// Returns the ids of the oldest entries behind this id, at most `max`, with the bytes of each, as far as the
    /// tree has them. May wait for the disk.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub fn oldest(
        &self,
        after: SequenceNumber,
        max: usize,
    ) -> Result<Vec<(SequenceNumber, u64)>, StoreError> {
        let span = between(&self.room, Bound::Excluded(after), Bound::Unbounded);
        let (tree, prefix) = (self.applier.tree(), keys::outbound_prefix(&self.room).len());
        let found = blocking(|| {
            let found = tree.keys(&span).take(max).map(|key| {
                let key = key?;
                let bytes = tree.value_len(&key)?.unwrap_or_default() + ID_BYTES;
                Ok((id_of(&key[prefix..])?, bytes as u64))
            });
            found.collect::<Result<_, StoreError>>()
        });
        found.inspect_err(|error| self.distrust(error))
    }

    fn distrust(&self, error: &StoreError) {
        if matches!(error, StoreError::Corrupt(_)) {
            self.applier.distrust(error);
        }
    }
}

/// Returns a room's entries in a span of whole keys.
pub(super) fn entries_of(
    tree: &dyn Tree,
    room: &RoomId,
    span: &Span,
) -> Result<Vec<(SequenceNumber, Bytes)>, StoreError> {
    let prefix = keys::outbound_prefix(room).len();
    let entries = tree.scan(span, HashSet::new());
    entries
        .map(|entry| entry.and_then(|(key, value)| Ok((id_of(&key[prefix..])?, value))))
        .collect()
}

/// Returns the span of whole keys of a room's entries between two ids.
pub(super) fn between(
    room: &RoomId,
    start: Bound<SequenceNumber>,
    end: Bound<SequenceNumber>,
) -> Span {
    let span = Span { start: start.map(key_of), end: end.map(key_of), ..Span::ALL };
    keys::below(&keys::outbound_prefix(room), &span)
}

/// Returns the key of an entry, below its room's prefix.
pub(super) fn key_of(id: SequenceNumber) -> Key {
    let mut key = Key::with_capacity(ID_BYTES);
    put_id(&mut key, id);
    key
}

/// Decodes what [`key_of`] made.
pub(super) fn id_of(mut key: &[u8]) -> Result<SequenceNumber, StoreError> {
    let damaged = || StoreError::Corrupt(format!("invalid key of a sent message: {key:02x?}"));
    if key.len() != ID_BYTES {
        return Err(damaged());
    }
    Ok(SequenceNumber { epoch: key.get_u64(), seq: key.get_u64() })
}

impl RoomFacts {
    /// Returns the facts of the room's messages, from the first change on.
    pub(super) fn begun_outbound(&mut self) -> &mut OutboundFacts {
        self.outbound.get_or_insert_default()
    }
}

fn put_id(out: &mut Vec<u8>, id: SequenceNumber) {
    out.put_u64(id.epoch);
    out.put_u64(id.seq);
}

fn take_id(bytes: &mut Bytes) -> Option<SequenceNumber> {
    Some(SequenceNumber { epoch: bytes.try_get_u64().ok()?, seq: bytes.try_get_u64().ok()? })
}

#[cfg(test)]
mod tests;
