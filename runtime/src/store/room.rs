//! One room's storage. Owns what the room has written and the disk has not confirmed yet.
//!
//! Invariant: the room reads what it committed at once; what a failed flush lost is never reported
//! durable. It does not know other rooms.

use super::backend::{Backend, StoreError};
use super::committer::{AlarmTouched, Commit, Committer};
use super::{Offset, keys};
use crate::id::RoomId;
use crate::span::{Direction, Entries, Key, Overlay, Span, merged};
use crate::turn::{AlarmChange, Cleared, ReadError, View, Writes};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A room's alarm as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlarmRecord {
    /// When, in milliseconds since 1970.
    pub(crate) due_ms: u64,
    /// How often it was tried and failed.
    pub(crate) tries: u32,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It survives a crash.
    Durable,
    /// It did not reach the disk, and neither did any later one of this room.
    Lost(StoreError),
    /// It is on its way.
    Waiting,
}

/// The storage of one room: reads, and commits in order.
pub(crate) struct RoomStore {
    reader: Arc<Reader>,
    committer: Arc<Committer>,
    room: RoomId,
}

/// What a turn reads from.
struct Reader {
    backend: Arc<dyn Backend>,
    pending: Arc<Mutex<Pending>>,
    room_key: Key,
    guest_prefix: Key,
}

/// What the room committed and the disk has not confirmed.
#[derive(Default)]
pub(super) struct Pending {
    keys: BTreeMap<Key, (Offset, Option<Bytes>)>,
    cleared: Option<Offset>,
    alarm: Option<AlarmRecord>,
    durable: Offset,
    lost: Option<StoreError>,
}

impl Pending {
    /// Everything up to this offset is on disk.
    pub(super) fn settle(&mut self, durable: Offset) {
        self.durable = durable;
        self.keys.retain(|_, (offset, _)| *offset > durable);
        self.cleared = self.cleared.filter(|offset| *offset > durable);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// What was on its way did not arrive.
    pub(super) fn lose(&mut self, error: &StoreError) {
        self.lost = Some(error.clone());
    }

    fn stage(&mut self, offset: Offset, writes: &Writes) {
        if writes.cleared == Cleared::Yes {
            self.keys.clear();
            self.cleared = Some(offset);
        }
        let changes = writes.keys.iter();
        self.keys.extend(changes.map(|(key, value)| (key.clone(), (offset, value.clone()))));
    }
}

impl RoomStore {
    pub(super) fn open(
        backend: Arc<dyn Backend>,
        committer: Arc<Committer>,
        room: &RoomId,
    ) -> Result<Self, StoreError> {
        if let Some(error) = committer.failure() {
            return Err(error);
        }
        let room_key = keys::room(room);
        let alarm = backend.get(&keys::alarm(&room_key))?;
        let alarm = alarm.map(|bytes| keys::decode_alarm(&bytes)).transpose()?;
        let pending = Arc::new(Mutex::new(Pending { alarm, ..Pending::default() }));
        let guest_prefix = keys::guest_prefix(&room_key);
        let reader = Arc::new(Reader { backend, pending, room_key, guest_prefix });
        Ok(Self { reader, committer, room: room.clone() })
    }

    /// What the next turn reads from.
    pub(crate) fn view(&self) -> Arc<dyn View> {
        self.reader.clone()
    }

    /// The room's alarm, as of the last commit.
    pub(crate) fn alarm(&self) -> Option<AlarmRecord> {
        self.reader.pending().alarm
    }

    /// Applies the writes of one turn and returns the position at which they become durable.
    ///
    /// Later reads of this room see them at once. Waits while too much waits for the disk.
    ///
    /// # Errors
    /// [`StoreError::Closed`]: nothing was applied.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing was applied.
    pub(crate) async fn commit(&self, writes: Writes) -> Result<Offset, StoreError> {
        let alarm = match writes.alarm {
            AlarmChange::Keep => None,
            AlarmChange::Set(due_ms) => Some(Some(AlarmRecord { due_ms, tries: 0 })),
            AlarmChange::Delete => Some(None),
        };
        self.commit_with(writes, alarm).await
    }

