//! From records to the tree. Owns the counts of a room.
//!
//! Invariant: after every record the facts of a room agree with its keys, whatever the tree held before. So
//! records may be applied a second time, or over a part of their effects. It does not know where records come
//! from.

use crate::backend::Tree;
use crate::keys::{self, RoomFacts};
use crate::outbound::{self, ID_BYTES};
use crate::{LastUse, Offset, OutboundChange, Record, StoreError, Wipe};
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use room_core::id::RoomId;
use room_core::jobs::{JobsChange, Wake};
use room_core::span::{Key, Overlay, Span};
use std::collections::BTreeSet;
use std::ops::Bound;

/// The gathered changes of some records.
pub(super) struct GatheredChanges<'a> {
    tree: &'a dyn Tree,
    batch: Overlay,
    rooms: HashMap<RoomId, RoomFacts>,
    last: Offset,
    bytes: usize,
}

impl<'a> GatheredChanges<'a> {
    pub(super) fn on(tree: &'a dyn Tree) -> Self {
        Self { tree, batch: Overlay::new(), rooms: HashMap::new(), last: Offset(0), bytes: 0 }
    }

    /// Adds the changes of a record.
    ///
    /// # Errors
    /// [`StoreError`] if the tree cannot be read. The caller must drop the gathered changes.
    pub(super) fn add(&mut self, record: &Record) -> Result<(), StoreError> {
        let room = &record.room;
        let mut info = match self.rooms.get(room) {
            Some(info) => *info,
            None => info_of(self.tree, room)?,
        };
        if record.change.wipe != Wipe::Nothing {
            self.remove_keys(&keys::guest(room))?;
            (info.keys, info.bytes) = (0, 0);
        }
        let before = info.due_ms();
        if record.change.wipe == Wipe::Room {
            self.remove_keys(&keys::jobs(room))?;
            self.remove_keys(&keys::outbound(room))?;
            (info.wake, info.outbound) = (Wake::NoJobs, None);
        }
        if let Some(jobs) = &record.change.jobs {
            self.change_jobs(room, &mut info, jobs);
        }
        for (key, value) in &record.change.webhooks {
            self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            self.batch.insert(keys::stored_webhook(key), value.clone());
        }
        let alarm = match record.change.wipe {
            Wipe::Room => Some(record.change.alarm.flatten()),
            _ => record.change.alarm,
        };
        info.alarm = alarm.unwrap_or(info.alarm);
        // Not only when it differs: an earlier application may have stopped between the two.
        if alarm.is_some() || record.change.jobs.is_some() {
            if let Some(old) = before {
                self.batch.insert(keys::due(old, room), None);
            }
            if let Some(new) = info.due_ms() {
                self.batch.insert(keys::due(new, room), Some(Bytes::new()));
            }
        }
        let touch = match record.change.wipe {
            Wipe::Room => Some(record.change.touch),
            _ => record.change.touch.map(Some),
        };
        if let Some(touch) = touch {
            self.note_use(room, &mut info, touch);
        }
        let prefix = keys::guest_prefix(room);
        for (key, value) in &record.change.keys {
            self.put([prefix.as_slice(), key].concat(), key.len(), value.clone(), &mut info)?;
        }
        if let Some(outbound) = &record.change.outbound {
            self.change_outbound(room, &mut info, outbound)?;
        }
        info.turns = info.turns.max(record.turn);
        info.number = info.number.max(record.number);
        if record.change.wipe == Wipe::Room
            && (info.keys, info.due_ms(), info.wake) == (0, None, Wake::NoJobs)
            && info.outbound.is_none()
        {
            self.note_use(room, &mut info, None);
            info = RoomFacts::default();
        }
        self.rooms.insert(room.clone(), info);
        self.last = self.last.max(record.offset);
        Ok(())
    }

    fn change_jobs(&mut self, room: &RoomId, info: &mut RoomFacts, jobs: &JobsChange) {
        let prefix = keys::job_prefix(room);
        for (key, value) in &jobs.entries {
            self.bytes += prefix.len() + key.len() + value.as_ref().map_or(0, Bytes::len);
            self.batch.insert([prefix.as_slice(), key].concat(), value.clone());
        }
        info.wake = jobs.wake.unwrap_or(info.wake);
    }

    /// Forgets messages and adds others. The counts follow what the tree really has.
    fn change_outbound(
        &mut self,
        room: &RoomId,
        info: &mut RoomFacts,
        change: &OutboundChange,
    ) -> Result<(), StoreError> {
        if change.is_fresh {
            self.remove_keys(&keys::outbound(room))?;
            info.outbound = None;
        }
        if change.floor.is_none() && change.entries.is_empty() {
            return Ok(());
        }
        let facts = info.begun_outbound();
        if let Some(floor) = change.floor.filter(|floor| *floor > facts.floor) {
            // What is up to the floor of before is gone: the gathered changes may still name all of it.
            let before = Bound::Excluded(facts.floor);
            let span = outbound::between(room, before, Bound::Included(floor));
            let mut gone: BTreeSet<Key> =
                room_core::span::over(&self.batch, &span).map(|(key, _)| key).collect();
            for key in self.tree.keys(&span) {
                gone.insert(key?);
            }
            for key in gone {
                if let Some(bytes) = self.len_of(&key)? {
                    facts.entries = facts.entries.saturating_sub(1);
                    facts.bytes = facts.bytes.saturating_sub((ID_BYTES + bytes) as u64);
                }
                self.batch.insert(key, None);
            }
            facts.floor = floor;
        }
        let prefix = keys::outbound_prefix(room);
        for (id, entry) in &change.entries {
            let key = [prefix.as_slice(), &outbound::key_of(*id)].concat();
            // Only a record that is applied again has an entry that is there.
            if *id <= facts.newest
                && let Some(old) = self.len_of(&key)?
            {
                facts.entries = facts.entries.saturating_sub(1);
                facts.bytes = facts.bytes.saturating_sub((ID_BYTES + old) as u64);
            }
            facts.entries += 1;
            facts.bytes += (ID_BYTES + entry.len()) as u64;
            facts.newest = facts.newest.max(*id);
            self.bytes += key.len() + entry.len();
            self.batch.insert(key, Some(entry.clone()));
        }
        facts.newest = facts.newest.max(facts.floor);
        // The room's next epoch is later than that of every message.
        let newest = facts.newest;
        info.number = info.number.max(newest);
        Ok(())
    }

