//! A room's commits that the tree does not show yet, and the room's latest reads. Owns both.
//!
//! Invariant: its answer for a key is the value after the room's last commit. The limit on waiting commits
//! and the limit on remembered values bound it. It does not know where the bytes go.

use crate::keys::RoomFacts;
use crate::{LastUse, Offset, Record, Settled, StoreError, Wipe};
use bytes::Bytes;
use hashbrown::HashMap;
use room_core::jobs::Wake;
use room_core::lock::{lock, unpoisoned};
use room_core::span::{Key, Overlay, Span};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// A room's [`Pending`], shared with the committer and the applier.
pub(super) struct PendingCell {
    state: Mutex<Pending>,
    /// A thread may wait here until everything is applied.
    applied: Condvar,
    /// The room waits here for the outcome of its commits. It wakes only when one of its own commits is
    /// settled, and not with every sync that other rooms wait for.
    settled: Notify,
}

/// A room's commits that the tree does not show yet.
pub(super) struct Pending {
    keys: BTreeMap<Key, (Offset, Option<Bytes>)>,
    cleared: Option<Offset>,
    /// The last commit.
    last: Offset,
    /// The last note of use, a commit whose outcome no caller waits for.
    noted: Offset,
    /// The last commit that the tree has.
    applied: Offset,
    durable: Offset,
    lost: Option<StoreError>,
    /// The room's facts. Its alarm, use and turns are as of the last commit, its keys, bytes and messages as of the
    /// last commit that the tree has.
    pub(super) info: RoomFacts,
    /// Bytes of the pending commits, as if they replaced nothing.
    staged_bytes: u64,
    recent: HashMap<Key, Option<Bytes>>,
    recent_bytes: usize,
    recent_bytes_max: usize,
}

