//! One room's storage. Owns the room's writes that the tree does not show yet.
//!
//! Invariant: the room reads its commits at once, and a write that a failed sync lost is never reported
//! durable. A read that may go to the disk gives up its thread's other work first. It does not know other
//! rooms.

use crate::applier::ApplierState;
use crate::backend::StoreError;
use crate::browse::RoomSpan;
use crate::committer::{Commit, Committer};
use crate::keys::{self, RoomFacts};
use crate::leftovers::Leftovers;
use crate::pending::{Pending, PendingCell};
use crate::sequence::Sequence;
use crate::shared::LoadedRoom;
use crate::{
    Change, Offset, OutboundChange, OutboundReader, Record, WebhookChanges, Wipe, blocking,
    webhooks,
};
use bytes::Bytes;
use hashbrown::HashSet;
use room_core::id::{Fence, ModuleHash, PartyName, RoomId};
use room_core::limits::{Limits, ms, size};
use room_core::span::{Direction, Entries, Key, Overlay, Span, merged};
use room_core::turn::{AlarmChange, ReadError, View, Writes};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A room's alarm as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmRecord {
    /// When, in milliseconds since 1970.
    pub due_ms: u64,
    /// The number of failed tries.
    pub tries: u32,
}

/// A note of a room's last use, in the time for which its node has served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// Milliseconds of service. For a room whose end has failed, the time is set back so that the room is due
    /// when the next try is.
    pub at_ms: u64,
    /// The number of failed tries to end the room since.
    pub tries: u32,
}

/// What goes with the commit of a turn besides its writes.
#[derive(Debug, Default)]
pub struct CommitExtras {
    /// The webhooks that it made.
    pub webhooks: WebhookChanges,
    /// The messages that the room remembers of it.
    pub outbound: Option<Box<OutboundChange>>,
}

/// The outcome of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It survives a crash.
    Durable,
    /// It did not reach the disk, and neither did any later commit of this room.
    Lost(StoreError),
    /// It is pending.
    Waiting,
}

/// The storage of one room: reads, and commits in order.
pub struct RoomStore {
    reader: Arc<TurnReader>,
    committer: Arc<Committer>,
    leftovers: Arc<Leftovers>,
    room: RoomId,
    sequence: Sequence,
    jobs: Vec<(Key, Bytes)>,
    place: Option<(Fence, LoadedRoom)>,
}

/// The parts that a room's storage works with.
pub(super) struct StoreLinks {
    pub(super) applier: Arc<ApplierState>,
    pub(super) committer: Arc<Committer>,
    pub(super) leftovers: Arc<Leftovers>,
    /// The epoch of the room's numbers.
    pub(super) epoch: u64,
    /// The right by which the room is run, and its copy in memory, where several nodes have the store.
    pub(super) place: Option<(Fence, LoadedRoom)>,
}

impl Drop for RoomStore {
    fn drop(&mut self) {
        self.leftovers.leave(&self.room, self.reader.pending.lock().last());
    }
}

/// The source of a turn's reads.
struct TurnReader {
    applier: Arc<ApplierState>,
    pending: Arc<PendingCell>,
    guest_prefix: Key,
    /// The longest wait for pending commits.
    wait_max: Duration,
}

impl RoomStore {
    /// Makes the storage handle for a room with these stored facts and jobs. The room must have no commit in flight.
    pub(super) fn new(
        StoreLinks { applier, committer, leftovers, epoch, place }: StoreLinks,
        room: &RoomId,
        (info, jobs): (RoomFacts, Vec<(Key, Bytes)>),
        limits: &Limits,
    ) -> Self {
        let sequence = Sequence::behind(info.number, epoch);
        let pending = Arc::new(PendingCell::new(info, size(limits.room_cache_bytes_max)));
        let guest_prefix = keys::guest_prefix(room);
        let wait_max = ms(limits.turn_wall_ms_max);
        let reader = Arc::new(TurnReader { applier, pending, guest_prefix, wait_max });
        Self { reader, committer, leftovers, room: room.clone(), sequence, jobs, place }
    }

    /// Returns the numbers of the room's events. A commit makes those that were taken before it durable.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// Takes the jobs that were stored when the handle was made. Who takes them keeps them from then on.
    pub fn take_jobs(&mut self) -> Vec<(Key, Bytes)> {
        std::mem::take(&mut self.jobs)
    }

    /// Returns the view from which the next turn reads.
    pub fn view(&self) -> Arc<dyn View> {
        self.reader.clone()
    }

    /// Returns the reader of the messages that the room remembers.
    pub fn outbound(&self) -> OutboundReader {
        let TurnReader { applier, pending, wait_max, .. } = &*self.reader;
        let (applier, pending) = (applier.clone(), pending.clone());
        OutboundReader { applier, pending, room: self.room.clone(), wait_max: *wait_max }
    }

    /// Returns the room's alarm, as of the last commit.
    pub fn alarm(&self) -> Option<AlarmRecord> {
        self.reader.pending.lock().info.alarm
    }

