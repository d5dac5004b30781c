//! The thread that maintains the store in the background. Owns checkpoints, snapshots and copies.
//!
//! Invariant: the log is cut only where a snapshot has everything that is cut, and has been read back whole.
//! It does not know what the rooms do: they continue.

use crate::applier::ApplierState;
use crate::backend::Tree;
use crate::copies::{self, CopyWriter};
use crate::folder::StoreFolder;
use crate::{Change, Offset, OutboundChange, Record, StoreError, keys, log, outbound};
use hashbrown::HashSet;
use room_core::id::{ModuleHash, RoomId, SequenceNumber};
use room_core::jobs::{JobsChange, Wake};
use room_core::limits::{Limits, ms, size};
use room_core::lock::{lock, unpoisoned};
use room_core::metrics::StoreMetrics;
use room_core::span::{Key, Span};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The keeper's handle.
pub(super) struct Keeper {
    shared: Arc<KeeperShared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct KeeperShared {
    wanted: Mutex<KeeperWants>,
    changed: Condvar,
    /// Held while the folder is changed.
    at_work: Mutex<()>,
}

#[derive(Default)]
struct KeeperWants {
    copies: Vec<RequestedCopy>,
    closed: bool,
}

/// A copy that a caller waits for.
struct RequestedCopy {
    path: PathBuf,
    only: Option<RoomId>,
    done: oneshot::Sender<Result<Offset, StoreError>>,
}

/// The state of the disk, for a store that has one.
pub(super) struct KeeperDisk {
    pub(super) folder: Arc<StoreFolder>,
    /// Bytes of records written to the log.
    pub(super) written: Arc<AtomicU64>,
    /// The part of `written` that the last snapshot has.
    pub(super) in_snapshot: u64,
    /// The size of the last snapshot, in bytes.
    pub(super) snapshot_bytes: u64,
}

impl Keeper {
    pub(super) fn start(
        applier: Arc<ApplierState>,
        applied: watch::Receiver<Offset>,
        on_disk: Option<KeeperDisk>,
        limits: &Limits,
        metrics: Arc<StoreMetrics>,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(KeeperShared::default());
        let at_checkpoint = on_disk.as_ref().map_or(0, |disk| disk.written.load(Ordering::Relaxed));
        let mut worker = KeeperWorker {
            shared: shared.clone(),
            applier,
            applied,
            on_disk,
            at_checkpoint,
            pause: ms(limits.store_retry_ms),
            checkpoint_bytes: limits.log_segment_bytes,
            snapshot_bytes_min: limits.snapshot_log_bytes,
            slice_bytes: size(limits.copy_slice_bytes),
            metrics,
        };
        let thread = crate::thread("room-keep", move || worker.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Makes a copy of everything, or of one room, in a new file. Returns its offset.
    ///
    /// # Errors
    /// [`StoreError`]: the file may exist, without useful content.
    ///
    /// # Cancel safety
    /// If the future is dropped, the copy may still be made.
    pub(super) async fn copy(
        &self,
        path: PathBuf,
        only: Option<RoomId>,
    ) -> Result<Offset, StoreError> {
        let (done, copied) = oneshot::channel();
        {
            let mut wanted = self.shared.wanted();
            if wanted.closed {
                return Err(StoreError::Closed);
            }
            wanted.copies.push(RequestedCopy { path, only, done });
        }
        self.shared.changed.notify_one();
        copied.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Returns a guard. While the caller holds it, the keeper does nothing.
    #[cfg(test)]
    pub(super) fn still(&self) -> MutexGuard<'_, ()> {
        self.shared.at_work()
    }

    /// Stops the thread, with everything in the tree on disk.
    pub(super) fn close(&self) {
        self.shared.wanted().closed = true;
        self.shared.changed.notify_one();
        crate::join(&self.thread);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.close();
    }
}

impl KeeperShared {
    fn wanted(&self) -> MutexGuard<'_, KeeperWants> {
        lock(&self.wanted)
    }

    fn at_work(&self) -> MutexGuard<'_, ()> {
        lock(&self.at_work)
    }
}

struct KeeperWorker {
    shared: Arc<KeeperShared>,
    applier: Arc<ApplierState>,
    applied: watch::Receiver<Offset>,
    on_disk: Option<KeeperDisk>,
    /// Bytes written to the log when the tree was last synced.
    at_checkpoint: u64,
    pause: Duration,
    checkpoint_bytes: u64,
    snapshot_bytes_min: u64,
    slice_bytes: usize,
    metrics: Arc<StoreMetrics>,
}

impl KeeperWorker {
    fn run(&mut self) {
        let shared = self.shared.clone();
        while let Some(copies) = self.next() {
            let _at_work = shared.at_work();
            for RequestedCopy { path, only, done } in copies {
                // A caller that has left needs no answer.
                drop(done.send(self.copy(&path, only).map(|(end, _)| end)));
            }
            if let Err(error) = self.look_after() {
                tracing::error!(%error, "the store cannot be looked after; it is tried again");
            }
        }
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store was not closed cleanly; the next start takes longer");
        }
    }