    /// Returns the bytes of a key's value, as of the gathered changes.
    fn len_of(&self, key: &Key) -> Result<Option<usize>, StoreError> {
        match self.batch.get(key) {
            Some(value) => Ok(value.as_ref().map(Bytes::len)),
            None => self.tree.value_len(key),
        }
    }

    fn note_use(&mut self, room: &RoomId, info: &mut RoomFacts, touch: Option<LastUse>) {
        if let Some(old) = info.touch {
            self.batch.insert(keys::touched(old.at_ms, room), None);
        }
        if let Some(new) = touch {
            self.batch.insert(keys::touched(new.at_ms, room), Some(Bytes::new()));
        }
        info.touch = touch;
    }

    fn put(
        &mut self,
        key: Key,
        len: usize,
        value: Option<Bytes>,
        info: &mut RoomFacts,
    ) -> Result<(), StoreError> {
        if let Some(old) = self.len_of(&key)? {
            info.keys = info.keys.saturating_sub(1);
            info.bytes = info.bytes.saturating_sub((len + old) as u64);
        }
        if let Some(value) = &value {
            info.keys += 1;
            info.bytes += (len + value.len()) as u64;
        }
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.batch.insert(key, value);
        Ok(())
    }

    /// Removes the keys of a span, those in the tree and those earlier in this batch.
    fn remove_keys(&mut self, span: &Span) -> Result<(), StoreError> {
        let earlier: Vec<_> =
            room_core::span::over(&self.batch, span).map(|(key, _)| key).collect();
        self.batch.extend(earlier.into_iter().map(|key| (key, None)));
        for key in self.tree.keys(span) {
            self.batch.insert(key?, None);
        }
        Ok(())
    }

    /// Returns the bytes of keys and values that wait to be written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if no record was added.
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Writes all changes to the tree, and returns the new facts of the rooms.
    ///
    /// # Errors
    /// [`StoreError`]: some, all or nothing may be written.
    pub(super) fn write(self) -> Result<HashMap<RoomId, RoomFacts>, StoreError> {
        let (tree, last) = (self.tree, self.last);
        let (mut batch, rooms) = self.finish();
        batch.insert(keys::applied(), Some(keys::encode_offset(last)));
        tree.apply(&batch)?;
        Ok(rooms)
    }

    /// Returns all changes of keys, and the new facts of the rooms.
    pub(super) fn finish(mut self) -> (Overlay, HashMap<RoomId, RoomFacts>) {
        for (room, info) in &self.rooms {
            let record = (*info != RoomFacts::default()).then(|| keys::encode_info(info));
            self.batch.insert(keys::info(room), record);
        }
        (self.batch, self.rooms)
    }
}

/// Returns the tree's facts of a room.
pub(super) fn info_of(tree: &dyn Tree, room: &RoomId) -> Result<RoomFacts, StoreError> {
    let stored = tree.get(&keys::info(room))?;
    stored.map_or_else(|| Ok(RoomFacts::default()), |bytes| keys::decode_info(&bytes))
}

/// Returns the tree's jobs of a room with these facts.
pub(super) fn jobs_of(
    tree: &dyn Tree,
    room: &RoomId,
    info: &RoomFacts,
) -> Result<Vec<(Key, Bytes)>, StoreError> {
    if info.wake == Wake::NoJobs {
        return Ok(Vec::new());
    }
    let prefix = keys::job_prefix(room).len();
    let jobs = tree.scan(&keys::jobs(room), HashSet::new());
    jobs.map(|entry| entry.map(|(key, value)| (key[prefix..].to_vec(), value))).collect()
}

/// Returns true if the tree belongs to this store. A tree that names no store was made before stores had
/// names. It gets this store's name.
///
/// # Errors
/// [`StoreError`]: the tree cannot be used.
pub(super) fn belongs_to(tree: &dyn Tree, store: u128) -> Result<bool, StoreError> {
    match tree.get(&keys::store())? {
        Some(found) => Ok(*found == store.to_be_bytes()),
        None => mark(tree, store).map(|()| true),
    }
}

/// Writes the name of its store into a tree.
///
/// # Errors
/// [`StoreError`]: the name is not written.
pub(super) fn mark(tree: &dyn Tree, store: u128) -> Result<(), StoreError> {
    let name = Bytes::copy_from_slice(&store.to_be_bytes());
    tree.apply(&[(keys::store(), Some(name))].into_iter().collect())
}

/// Returns the offset up to which the tree has everything.
pub(super) fn applied(tree: &dyn Tree) -> Result<Offset, StoreError> {
    tree.get(&keys::applied())?.map_or_else(|| Ok(Offset::default()), keys::decode_offset)
}