    /// Returns the room's last use, as of the last note.
    pub fn touch(&self) -> Option<LastUse> {
        self.reader.pending.lock().info.touch
    }

    /// Returns the room's facts: its alarm, use and turns as of the last commit, its keys, bytes and messages as of
    /// the last commit that the tree has.
    pub fn facts(&self) -> RoomFacts {
        self.reader.pending.lock().info
    }

    /// Commits the writes and the jobs of one turn of this code, with a note that the room was used if there is one.
    /// Returns the offset at which they become durable.
    ///
    /// Later reads of this room see them at once. Waits while the queue to the disk is full.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was applied.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, nothing was applied.
    pub async fn commit(
        &self,
        writes: Writes,
        module: ModuleHash,
        touch: Option<LastUse>,
    ) -> Result<Offset, StoreError> {
        self.commit_with(writes, module, touch, CommitExtras::default()).await
    }

    /// As [`RoomStore::commit`], with the webhooks that the turn made, and the messages that the room remembers of it.
    ///
    /// # Errors
    /// As [`RoomStore::commit`].
    ///
    /// # Cancel safety
    /// As [`RoomStore::commit`].
    pub async fn commit_with(
        &self,
        writes: Writes,
        module: ModuleHash,
        touch: Option<LastUse>,
        extras: CommitExtras,
    ) -> Result<Offset, StoreError> {
        let alarm = match writes.alarm {
            AlarmChange::Keep => None,
            AlarmChange::Set(due_ms) => Some(Some(AlarmRecord { due_ms, tries: 0 })),
            AlarmChange::Delete => Some(None),
        };
        let Writes { cleared, keys, jobs, .. } = writes;
        let wipe = cleared.into();
        let CommitExtras { webhooks, outbound } = extras;
        let webhooks = webhooks::keyed(webhooks);
        let change = Change { wipe, keys, alarm, jobs, touch, webhooks, outbound };
        self.commit_change(change, module).await
    }

    /// Postpones the alarm, or removes it.
    ///
    /// # Errors
    /// As [`RoomStore::commit`].
    ///
    /// # Cancel safety
    /// As [`RoomStore::commit`].
    pub async fn commit_alarm(&self, alarm: Option<AlarmRecord>) -> Result<Offset, StoreError> {
        let change = Change { alarm: Some(alarm), ..Change::default() };
        self.commit_change(change, ModuleHash::NONE).await
    }

    /// Deletes everything that is stored for the room.
    ///
    /// # Errors
    /// As [`RoomStore::commit`].
    ///
    /// # Cancel safety
    /// As [`RoomStore::commit`].
    pub async fn commit_end(&self, module: ModuleHash) -> Result<Offset, StoreError> {
        self.commit_end_with(module, WebhookChanges::new()).await
    }

    /// As [`RoomStore::commit_end`], with webhooks, which stay.
    ///
    /// # Errors
    /// As [`RoomStore::commit`].
    ///
    /// # Cancel safety
    /// As [`RoomStore::commit`].
    pub async fn commit_end_with(
        &self,
        module: ModuleHash,
        webhooks: WebhookChanges,
    ) -> Result<Offset, StoreError> {
        let (alarm, webhooks) = (Some(None), webhooks::keyed(webhooks));
        let change = Change { wipe: Wipe::Room, alarm, webhooks, ..Change::default() };
        self.commit_change(change, module).await
    }

    /// Notes that the room was used, if anything is stored for it. No turn depends on the note: if it is
    /// lost, the room does not break. The room sees the note at once. Returns false if nothing is stored.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was noted.
    ///
    /// # Cancel safety
    /// As [`RoomStore::commit`].
    pub async fn note_use(&self, touch: LastUse) -> Result<bool, StoreError> {
        let info = self.facts();
        if info.turns == 0 {
            return Ok(false);
        }
        self.committer.space().await;
        let change = Change { touch: Some(touch), ..Change::default() };
        let (room, number) = (self.room.clone(), self.sequence.last());
        let record = Record::of(room, info.turns, number, ModuleHash::NONE, change);
        let record = Record { fence: self.fence(), ..record };
        let commit = Commit { pending: Arc::new(PendingCell::new(info, 0)), record };
        let cell = &self.reader.pending;
        self.committer.push(commit, |record| cell.lock().note_use(touch, record.offset))?;
        Ok(true)
    }

    /// Commits any change.
    ///
    /// # Errors
    /// As [`RoomStore::commit`].
    ///
    /// # Cancel safety
    /// As [`RoomStore::commit`].
    pub(super) async fn commit_change(
        &self,
        change: Change,
        module: ModuleHash,
    ) -> Result<Offset, StoreError> {
        self.committer.space().await;
        let cell = &self.reader.pending;
        let (room, turn) = (self.room.clone(), cell.lock().info.turns + 1);
        let record = Record::of(room, turn, self.sequence.last(), module, change);
        let record = Record { fence: self.fence(), ..record };
        let commit = Commit { pending: cell.clone(), record };
        self.committer.push(commit, |record| cell.lock().stage(record))
    }

    fn fence(&self) -> Option<Fence> {
        self.place.as_ref().map(|(fence, _)| *fence)
    }