impl PendingCell {
    pub(super) fn new(info: RoomFacts, recent_bytes_max: usize) -> Self {
        let state = Pending {
            keys: BTreeMap::new(),
            cleared: None,
            last: Offset::default(),
            noted: Offset::default(),
            applied: Offset::default(),
            durable: Offset::default(),
            lost: None,
            info,
            staged_bytes: 0,
            recent: HashMap::new(),
            recent_bytes: 0,
            recent_bytes_max,
        };
        Self { state: Mutex::new(state), applied: Condvar::new(), settled: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Pending> {
        lock(&self.state)
    }

    /// Notes that the room's commits up to this offset are durable.
    pub(super) fn settle(&self, durable: Offset) {
        self.lock().durable = durable;
        self.settled.notify_one();
    }

    /// Notes that the pending commits are lost.
    pub(super) fn lose(&self, error: &StoreError) {
        self.lock().lost = Some(error.clone());
        self.settled.notify_one();
    }

    /// Returns when commits may have been settled or lost since the last call. Only the one room that made
    /// the commits calls it.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the next call reports what it would have reported.
    pub(super) async fn settles(&self) {
        self.settled.notified().await;
    }

    /// Notes that the tree has everything up to this commit, and the room's facts after it.
    pub(super) fn applied(&self, upto: Offset, info: Option<&RoomFacts>) {
        self.lock().apply(upto, info);
        self.applied.notify_all();
    }

    /// Calls `ask` once everything is in the tree, or is lost, or this time has passed.
    pub(super) fn when_applied<T>(&self, wait: Duration, ask: impl FnOnce(&Pending) -> T) -> T {
        let waits = |pending: &mut Pending| !pending.is_applied() && pending.lost.is_none();
        let waited = self.applied.wait_timeout_while(self.lock(), wait, waits);
        ask(&unpoisoned(waited).0)
    }
}

impl Pending {
    /// Returns true if the tree has every commit.
    pub(super) fn is_applied(&self) -> bool {
        self.applied >= self.last
    }

    /// Adds a commit to the pending ones.
    pub(super) fn stage(&mut self, record: &Record) {
        let change = &record.change;
        if change.wipe != Wipe::Nothing {
            self.keys.clear();
            self.staged_bytes = 0;
            self.forget();
            self.cleared = Some(record.offset);
        }
        if change.wipe == Wipe::Room {
            (self.info.alarm, self.info.touch, self.info.wake) = (None, None, Wake::NoJobs);
            self.info.outbound = None;
        }
        for (key, value) in &change.keys {
            self.staged_bytes += entry_bytes(key, value.as_ref());
            let old = self.keys.insert(key.clone(), (record.offset, value.clone()));
            let replaced = old.map_or(0, |(_, old)| entry_bytes(key, old.as_ref()));
            self.staged_bytes -= replaced;
        }
        if let Some(alarm) = change.alarm {
            self.info.alarm = alarm;
        }
        if let Some(wake) = change.jobs.as_ref().and_then(|jobs| jobs.wake) {
            self.info.wake = wake;
        }
        self.info.touch = change.touch.or(self.info.touch);
        let is_gone = change.wipe == Wipe::Room
            && change.keys.is_empty()
            && self.info.due_ms().is_none()
            && self.info.wake == Wake::NoJobs
            && change.outbound.is_none();
        (self.info.turns, self.info.number) = match is_gone {
            true => Default::default(),
            false => (record.turn, record.number),
        };
        self.last = record.offset;
    }

    /// Adds a note of use.
    pub(super) fn note_use(&mut self, touch: LastUse, at: Offset) {
        self.info.touch = Some(touch);
        self.noted = at;
    }

    /// Returns the offset of the last commit or note of use.
    pub(super) fn last(&self) -> Offset {
        self.last.max(self.noted)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Returns the outcome of the commit at this offset.
    pub(super) fn settled(&self, offset: Offset) -> Settled {
        match &self.lost {
            _ if offset <= self.durable => Settled::Durable,
            Some(error) => Settled::Lost(error.clone()),
            None => Settled::Waiting,
        }
    }

    fn apply(&mut self, upto: Offset, info: Option<&RoomFacts>) {
        self.applied = upto;
        self.cleared = self.cleared.filter(|offset| *offset > upto);
        let done = self.keys.extract_if(.., |_, (offset, _)| *offset <= upto);
        for (key, (_, value)) in done.collect::<Vec<_>>() {
            self.staged_bytes -= entry_bytes(&key, value.as_ref());
            self.remember(&key, value);
        }
        if let Some(info) = info {
            let RoomFacts { keys, bytes, outbound, .. } = *info;
            self.info = RoomFacts { keys, bytes, outbound, ..self.info };
        }
    }

    /// Returns the value of a key, if it is known without the tree.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        match self.keys.get(key) {
            Some((_, value)) => Some(value.clone()),
            None if self.cleared.is_some() => Some(None),
            None => self.recent.get(key).cloned(),
        }
    }

    /// Remembers the value of a key that the tree showed or got.
    pub(super) fn remember(&mut self, key: &[u8], value: Option<Bytes>) {
        let bytes = key.len() + value.as_ref().map_or(0, Bytes::len);
        if self.recent_bytes + bytes > self.recent_bytes_max {
            self.forget();
        }
        if bytes <= self.recent_bytes_max {
            self.recent_bytes += bytes;
            if let Some(old) = self.recent.insert(key.to_vec(), value) {
                self.recent_bytes -= key.len() + old.map_or(0, |old| old.len());
            }
        }
    }

    fn forget(&mut self) {
        self.recent.clear();
        self.recent_bytes = 0;
    }

    /// Returns the pending values of a span, and whether a pending commit deletes everything else.
    pub(super) fn within(&self, span: &Span) -> (Overlay, bool) {
        if span.is_empty() {
            return (Overlay::new(), true);
        }
        let range = self.keys.range::<Key, _>((span.start.as_ref(), span.end.as_ref()));
        let over = range.map(|(key, (_, value))| (key.clone(), value.clone())).collect();
        (over, self.cleared.is_some())
    }

    /// Returns an upper bound of the room's bytes.
    pub(super) fn bytes_at_most(&self) -> u64 {
        self.info.bytes + self.staged_bytes
    }
}

fn entry_bytes(key: &Key, value: Option<&Bytes>) -> u64 {
    value.map_or(0, |value| (key.len() + value.len()) as u64)
}
