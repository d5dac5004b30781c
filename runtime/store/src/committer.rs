//! The one thread that makes turns durable. Owns the order of commits.
//!
//! Invariant: all waiting commits become one group with one sync, and a commit is settled only after that
//! sync returned. A failed sync loses its whole group. A refused record loses only the commits of its own
//! room. Every room is notified before the watermark moves. It does not know what becomes of durable commits.

use crate::applier::ApplierState;
use crate::backend::{Appended, Journal, StoreError};
use crate::pending::PendingCell;
use crate::{Offset, Record};
use room_core::limits::{Limits, ms, size};
use room_core::line::WaitingLine;
use room_core::lock::{lock, unpoisoned};
use room_core::metrics::StoreMetrics;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// One room's commit on its way to the disk.
pub(super) struct Commit {
    /// The room to notify.
    pub(super) pending: Arc<PendingCell>,
    /// The change.
    pub(super) record: Record,
}

impl Commit {
    /// Returns its size in the queue.
    pub(super) fn bytes(&self) -> usize {
        let change = &self.record.change;
        let jobs = change.jobs.iter().flat_map(|jobs| &jobs.entries);
        let outbound = change.outbound.as_ref().map_or(0, |outbound| outbound.bytes());
        let entries: usize = change
            .keys
            .iter()
            .chain(jobs)
            .chain(&change.webhooks)
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, bytes::Bytes::len))
            .sum();
        entries + outbound
    }
}

/// The committer's handle.
pub(super) struct Committer {
    shared: Arc<CommitterShared>,
    applier: Arc<ApplierState>,
    settled: watch::Receiver<Offset>,
    thread: Mutex<Option<JoinHandle<()>>>,
    bytes_max: usize,
    turns_max: usize,
}

struct CommitterShared {
    queue: Mutex<CommitQueue>,
    /// The thread waits here for commits.
    filled: Condvar,
    /// Notifies the first of the rooms that wait for space.
    drained: Notify,
    /// The rooms that wait for space, first come, first served.
    line: WaitingLine,
}

#[derive(Default)]
struct CommitQueue {
    commits: Vec<Commit>,
    bytes: usize,
    next: u64,
    closed: bool,
    /// Set when a sync failed, until the journal can continue. The thread commits nothing during that time.
    failed: Option<StoreError>,
}

impl Committer {
    /// Starts the thread, which continues after `last`, the offset of the last earlier commit.
    pub(super) fn start(
        journal: Box<dyn Journal>,
        applier: Arc<ApplierState>,
        last: Offset,
        limits: &Limits,
        metrics: Arc<StoreMetrics>,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(CommitterShared {
            queue: Mutex::new(CommitQueue { next: last.0, ..CommitQueue::default() }),
            filled: Condvar::new(),
            drained: Notify::new(),
            line: WaitingLine::default(),
        });
        let (settled_tx, settled) = watch::channel(last);
        let mut writer = LogWriter {
            journal,
            at_work: Vec::new(),
            applier: applier.clone(),
            shared: shared.clone(),
            settled: settled_tx,
            retry: ms(limits.store_retry_ms),
            quiet: ms(limits.apply_gather_ms),
            is_marked: true,
            metrics,
        };
        let thread = crate::thread("room-commit", move || writer.run())?;
        Ok(Self {
            shared,
            applier,
            settled,
            thread: Mutex::new(Some(thread)),
            bytes_max: size(limits.commit_bytes_max),
            turns_max: size(limits.commit_turns_max),
        })
    }

    pub(super) fn settled(&self) -> watch::Receiver<Offset> {
        self.settled.clone()
    }

    /// Waits until the queue has space. This bounds the queue to the limits and at most one commit more for
    /// each room that was admitted at the same time.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub(super) async fn space(&self) {
        if !self.shared.line.is_empty() || !self.has_space() {
            Box::pin(self.wait_in_line()).await;
        }
    }

    /// Waits until every earlier caller has got space, and then until there is some.
    async fn wait_in_line(&self) {
        let _first = self.shared.line.first().await;
        loop {
            let drained = self.shared.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.has_space() {
                return;
            }
            drained.await;
        }
    }

    fn has_space(&self) -> bool {
        let queue = self.shared.queue();
        queue.closed || (queue.bytes < self.bytes_max && queue.commits.len() < self.turns_max)
    }

    /// Queues a commit. `stage` sees it with its offset before the committer does.
    pub(super) fn push(
        &self,
        mut commit: Commit,
        stage: impl FnOnce(&Record),
    ) -> Result<Offset, StoreError> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(StoreError::Closed);
        }
        queue.next += 1;
        let offset = Offset(queue.next);
        commit.record.offset = offset;
        stage(&commit.record);
        queue.bytes += commit.bytes();
        queue.commits.push(commit);
        drop(queue);
        self.shared.filled.notify_one();
        Ok(offset)
    }

    /// Returns the offset of the last commit that was queued.
    pub(super) fn last(&self) -> Offset {
        Offset(self.shared.queue().next)
    }

    /// Returns the error for which nothing is committed at the moment, if there is one.
    pub(super) fn failure(&self) -> Option<StoreError> {
        let failed = self.shared.queue().failed.clone();
        failed.or_else(|| self.applier.failure())
    }

    pub(super) fn close(&self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
        self.shared.drained.notify_one();
        crate::join(&self.thread);
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

impl CommitterShared {
    fn queue(&self) -> MutexGuard<'_, CommitQueue> {
        lock(&self.queue)
    }
}