    /// Waits until a commit is durable.
    ///
    /// # Errors
    /// [`StoreError`]: it was lost.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub async fn durable(&self, offset: Offset) -> Result<(), StoreError> {
        let mut settled = self.committer.settled();
        let waited = settled.wait_for(|at| *at >= offset).await;
        waited.map_err(|_| StoreError::Closed)?;
        match self.settled(offset) {
            Settled::Lost(error) => Err(error),
            Settled::Durable | Settled::Waiting => Ok(()),
        }
    }

    /// Returns when commits of this room may have been settled since the last call.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the next call reports what it would have reported.
    pub async fn settles(&self) {
        self.reader.pending.settles().await;
    }

    /// Returns the outcome of the commit at this offset.
    pub fn settled(&self, offset: Offset) -> Settled {
        self.reader.pending.lock().settled(offset)
    }
}

impl TurnReader {
    fn stored(&self, key: &[u8]) -> Key {
        [&self.guest_prefix, key].concat()
    }

    /// Converts an error for the turn. Damage concerns more rooms than this one, so the tree is rebuilt.
    fn read_error(&self, error: &StoreError) -> ReadError {
        if matches!(error, StoreError::Corrupt(_)) {
            self.applier.distrust(error);
        }
        ReadError(error.to_string())
    }
}

impl View for TurnReader {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        if let Some(known) = self.pending.lock().get(key) {
            return Ok(known);
        }
        // A commit that is applied between the two reads is in the tree by now: the tree has it before it
        // settles.
        let read = blocking(|| self.applier.tree().get(&self.stored(key)));
        let value = read.map_err(|error| self.read_error(&error))?;
        self.pending.lock().remember(key, value.clone());
        Ok(value)
    }

    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, ReadError> {
        if let Some(known) = self.pending.lock().get(key) {
            return Ok(known.map(|value| value.len()));
        }
        let read = blocking(|| self.applier.tree().value_len(&self.stored(key)));
        read.map_err(|error| self.read_error(&error))
    }

    fn scan<'a>(&'a self, span: &Span) -> Entries<'a, ReadError> {
        let (over, cleared) = self.pending.lock().within(span);
        let prefix_len = self.guest_prefix.len();
        let base: Entries<'a, ReadError> = if cleared {
            Box::new(std::iter::empty())
        } else {
            let shadow = over.keys().map(|key| self.stored(key)).collect();
            let tree = self.applier.tree();
            let entries = blocking(|| tree.scan(&keys::below(&self.guest_prefix, span), shadow));
            Box::new(Batched::of(entries).map(move |entry| {
                let (key, value) = entry.map_err(|error| self.read_error(&error))?;
                Ok((key[prefix_len..].to_vec(), value))
            }))
        };
        merged(ordered(over, span.direction), base, span.direction)
    }

    fn alarm(&self) -> Option<u64> {
        self.pending.lock().info.alarm.map(|alarm| alarm.due_ms)
    }

    fn bytes_at_most(&self) -> u64 {
        self.pending.lock().bytes_at_most()
    }

    fn bytes(&self) -> u64 {
        self.applier.hurry();
        blocking(|| self.pending.when_applied(self.wait_max, Pending::bytes_at_most))
    }

    fn rooms(
        &self,
        party: &PartyName,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<String>, ReadError> {
        // A name that no room can have is behind or before others all the same: the longest that is allowed.
        let after = after.and_then(|name| RoomId::new(party.clone(), name, usize::MAX).ok());
        let span = RoomSpan { party: Some(party.clone()), after, ..RoomSpan::default() };
        let tree = self.applier.tree();
        let names = blocking(|| {
            let entries = tree.scan(&span.keys(), HashSet::new());
            let name = |entry: Result<(Key, Bytes), StoreError>| {
                Ok(keys::decode_info_key(&entry?.0)?.name().to_owned())
            };
            entries.take(max).map(name).collect::<Result<_, StoreError>>()
        });
        names.map_err(|error| self.read_error(&error))
    }
}

fn ordered(over: Overlay, direction: Direction) -> room_core::span::SpanChanges<'static> {
    match direction {
        Direction::Forward => Box::new(over.into_iter()),
        Direction::Reverse => Box::new(over.into_iter().rev()),
    }
}

/// Reads ahead, more entries each time, so that a long listing gives up its thread's other work a few times
/// and not once an entry.
struct Batched {
    entries: Entries<'static, StoreError>,
    batch: VecDeque<Result<(Key, Bytes), StoreError>>,
    next: usize,
}

impl Batched {
    const FIRST: usize = 4;
    const LARGEST: usize = 256;

    fn of(entries: Entries<'static, StoreError>) -> Self {
        Self { entries, batch: VecDeque::new(), next: Self::FIRST }
    }
}

impl Iterator for Batched {
    type Item = Result<(Key, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.is_empty() {
            let count = self.next;
            blocking(|| self.batch.extend(self.entries.by_ref().take(count)));
            self.next = (count * 4).min(Self::LARGEST);
        }
        self.batch.pop_front()
    }
}
