//! The tree of a shared store: rows in the database, and the rooms that are in memory. Owns which of both answers.
//!
//! Invariant: every answer has what the journal has made durable. Searches for what this node has to do (alarms, uses,
//! webhooks) show its own shards alone. It does not know how rows get into the database.

use super::loaded::{HeldParts, LoadedRoom, LoadedRooms, RoomCopy};
use super::rows::{EntryRows, PagedRows};
use crate::backend::{Keys, StoreError, Tree};
use crate::keys::{self, RoomFacts};
use crate::memory::Memory;
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use room_core::id::RoomId;
use room_core::limits::Limits;
use room_core::span::{Entries, Key, Overlay, Span};
use room_database::{Incarnation, Lease};
use std::ops::Bound;
use std::sync::Arc;

/// The tree of a shared store.
pub(crate) struct SharedTree {
    rows: EntryRows,
    lease: Lease,
    loaded: Arc<LoadedRooms>,
}

/// The rows of a shared store as of one moment.
struct FrozenTree(EntryRows);

impl SharedTree {
    pub(super) fn new(rows: EntryRows, lease: Lease, limits: &Limits) -> Self {
        Self { rows, lease, loaded: Arc::new(LoadedRooms::new(limits)) }
    }

    pub(super) fn rows(&self) -> &EntryRows {
        &self.rows
    }

    pub(super) fn loaded(&self) -> &LoadedRooms {
        &self.loaded
    }

    /// Returns the entries among which a key is, if they are in memory.
    pub(super) fn in_memory(&self, key: &[u8]) -> Option<Memory> {
        self.loaded.holding(self.lease.incarnation(), key)
    }

    /// Returns the entries among which all keys of a span are, if they are in memory.
    pub(super) fn in_memory_all(&self, span: &Span) -> Option<Memory> {
        self.loaded.holding_all(self.lease.incarnation(), span)
    }

    /// Reads a room into memory, as far as it fits. The caller makes sure that no commit of the room is under way.
    pub(super) async fn load(
        &self,
        incarnation: Incarnation,
        room: &RoomId,
    ) -> Result<LoadedRoom, StoreError> {
        let key = keys::info(room);
        let stored = self.rows.value(&key).await?;
        let facts = stored.as_ref().map_or_else(|| Ok(RoomFacts::default()), keys::decode_info)?;
        let held = HeldParts::of(&facts, self.loaded.space());
        let mut entries: Vec<_> = stored.map(|facts| (key, facts)).into_iter().collect();
        if held.keys && facts.keys > 0 {
            self.read(keys::guest(room), facts.keys, &mut entries).await?;
        }
        if held.messages && facts.outbound.is_some_and(|outbound| outbound.entries > 0) {
            let count = facts.outbound.map_or(0, |outbound| outbound.entries);
            self.read(keys::outbound(room), count, &mut entries).await?;
        }
        Ok(self.loaded.keep(room, RoomCopy::of(incarnation, facts, held, entries)?))
    }

    /// Reads a part of a room that has this many entries.
    async fn read(
        &self,
        mut span: Span,
        count: u64,
        entries: &mut Vec<(Key, Bytes)>,
    ) -> Result<(), StoreError> {
        // One question is enough for most rooms.
        let rows = i64::try_from(count.saturating_add(1)).unwrap_or(i64::MAX);
        loop {
            let page = self.rows.entries(&span, None, rows).await?;
            if let Some((last, _)) = page.rows.last() {
                span.start = Bound::Excluded(last.clone());
            }
            entries.extend(page.rows);
            if page.is_last {
                return Ok(());
            }
        }
    }

    /// Returns the shards to which a search is bound.
    fn shards_of(&self, span: &Span) -> Option<Vec<i16>> {
        let (Bound::Included(start) | Bound::Excluded(start)) = &span.start else { return None };
        let owned =
            || self.lease.owned().iter().filter_map(|shard| shard.try_into().ok()).collect();
        keys::is_of_node(start).then(owned)
    }
}

impl Tree for SharedTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.in_memory(key) {
            Some(memory) => memory.get(key),
            None => self.rows.wait(self.rows.value(key)),
        }
    }

    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, StoreError> {
        match self.in_memory(key) {
            Some(memory) => memory.value_len(key),
            None => length(&self.rows, key),
        }
    }

    fn keys(&self, span: &Span) -> Keys {
        match self.in_memory_all(span) {
            Some(memory) => memory.keys(span),
            None => keys_in(&self.rows, span, self.shards_of(span)),
        }
    }

    fn scan(&self, span: &Span, shadow: HashSet<Key>) -> Entries<'static, StoreError> {
        match self.in_memory_all(span) {
            Some(memory) => memory.scan(span, shadow),
            None => entries_in(&self.rows, span, self.shards_of(span), shadow),
        }
    }

    fn apply(&self, _: &Overlay) -> Result<(), StoreError> {
        Err(only_read())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn journaled(
        &self,
        rooms: &mut dyn Iterator<Item = &RoomId>,
    ) -> Option<HashMap<RoomId, RoomFacts>> {
        let now = self.lease.incarnation();
        Some(rooms.filter_map(|room| Some((room.clone(), self.loaded.facts(now, room)?))).collect())
    }

    fn frozen(&self) -> Result<Option<Box<dyn Tree>>, StoreError> {
        Ok(Some(Box::new(FrozenTree(self.rows.frozen()?))))
    }
}

impl Tree for FrozenTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.wait(self.0.value(key))
    }

    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, StoreError> {
        length(&self.0, key)
    }

    fn keys(&self, span: &Span) -> Keys {
        keys_in(&self.0, span, None)
    }

    fn scan(&self, span: &Span, shadow: HashSet<Key>) -> Entries<'static, StoreError> {
        entries_in(&self.0, span, None, shadow)
    }

    fn apply(&self, _: &Overlay) -> Result<(), StoreError> {
        Err(only_read())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn length(rows: &EntryRows, key: &[u8]) -> Result<Option<usize>, StoreError> {
    let mut lengths = rows.wait(rows.lengths(&[key.to_vec()]))?;
    Ok(lengths.remove(key))
}

fn keys_in(rows: &EntryRows, span: &Span, shards: Option<Vec<i16>>) -> Keys {
    Box::new(PagedRows::keys(rows, span, shards).map(|row| Ok(row?.0)))
}

fn entries_in(
    rows: &EntryRows,
    span: &Span,
    shards: Option<Vec<i16>>,
    shadow: HashSet<Key>,
) -> Entries<'static, StoreError> {
    Box::new(PagedRows::entries(rows, span, shards).filter(move |row| match row {
        Ok((key, _)) => !shadow.contains(key),
        Err(_) => true,
    }))
}

/// The journal alone writes to the database, because only it knows the node's right to do so.
fn only_read() -> StoreError {
    StoreError::Corrupt(
        "a change came to the tree of a shared store without its journal".to_owned(),
    )
}