    /// Returns the wanted copies, after a pause; `None` when the store is closed.
    fn next(&self) -> Option<Vec<RequestedCopy>> {
        let idle = |wanted: &mut KeeperWants| wanted.copies.is_empty() && !wanted.closed;
        let waited = self.shared.changed.wait_timeout_while(self.shared.wanted(), self.pause, idle);
        let (mut wanted, _) = unpoisoned(waited);
        (!wanted.closed).then(|| std::mem::take(&mut wanted.copies))
    }

    /// Makes a checkpoint or a snapshot if the log has grown enough.
    fn look_after(&mut self) -> Result<(), StoreError> {
        let Some(disk) = &self.on_disk else { return Ok(()) };
        let written = disk.written.load(Ordering::Relaxed);
        if self.applier.failure().is_some() {
            return Ok(());
        }
        if written - disk.in_snapshot >= self.snapshot_bytes_min.max(disk.snapshot_bytes) {
            self.snapshot(written)
        } else if written - self.at_checkpoint >= self.checkpoint_bytes {
            self.checkpoint()
        } else {
            Ok(())
        }
    }

    /// Makes the tree survive a crash as it is, so that recovery replays less.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        let Some(disk) = &self.on_disk else { return Ok(()) };
        let (written, applied) = (disk.written.load(Ordering::Relaxed), *self.applied.borrow());
        if let Err(error) = self.applier.tree().sync() {
            self.applier.distrust(&error);
            return Err(error);
        }
        disk.folder.note_checkpoint(applied)?;
        self.at_checkpoint = written;
        Ok(())
    }

    /// Writes everything into a snapshot, and cuts the part of the log that the snapshot has.
    fn snapshot(&mut self, written: u64) -> Result<(), StoreError> {
        let Some(folder) = self.on_disk.as_ref().map(|disk| disk.folder.clone()) else {
            return Ok(());
        };
        let new = folder.new_snapshot();
        let (end, bytes) = self.copy(&new, None)?;
        // Before the log is cut, the snapshot must be readable, not only written.
        copies::read(&new, |_| Ok(()))?;
        folder.keep_snapshot(&new, end)?;
        if let Some(disk) = &mut self.on_disk {
            disk.in_snapshot = written;
            disk.snapshot_bytes = bytes;
        }
        self.checkpoint()?;
        log::cut(&folder.log(), end)?;
        self.metrics.snapshots.increment(1);
        tracing::info!(bytes, "made a snapshot and cut the log");
        Ok(())
    }

    /// Copies everything, or one room, while rooms continue. Returns the offset of the copy and its size in
    /// bytes.
    fn copy(&self, path: &Path, only: Option<RoomId>) -> Result<(Offset, u64), StoreError> {
        let spans = spans_of(only.as_ref());
        if let Some(frozen) = self.applier.tree().frozen()? {
            return self.copy_frozen(&*frozen, spans, CopyWriter::create(path, only)?);
        }
        *self.applier.copy() = Some(CopyWriter::create(path, only)?);
        let copied = spans.into_iter().try_for_each(|span| self.copy_span(span));
        let mut copy = self.applier.copy();
        let (writer, end) = (copy.take(), *self.applied.borrow());
        drop(copy);
        copied?;
        let writer = writer.ok_or(StoreError::Closed)?;
        Ok((end, writer.finish(end)?))
    }

    /// Copies a tree that nothing changes.
    fn copy_frozen(
        &self,
        tree: &dyn Tree,
        spans: Vec<Span>,
        mut writer: CopyWriter,
    ) -> Result<(Offset, u64), StoreError> {
        let end = (*self.applied.borrow()).max(Offset(1));
        for mut span in spans {
            loop {
                let slice = TreeSlice::read(tree, &span, end, self.slice_bytes)?;
                slice.records.iter().for_each(|record| writer.hear(record));
                if self.shared.wanted().closed {
                    return Err(StoreError::Closed);
                }
                match slice.last {
                    Some(last) => span.start = Bound::Excluded(last),
                    None => break,
                }
            }
        }
        Ok((end, writer.finish(end)?))
    }

    /// Copies a span in slices. Between two slices, turns are applied.
    fn copy_span(&self, mut span: Span) -> Result<(), StoreError> {
        loop {
            let mut copy = self.applier.copy();
            let Some(writer) = &mut *copy else { return Err(StoreError::Closed) };
            let offset = (*self.applied.borrow()).max(Offset(1));
            let slice = TreeSlice::read(&*self.applier.tree(), &span, offset, self.slice_bytes);
            let slice = slice.inspect_err(|error| self.applier.distrust(error))?;
            slice.records.iter().for_each(|record| writer.hear(record));
            if self.shared.wanted().closed {
                return Err(StoreError::Closed);
            }
            if writer.has_failed() {
                // The end of the copy returns the error.
                return Ok(());
            }
            match slice.last {
                Some(last) => span.start = Bound::Excluded(last),
                None => return Ok(()),
            }
        }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if let Some(error) = self.applier.failure() {
            return Err(error);
        }
        self.checkpoint()?;
        match &self.on_disk {
            Some(disk) => disk.folder.note_clean(),
            None => Ok(()),
        }
    }
}

