//! The one thread that writes. Owns the order of commits and when they are durable.
//!
//! Invariant: everything that waits becomes one batch with one flush, and a commit is settled only
//! after that flush returned. A failed flush loses its whole batch, and every room in it is told
//! before the watermark moves. It does not know what the bytes mean.

use super::Offset;
use super::backend::{Backend, StoreError};
use super::room::Pending;
use crate::limits::{Limits, size};
use crate::span::Overlay;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{Notify, watch};

/// One room's commit on its way to the disk.
pub(super) struct Commit {
    /// Whom to tell.
    pub(super) pending: Arc<Mutex<Pending>>,
    /// Every key below this is removed first.
    pub(super) clear: Option<super::keys::RoomPrefix>,
    /// What changes, in the store's own keys.
    pub(super) changes: Overlay,
    /// Whether the room's alarm is among them.
    pub(super) alarm: AlarmTouched,
}

impl Commit {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Pending is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a commit changes an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AlarmTouched {
    Yes,
    No,
}

/// The committer's handle.
pub(super) struct Committer {
    shared: Arc<Shared>,
    settled: watch::Receiver<Offset>,
    alarms_changed: watch::Receiver<u64>,
    thread: Mutex<Option<JoinHandle<()>>>,
    bytes_max: usize,
    turns_max: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    /// The thread waits here for commits.
    filled: Condvar,
    /// Rooms wait here for space.
    drained: Notify,
}

#[derive(Default)]
struct Queue {
    commits: Vec<Commit>,
    bytes: usize,
    next: u64,
    closed: bool,
    /// Set when a write failed and the backend cannot say what is durable: nothing is taken any more.
    failed: Option<StoreError>,
}

impl Committer {
    pub(super) fn start(backend: Arc<dyn Backend>, limits: &Limits) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Notify::new(),
        });
        let (settled_tx, settled) = watch::channel(Offset::default());
        let (alarms_tx, alarms_changed) = watch::channel(0);
        let writer =
            Writer { backend, shared: shared.clone(), settled: settled_tx, alarms: alarms_tx };
        let thread = std::thread::Builder::new()
            .name("room-commit".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(Self {
            shared,
            settled,
            alarms_changed,
            thread: Mutex::new(Some(thread)),
            bytes_max: size(limits.commit_bytes_max),
            turns_max: size(limits.commit_turns_max),
        })
    }

    pub(super) fn settled(&self) -> watch::Receiver<Offset> {
        self.settled.clone()
    }

    pub(super) fn alarms_changed(&self) -> watch::Receiver<u64> {
        self.alarms_changed.clone()
    }

    /// Waits until the queue has space. It bounds what waits for the disk to the limits and at most
    /// one commit more for each room that was let in at the same time.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub(super) async fn space(&self) {
        loop {
            let drained = self.shared.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            {
                let queue = self.shared.queue();
                if queue.closed
                    || (queue.bytes < self.bytes_max && queue.commits.len() < self.turns_max)
                {
                    return;
                }
            }
            drained.await;
        }
    }

    /// Queues a commit. `stage` is called with its offset before the committer can see it.
    pub(super) fn push(
        &self,
        commit: Commit,
        stage: impl FnOnce(Offset),
    ) -> Result<Offset, StoreError> {
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(StoreError::Closed);
        }
        if let Some(error) = &queue.failed {
            return Err(error.clone());
        }
        queue.next += 1;
        let offset = Offset(queue.next);
        stage(offset);
        queue.bytes += overlay_bytes(&commit.changes);
        queue.commits.push(commit);
        drop(queue);
        self.shared.filled.notify_one();
        Ok(offset)
    }

    /// Why nothing is taken any more, if that is so.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.shared.queue().failed.clone()
    }

    pub(super) fn close(&self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
        self.shared.drained.notify_waiters();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the committer panicked");
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // The queue is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn overlay_bytes(changes: &Overlay) -> usize {
    changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, bytes::Bytes::len)).sum()
}

/// What the thread owns.
struct Writer {
    backend: Arc<dyn Backend>,
    shared: Arc<Shared>,
    settled: watch::Sender<Offset>,
    alarms: watch::Sender<u64>,
}

impl Writer {
    fn run(self) {
        while let Some((mut commits, last)) = self.next() {
            // What a room committed after a loss was made from what was lost.
            commits.retain(|commit| !commit.pending().is_lost());
            let failed = self.shared.queue().failed.clone();
            let result = match failed {
                Some(error) => Err(error),
                None => self.write_or_fail(&commits),
            };
            for commit in &commits {
                match &result {
                    Ok(()) => commit.pending().settle(last),
                    Err(error) => commit.pending().lose(error),
                }
            }
            self.settled.send_replace(last);
            if result.is_ok() && commits.iter().any(|commit| commit.alarm == AlarmTouched::Yes) {
                self.alarms.send_modify(|version| *version += 1);
            }
        }
    }

    /// Writes a batch. If that fails, or panics as sled has been seen to, nothing that was not synced
    /// counts any more; where the backend cannot tell what that is, nothing is written from then on.
    fn write_or_fail(&self, commits: &[Commit]) -> Result<(), StoreError> {
        let write = AssertUnwindSafe(|| self.write(commits));
        let result = std::panic::catch_unwind(write)
            .unwrap_or_else(|_| Err(StoreError::Io("the store panicked".to_owned())));
        if let Err(error) = &result {
            tracing::error!(%error, turns = commits.len(), "a commit failed; its rooms break");
            self.shared.queue().failed = self.backend.forget_unsynced().err();
        }
        result
    }

    /// Everything that waits, with the last offset in it. None when the store is closed and empty.
    fn next(&self) -> Option<(Vec<Commit>, Offset)> {
        let mut queue = self.shared.queue();
        while queue.commits.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self.shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.bytes = 0;
        let commits = std::mem::take(&mut queue.commits);
        let last = Offset(queue.next);
        drop(queue);
        self.shared.drained.notify_waiters();
        Some((commits, last))
    }

    fn write(&self, commits: &[Commit]) -> Result<(), StoreError> {
        let mut batch = Overlay::new();
        for commit in commits {
            if let Some(prefix) = &commit.clear {
                self.clear(prefix, &mut batch)?;
            }
            let changes = commit.changes.iter();
            batch.extend(changes.map(|(key, value)| (key.clone(), value.clone())));
        }
        self.backend.apply(&batch)?;
        self.backend.sync()
    }

    /// Removes what lies below a prefix, on disk and earlier in this batch.
    fn clear(
        &self,
        prefix: &super::keys::RoomPrefix,
        batch: &mut Overlay,
    ) -> Result<(), StoreError> {
        let span = prefix.span();
        let earlier: Vec<_> = crate::span::over(batch, &span).map(|(key, _)| key).collect();
        batch.extend(earlier.into_iter().map(|key| (key, None)));
        for key in self.backend.keys(&span) {
            batch.insert(key?, None);
        }
        Ok(())
    }
}
