//! The rooms of a shared store that are in memory. Owns their copies, from which they read.
//!
//! Invariant: a copy has what the database has of its room, as of the last group of commits. It is made when the room
//! starts, and gone when the room's handle is. A copy of an earlier incarnation answers nothing. It does not know how the
//! database is asked.

use crate::backend::{StoreError, Tree};
use crate::keys::{self, RoomFacts, RoomPart};
use crate::memory::Memory;
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use room_core::id::RoomId;
use room_core::limits::Limits;
use room_core::lock::lock;
use room_core::span::{Key, Overlay, Span, after_prefix};
use room_database::Incarnation;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// The copies of the rooms that run on this node.
pub(super) struct LoadedRooms {
    rooms: Mutex<RoomCopies>,
    loads: AtomicU64,
    room_bytes_max: u64,
    bytes_max: u64,
}

#[derive(Default)]
struct RoomCopies {
    /// By the part of the keys that names the room.
    by_name: HashMap<Key, RoomCopy>,
    /// The bytes of what they hold.
    bytes: u64,
}

/// A room in memory.
pub(super) struct RoomCopy {
    /// Which of the loads made it.
    load: u64,
    incarnation: Incarnation,
    facts: RoomFacts,
    held: HeldParts,
    /// The facts, and the parts that are held.
    entries: Memory,
}

/// The parts of a room that are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldParts {
    pub(super) keys: bool,
    pub(super) messages: bool,
}

/// Keeps a room in memory. When it is dropped, the copy is gone.
pub(crate) struct LoadedRoom {
    rooms: Arc<LoadedRooms>,
    room: Key,
    load: u64,
}

impl HeldParts {
    /// Returns the parts of a room with these facts that have space in this many bytes: its keys first.
    pub(super) fn of(facts: &RoomFacts, bytes_max: u64) -> Self {
        let keys = facts.bytes <= bytes_max;
        let rest = if keys { bytes_max - facts.bytes } else { bytes_max };
        let messages = facts.outbound.map_or(0, |outbound| outbound.bytes);
        Self { keys, messages: messages <= rest }
    }

    /// Returns the bytes of these parts of a room with these facts.
    fn bytes(self, facts: &RoomFacts) -> u64 {
        let messages = facts.outbound.map_or(0, |outbound| outbound.bytes);
        (if self.keys { facts.bytes } else { 0 }) + (if self.messages { messages } else { 0 })
    }

    fn has(self, part: RoomPart) -> bool {
        match part {
            RoomPart::Facts => true,
            RoomPart::Keys => self.keys,
            RoomPart::Messages => self.messages,
            RoomPart::Jobs => false,
        }
    }
}

impl RoomCopy {
    /// Makes a copy of what was read for a room in this incarnation.
    pub(super) fn of(
        incarnation: Incarnation,
        facts: RoomFacts,
        held: HeldParts,
        entries: Vec<(Key, Bytes)>,
    ) -> Result<Self, StoreError> {
        let memory = Memory::default();
        memory.apply(&entries.into_iter().map(|(key, value)| (key, Some(value))).collect())?;
        Ok(Self { load: 0, incarnation, facts, held, entries: memory })
    }

    /// Returns the entries of a part, if they are in memory.
    fn part(&self, part: RoomPart) -> Option<Memory> {
        if part == RoomPart::Jobs {
            // A room that says that it has no jobs has none.
            return (self.facts.wake == room_core::jobs::Wake::NoJobs).then(Memory::default);
        }
        self.held.has(part).then(|| self.entries.clone())
    }

    /// Brings changes into the copy, with the facts after them. Parts that have become too large are dropped.
    fn change(
        &mut self,
        changes: &Overlay,
        facts: RoomFacts,
        bytes_max: u64,
    ) -> Result<(), StoreError> {
        self.entries.apply(changes)?;
        self.facts = facts;
        let fits = HeldParts::of(&facts, bytes_max);
        let held = HeldParts {
            keys: self.held.keys && fits.keys,
            messages: self.held.messages && fits.messages,
        };
        if held != self.held {
            self.held = held;
            // Another map, because a listing may still read this one.
            let is_held = |key: &Key| keys::part_of(key).is_some_and(|(part, _)| held.has(part));
            let rest = self.entries.scan(&Span::ALL, HashSet::new());
            let rest = rest.filter(|entry| entry.as_ref().is_ok_and(|(key, _)| is_held(key)));
            let rest = rest.map(|entry| entry.map(|(key, value)| (key, Some(value))));
            let (rest, memory) = (rest.collect::<Result<Overlay, _>>()?, Memory::default());
            memory.apply(&rest)?;
            self.entries = memory;
        }
        Ok(())
    }
}