/// Returns what a copy of everything, or of one room, has to read.
fn spans_of(only: Option<&RoomId>) -> Vec<Span> {
    match only {
        None => {
            let own = [keys::all_infos(), keys::all_jobs(), keys::all_guests()];
            [&own[..], &[keys::all_webhooks(), keys::all_outbound()]].concat()
        }
        Some(room) => {
            let own = [keys::one_info(room), keys::jobs(room), keys::guest(room)];
            [&own[..], &[keys::outbound(room)]].concat()
        }
    }
}

/// A piece of the tree as records.
struct TreeSlice {
    records: Vec<Record>,
    /// The last key, if there may be more keys after it.
    last: Option<Key>,
}

impl TreeSlice {
    fn read(
        tree: &dyn Tree,
        span: &Span,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Self, StoreError> {
        let mut slice = Self { records: Vec::new(), last: None };
        let mut bytes = 0;
        for entry in tree.scan(span, HashSet::new()) {
            let (key, value) = entry?;
            bytes += key.len() + value.len();
            slice.add(&key, value, offset)?;
            if bytes >= bytes_max {
                slice.last = Some(key);
                break;
            }
        }
        Ok(slice)
    }

    fn add(&mut self, key: &[u8], value: bytes::Bytes, offset: Offset) -> Result<(), StoreError> {
        if let Ok(room) = keys::decode_info_key(key) {
            let info = keys::decode_info(&value)?;
            let keys::RoomFacts { turns, number, alarm, touch, wake, outbound, .. } = info;
            let jobs = JobsChange { wake: Some(wake), ..JobsChange::default() };
            let jobs = (wake != Wake::NoJobs).then_some(jobs);
            let outbound = outbound.map(|facts| {
                let floor = Some(facts.floor);
                Box::new(OutboundChange { floor, ..OutboundChange::default() })
            });
            let change =
                Change { alarm: alarm.map(Some), jobs, touch, outbound, ..Change::default() };
            self.records.push(told(offset, room, turns, number, change));
            return Ok(());
        }
        if let Ok((room, key)) = keys::decode_job(key) {
            let jobs = self.change_of(room, offset).jobs.get_or_insert_default();
            jobs.entries.insert(key.to_vec(), Some(value));
            return Ok(());
        }
        if let Ok(id) = keys::decode_webhook_key(key) {
            let webhooks = &mut self.change_of(id.room.clone(), offset).webhooks;
            webhooks.insert(keys::webhook(&id), Some(value));
            return Ok(());
        }
        if let Ok((room, key)) = keys::decode_outbound(key) {
            let id = outbound::id_of(key)?;
            let outbound = self.change_of(room, offset).outbound.get_or_insert_default();
            outbound.entries.insert(id, value);
            return Ok(());
        }
        let (room, key) = keys::decode_guest(key)?;
        self.change_of(room, offset).keys.insert(key.to_vec(), Some(value));
        Ok(())
    }

    /// Returns the change of the last record, which is a room's.
    fn change_of(&mut self, room: RoomId, offset: Offset) -> &mut Change {
        if self.records.last().is_none_or(|record| record.room != room) {
            let number = SequenceNumber::default();
            self.records.push(told(offset, room, 0, number, Change::default()));
        }
        let last = self.records.len() - 1;
        &mut self.records[last].change
    }
}

/// Makes a record of a piece of the tree, which no guest's turn wrote.
fn told(offset: Offset, room: RoomId, turn: u64, number: SequenceNumber, change: Change) -> Record {
    Record { offset, ..Record::of(room, turn, number, ModuleHash::NONE, change) }
}