    /// Puts the alarm off, or drops it.
    ///
    /// # Errors
    /// As [`RoomStore::commit`].
    ///
    /// # Cancel safety
    /// As [`RoomStore::commit`].
    pub(crate) async fn commit_alarm(
        &self,
        alarm: Option<AlarmRecord>,
    ) -> Result<Offset, StoreError> {
        self.commit_with(Writes::default(), Some(alarm)).await
    }

    async fn commit_with(
        &self,
        writes: Writes,
        alarm: Option<Option<AlarmRecord>>,
    ) -> Result<Offset, StoreError> {
        self.committer.space().await;
        let commit = self.encode(&writes, alarm);
        self.committer.push(commit, |offset| {
            let mut pending = self.reader.pending();
            pending.stage(offset, &writes);
            if let Some(alarm) = alarm {
                pending.alarm = alarm;
            }
        })
    }

    fn encode(&self, writes: &Writes, alarm: Option<Option<AlarmRecord>>) -> Commit {
        let prefix = &self.reader.guest_prefix;
        let stored = |key: &Key| [prefix.as_slice(), key].concat();
        let mut changes: Overlay =
            writes.keys.iter().map(|(key, value)| (stored(key), value.clone())).collect();
        if let Some(alarm) = alarm {
            if let Some(old) = self.alarm() {
                changes.insert(keys::due(old.due_ms, &self.room), None);
            }
            if let Some(new) = alarm {
                changes.insert(keys::due(new.due_ms, &self.room), Some(Bytes::new()));
            }
            changes.insert(keys::alarm(&self.reader.room_key), alarm.map(keys::encode_alarm));
        }
        Commit {
            pending: self.reader.pending.clone(),
            clear: (writes.cleared == Cleared::Yes).then(|| keys::RoomPrefix::of(prefix)),
            changes,
            alarm: if alarm.is_some() { AlarmTouched::Yes } else { AlarmTouched::No },
        }
    }

    /// What became of the commit at this offset.
    pub(crate) fn settled(&self, offset: Offset) -> Settled {
        let pending = self.reader.pending();
        match &pending.lost {
            _ if offset <= pending.durable => Settled::Durable,
            Some(error) => Settled::Lost(error.clone()),
            None => Settled::Waiting,
        }
    }
}

impl Reader {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Pending is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self, key: &[u8]) -> Key {
        [&self.guest_prefix, key].concat()
    }

    /// The span of the guest's keys as the backend has it.
    fn stored_span(&self, span: &Span) -> Span {
        keys::RoomPrefix::of(&self.guest_prefix).within(span)
    }

    fn pending_in(&self, span: &Span) -> Overlay {
        if span.is_empty() {
            return Overlay::new();
        }
        let pending = self.pending();
        let range = pending.keys.range::<Key, _>((span.start.as_ref(), span.end.as_ref()));
        range.map(|(key, (_, value))| (key.clone(), value.clone())).collect()
    }
}

impl View for Reader {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        {
            let pending = self.pending();
            if let Some((_, value)) = pending.keys.get(key) {
                return Ok(value.clone());
            }
            if pending.cleared.is_some() {
                return Ok(None);
            }
        }
        // What settled between the two reads is in the backend by now: it is applied before it settles.
        self.backend.get(&self.stored(key)).map_err(read_error)
    }

    fn scan<'a>(&'a self, span: &Span) -> Entries<'a, ReadError> {
        let over = self.pending_in(span);
        let prefix_len = self.guest_prefix.len();
        let base: Entries<'a, ReadError> = if self.pending().cleared.is_some() {
            Box::new(std::iter::empty())
        } else {
            let shadow = over.keys().map(|key| self.stored(key)).collect();
            let entries = self.backend.scan(&self.stored_span(span), shadow);
            Box::new(entries.map(move |entry| {
                let (key, value) = entry.map_err(read_error)?;
                Ok((key[prefix_len..].to_vec(), value))
            }))
        };
        let over: Vec<_> = match span.direction {
            Direction::Forward => over.into_iter().collect(),
            Direction::Reverse => over.into_iter().rev().collect(),
        };
        merged(Box::new(over.into_iter()), base, span.direction)
    }

    fn alarm(&self) -> Option<u64> {
        self.pending().alarm.map(|alarm| alarm.due_ms)
    }
}

fn read_error(error: StoreError) -> ReadError {
    ReadError(error.to_string())
}