impl LoadedRooms {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            rooms: Mutex::default(),
            loads: AtomicU64::new(0),
            room_bytes_max: limits.room_loaded_bytes_max,
            bytes_max: limits.rooms_loaded_bytes_max,
        }
    }

    /// Returns the bytes that a further room may hold.
    pub(super) fn space(&self) -> u64 {
        self.room_bytes_max.min(self.bytes_max.saturating_sub(self.rooms().bytes))
    }

    /// Keeps a copy of a room for as long as the caller keeps what this returns.
    pub(super) fn keep(self: &Arc<Self>, room: &RoomId, mut copy: RoomCopy) -> LoadedRoom {
        let load = self.loads.fetch_add(1, Ordering::Relaxed) + 1;
        copy.load = load;
        let room = keys::info(room).split_off(2);
        let mut rooms = self.rooms();
        rooms.remove(&room);
        rooms.bytes += copy.held.bytes(&copy.facts);
        rooms.by_name.insert(room.clone(), copy);
        drop(rooms);
        LoadedRoom { rooms: self.clone(), room, load }
    }

    /// Returns the entries among which a key is, if they are in memory.
    pub(super) fn holding(&self, now: Incarnation, key: &[u8]) -> Option<Memory> {
        let (part, prefix) = keys::part_of(key)?;
        let rooms = self.rooms();
        let copy = rooms.by_name.get(&key[2..prefix])?;
        (copy.incarnation == now).then(|| copy.part(part)).flatten()
    }

    /// Returns the entries among which all keys of a span are, if they are in memory.
    pub(super) fn holding_all(&self, now: Incarnation, span: &Span) -> Option<Memory> {
        let (Bound::Included(start) | Bound::Excluded(start)) = &span.start else { return None };
        let (_, prefix) = keys::part_of(start)?;
        let prefix = &start[..prefix];
        let is_within = match &span.end {
            Bound::Included(end) => end.starts_with(prefix),
            Bound::Excluded(end) => {
                end.starts_with(prefix) || after_prefix(prefix).as_ref() == Some(end)
            }
            Bound::Unbounded => false,
        };
        if is_within { self.holding(now, start) } else { None }
    }

    /// Returns the facts of a room that is in memory.
    pub(super) fn facts(&self, now: Incarnation, room: &RoomId) -> Option<RoomFacts> {
        let rooms = self.rooms();
        let copy = rooms.by_name.get(&keys::info(room)[2..])?;
        (copy.incarnation == now).then_some(copy.facts)
    }

    /// Brings what the database has got into the copies.
    pub(super) fn change(
        &self,
        changes: &Overlay,
        facts: &HashMap<RoomId, RoomFacts>,
    ) -> Result<(), StoreError> {
        let mut rooms = self.rooms();
        let mut by_room: BTreeMap<&[u8], Overlay> = BTreeMap::new();
        for (key, value) in changes {
            let Some((part, prefix)) = keys::part_of(key) else { continue };
            let room = &key[2..prefix];
            if rooms.by_name.get(room).is_some_and(|copy| copy.held.has(part)) {
                by_room.entry(room).or_default().insert(key.clone(), value.clone());
            }
        }
        for (room, facts) in facts {
            let room = keys::info(room).split_off(2);
            let RoomCopies { by_name, bytes } = &mut *rooms;
            if let Some(copy) = by_name.get_mut(&room) {
                let changes = by_room.remove(room.as_slice()).unwrap_or_default();
                *bytes -= copy.held.bytes(&copy.facts);
                let space = self.room_bytes_max.min(self.bytes_max.saturating_sub(*bytes));
                copy.change(&changes, *facts, space)?;
                *bytes += copy.held.bytes(&copy.facts);
            }
        }
        Ok(())
    }

    /// Drops the copies of these rooms: it is unknown what the database has of them.
    pub(super) fn forget<'a>(&self, rooms: impl Iterator<Item = &'a RoomId>) {
        let mut loaded = self.rooms();
        for room in rooms {
            loaded.remove(&keys::info(room)[2..]);
        }
    }

    /// Drops all copies.
    pub(super) fn forget_all(&self) {
        *self.rooms() = RoomCopies::default();
    }

    fn rooms(&self) -> MutexGuard<'_, RoomCopies> {
        lock(&self.rooms)
    }
}

impl RoomCopies {
    fn remove(&mut self, room: &[u8]) {
        if let Some(copy) = self.by_name.remove(room) {
            self.bytes -= copy.held.bytes(&copy.facts);
        }
    }
}

impl Drop for LoadedRoom {
    fn drop(&mut self) {
        let mut rooms = self.rooms.rooms();
        if rooms.by_name.get(&self.room).is_some_and(|copy| copy.load == self.load) {
            rooms.remove(&self.room);
        }
    }
}