/// The state of the thread.
struct LogWriter {
    journal: Box<dyn Journal>,
    /// The group that is being written.
    at_work: Vec<Commit>,
    applier: Arc<ApplierState>,
    shared: Arc<CommitterShared>,
    settled: watch::Sender<Offset>,
    retry: Duration,
    /// The time without a commit after which the journal is marked.
    quiet: Duration,
    /// True if nothing was committed since the mark.
    is_marked: bool,
    metrics: Arc<StoreMetrics>,
}

impl LogWriter {
    fn run(&mut self) {
        while let Some((commits, last)) = self.next() {
            self.at_work = commits;
            // A room's commits after a loss build on the lost one.
            self.at_work.retain(|commit| !commit.pending.lock().is_lost());
            match self.write() {
                Ok(appended) => self.settle(appended),
                Err(error) => self.at_work.drain(..).for_each(|lost| lost.pending.lose(&error)),
            }
            self.settled.send_replace(last);
            // The applier passes over lost commits: a task that waits for their offset must not wait forever.
            self.applier.push(std::mem::take(&mut self.at_work), last);
        }
    }

    /// Notifies each room of the outcome of its commits, and keeps the durable ones.
    fn settle(&mut self, appended: Vec<Appended>) {
        let mut appended = appended.into_iter();
        self.at_work.retain(|Commit { pending, record }| {
            match appended.next().expect("a journal reports each record") {
                Appended::Durable => pending.settle(record.offset),
                Appended::Refused(error) => {
                    let room = &record.room;
                    tracing::error!(%error, %room, "a commit was refused; its room breaks");
                    pending.lose(&error);
                    return false;
                }
            }
            true
        });
    }

    /// Writes the group, and returns the outcome of each commit.
    fn write(&mut self) -> Result<Vec<Appended>, StoreError> {
        let failed = self.shared.queue().failed.clone();
        if let Some(error) = failed {
            return Err(error);
        }
        if self.at_work.is_empty() {
            return Ok(Vec::new());
        }
        let (begun, turns) = (Instant::now(), self.at_work.len());
        let written = self.journal.append(&mut self.at_work.iter().map(|commit| &commit.record));
        self.count(begun.elapsed(), &written);
        if let Err(error) = &written {
            tracing::error!(%error, turns, "a commit failed; its rooms break");
            self.shared.queue().failed = Some(error.clone());
        }
        written
    }

    fn count(&self, took: Duration, written: &Result<Vec<Appended>, StoreError>) {
        self.metrics.commit_seconds.record(took);
        match written {
            Ok(appended) => {
                let durable = appended.iter().filter(|one| **one == Appended::Durable).count();
                self.metrics.groups.increment(1);
                self.metrics.commits.increment(durable as u64);
            }
            Err(_) => self.metrics.failures.increment(1),
        }
    }

    /// Returns all waiting commits, with the last offset among them; `None` when the store is closed and the
    /// queue empty.
    fn next(&mut self) -> Option<(Vec<Commit>, Offset)> {
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        while queue.commits.is_empty() {
            if queue.closed {
                return None;
            }
            queue = if queue.failed.is_none() && self.is_marked {
                unpoisoned(shared.filled.wait(queue))
            } else if queue.failed.is_none() {
                self.mark_when_quiet(&shared, queue)
            } else {
                drop(queue);
                self.resume();
                shared.queue()
            };
        }
        queue.bytes = 0;
        self.is_marked = false;
        let commits = std::mem::take(&mut queue.commits);
        let last = Offset(queue.next);
        drop(queue);
        shared.drained.notify_one();
        Some((commits, last))
    }

    /// Waits a little for commits, and marks the journal if none come.
    fn mark_when_quiet<'a>(
        &mut self,
        shared: &'a CommitterShared,
        queue: MutexGuard<'a, CommitQueue>,
    ) -> MutexGuard<'a, CommitQueue> {
        let waited = shared.filled.wait_timeout(queue, self.quiet);
        let (queue, waited) = unpoisoned(waited);
        // If something else ended the wait, the caller looks at it.
        if !waited.timed_out() || !queue.commits.is_empty() || queue.closed {
            return queue;
        }
        drop(queue);
        self.journal.mark();
        self.is_marked = true;
        shared.queue()
    }

    /// Tries to go on after a failure. If that fails, waits a little.
    fn resume(&mut self) {
        match self.journal.resume() {
            Ok(()) => {
                self.shared.queue().failed = None;
                tracing::info!("the store works again");
            }
            Err(error) => {
                let mut queue = self.shared.queue();
                queue.failed = Some(error);
                let open = |queue: &mut CommitQueue| queue.commits.is_empty() && !queue.closed;
                // The next round checks the queue, whatever ended this wait.
                drop(self.shared.filled.wait_timeout_while(queue, self.retry, open));
            }
        }
    }
}

impl Drop for LogWriter {
    /// Loses what remains. After an orderly close nothing remains. After a panic of the thread, the waiting
    /// rooms are notified of the loss, and the queue takes no more commits.
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        queue.failed.get_or_insert(StoreError::Closed);
        let waiting = std::mem::take(&mut queue.commits);
        drop(queue);
        for commit in self.at_work.drain(..).chain(waiting) {
            commit.pending.lose(&StoreError::Closed);
        }
        self.shared.drained.notify_one();
    }
}
