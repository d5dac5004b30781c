//! The thread that applies durable turns to the tree. Owns the tree, and the reaction to its failures.
//!
//! Invariant: the tree gets records in the order of the log, each whole. The applier rebuilds a tree that
//! fails from the snapshot and the log; no acknowledged write depends on the tree. It does not know how
//! records became durable.

use crate::Offset;
use crate::apply::GatheredChanges;
use crate::backend::{StoreError, Tree};
use crate::committer::Commit;
use crate::copies::CopyWriter;
use crate::due::Bell;
use crate::keys::RoomFacts;
use crate::webhooks::WebhookBell;
use hashbrown::HashMap;
use room_core::id::RoomId;
use room_core::limits::{Limits, ms, size};
use room_core::lock::{lock, unpoisoned};
use room_core::metrics::StoreMetrics;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Builds a tree from the durable records.
pub(super) type Rebuild = Box<dyn FnMut() -> Result<Arc<dyn Tree>, StoreError> + Send>;

/// The applier's handle.
pub(super) struct Applier {
    shared: Arc<ApplierState>,
    applied: watch::Receiver<Offset>,
    bell: Arc<Bell>,
    webhook_bell: Arc<WebhookBell>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The state that the applier, the committer, the keeper and the rooms share.
pub(super) struct ApplierState {
    tree: RwLock<Arc<dyn Tree>>,
    backlog: Mutex<Backlog>,
    /// The thread waits here for commits.
    filled: Condvar,
    /// The committer waits here for space.
    drained: Condvar,
    /// Held while the tree changes. Holds the copy that records every change, while a copy is being made.
    copy: Mutex<Option<CopyWriter>>,
    turns_max: usize,
    bytes_max: usize,
    retry: Duration,
    gather: Duration,
}

#[derive(Default)]
struct Backlog {
    commits: Vec<Commit>,
    /// Every commit up to here is in `commits`, was taken from it, or was lost.
    upto: Offset,
    bytes: usize,
    closed: bool,
    /// A task waits for these commits, or will wait for the next.
    hurry: bool,
    /// The reason why the tree cannot be trusted, until it is rebuilt.
    failed: Option<StoreError>,
}

impl Applier {
    pub(super) fn start(
        tree: Arc<dyn Tree>,
        rebuild: Rebuild,
        applied: Offset,
        limits: &Limits,
        metrics: Arc<StoreMetrics>,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(ApplierState {
            tree: RwLock::new(tree),
            backlog: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
            copy: Mutex::default(),
            turns_max: size(limits.commit_turns_max),
            bytes_max: size(limits.commit_bytes_max),
            retry: ms(limits.store_retry_ms),
            gather: ms(limits.apply_gather_ms),
        });
        let (applied_tx, applied) = watch::channel(applied);
        let bell = Arc::<Bell>::default();
        let webhook_bell = Arc::new(WebhookBell::new(size(limits.webhooks_pending_max)));
        let worker = ApplierWorker {
            shared: shared.clone(),
            rebuild,
            applied: applied_tx,
            bell: bell.clone(),
            webhook_bell: webhook_bell.clone(),
            metrics,
        };
        let thread = crate::thread("room-apply", move || worker.run())?;
        Ok(Self { shared, applied, bell, webhook_bell, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn shared(&self) -> Arc<ApplierState> {
        self.shared.clone()
    }

    /// Returns the offset up to which the tree has everything.
    pub(super) fn applied(&self) -> watch::Receiver<Offset> {
        self.applied.clone()
    }

    pub(super) fn alarm_bell(&self) -> Arc<Bell> {
        self.bell.clone()
    }

    pub(super) fn webhook_bell(&self) -> Arc<WebhookBell> {
        self.webhook_bell.clone()
    }

    /// Applies the backlog and stops.
    pub(super) fn close(&self) {
        self.shared.backlog().closed = true;
        self.shared.filled.notify_one();
        self.shared.drained.notify_all();
        crate::join(&self.thread);
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.close();
    }
}

impl ApplierState {
    /// Returns the present tree.
    pub(super) fn tree(&self) -> Arc<dyn Tree> {
        unpoisoned(self.tree.read()).clone()
    }

    /// Queues the commits that have become durable up to an offset. Blocks while the backlog is full.
    pub(super) fn push(&self, commits: Vec<Commit>, upto: Offset) {
        let is_full = |backlog: &mut Backlog| {
            !backlog.closed
                && (backlog.bytes > self.bytes_max || backlog.commits.len() > self.turns_max)
        };
        let mut backlog = unpoisoned(self.drained.wait_while(self.backlog(), is_full));
        backlog.bytes += commits.iter().map(Commit::bytes).sum::<usize>();
        // The search for due rooms reads the tree, so the tree must have a new alarm or job soon.
        backlog.hurry |= commits.iter().any(|commit| commit.record.change.wakes());
        backlog.commits.extend(commits);
        backlog.upto = upto;
        drop(backlog);
        self.filled.notify_one();
    }

    /// Makes the thread apply the backlog at once.
    pub(super) fn hurry(&self) {
        self.backlog().hurry = true;
        self.filled.notify_one();
    }

    /// Orders a rebuild: the tree showed data that no turn wrote, or does not keep what it gets.
    pub(super) fn distrust(&self, error: &StoreError) {
        tracing::error!(%error, "the stored tree failed; rebuilding it from the log");
        self.backlog().failed = Some(error.clone());
        self.filled.notify_one();
    }

    /// Returns the reason why the tree cannot be used, if it has failed.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.backlog().failed.clone()
    }

    /// Returns the lock of the copy, which records every change. While the caller holds it, the tree does not
    /// change.
    pub(super) fn copy(&self) -> MutexGuard<'_, Option<CopyWriter>> {
        // If a panic left a writer here, the task that waits for the copy gives it up.
        lock(&self.copy)
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        lock(&self.backlog)
    }
}

/// The state of the thread.
struct ApplierWorker {
    shared: Arc<ApplierState>,
    rebuild: Rebuild,
    applied: watch::Sender<Offset>,
    bell: Arc<Bell>,
    webhook_bell: Arc<WebhookBell>,
    metrics: Arc<StoreMetrics>,
}

/// The next step of the thread.
enum ApplierStep {
    Apply(Vec<Commit>, Offset),
    Rebuild,
    Stop,
}

impl ApplierWorker {
    fn run(mut self) {
        let (mut behind, mut upto) = (Vec::new(), *self.applied.borrow());
        loop {
            match self.next(upto) {
                ApplierStep::Apply(commits, offset) => (behind, upto) = (commits, offset),
                ApplierStep::Rebuild if !self.try_rebuild() => continue,
                ApplierStep::Rebuild => {}
                ApplierStep::Stop => return,
            }
            match self.apply(&behind, upto) {
                Ok(()) => behind = Vec::new(),
                // The commits stay in `behind`, and are applied again to the new tree.
                Err(error) => self.shared.distrust(&error),
            }
        }
    }

    /// Waits for something to do. While the tree has failed, the next step is its rebuild.
    fn next(&self, upto: Offset) -> ApplierStep {
        let idle = |backlog: &mut Backlog| {
            backlog.upto <= upto && backlog.failed.is_none() && !backlog.closed
        };
        let ApplierState { filled, gather, turns_max, bytes_max, .. } = &*self.shared;
        let backlog = unpoisoned(filled.wait_while(self.shared.backlog(), idle));
        // A busy room writes the same keys again and again: gathered, these writes cost the tree one write.
        let gathers = |backlog: &mut Backlog| {
            let urgent = backlog.hurry || backlog.closed || backlog.failed.is_some();
            !urgent && backlog.bytes < bytes_max / 4 && backlog.commits.len() < turns_max / 4
        };
        let (mut backlog, _) = unpoisoned(filled.wait_timeout_while(backlog, *gather, gathers));
        if backlog.failed.is_some() {
            return if backlog.closed { ApplierStep::Stop } else { ApplierStep::Rebuild };
        }
        if backlog.upto <= upto {
            return ApplierStep::Stop;
        }
        (backlog.bytes, backlog.hurry) = (0, false);
        let (commits, upto) = (std::mem::take(&mut backlog.commits), backlog.upto);
        drop(backlog);
        self.shared.drained.notify_all();
        ApplierStep::Apply(commits, upto)
    }

    /// Replaces a failed tree with a new one. If the rebuild fails, it waits a little.
    fn try_rebuild(&mut self) -> bool {
        match (self.rebuild)() {
            Ok(tree) => {
                *unpoisoned(self.shared.tree.write()) = tree;
                self.shared.backlog().failed = None;
                self.metrics.tree_rebuilds.increment(1);
                tracing::info!("the stored tree is whole again");
                true
            }
            Err(error) => {
                tracing::error!(%error, "the stored tree cannot be rebuilt yet");
                // Wakes the tasks that wait for the tree, so that they see its failure.
                self.applied.send_modify(|_| {});
                let open = |backlog: &mut Backlog| !backlog.closed;
                let backlog = self.shared.backlog();
                // The next round checks the state, whatever ended this wait.
                drop(self.shared.filled.wait_timeout_while(backlog, self.shared.retry, open));
                false
            }
        }
    }

    /// Applies commits to the tree, then notifies the rooms and the tasks that wait for them.
    fn apply(&self, commits: &[Commit], upto: Offset) -> Result<(), StoreError> {
        let tree = self.shared.tree();
        if let Some(infos) = tree.journaled(&mut commits.iter().map(|commit| &commit.record.room)) {
            self.settle(commits, &infos);
            self.applied.send_replace(upto);
            return Ok(());
        }
        let mut changes = GatheredChanges::on(&*tree);
        let mut copy = self.shared.copy();
        for commit in commits {
            changes.add(&commit.record)?;
        }
        let infos = if commits.is_empty() { HashMap::new() } else { changes.write()? };
        if let Some(copy) = &mut *copy {
            commits.iter().for_each(|commit| copy.hear(&commit.record));
        }
        // The rooms first: a task that waits for the tree must find no pending commit of its room.
        self.settle(commits, &infos);
        self.applied.send_replace(upto);
        Ok(())
    }

    /// Settles the commits at their rooms, and rings the bells for new alarms and webhooks.
    fn settle(&self, commits: &[Commit], infos: &HashMap<RoomId, RoomFacts>) {
        for commit in commits {
            commit.pending.applied(commit.record.offset, infos.get(&commit.record.room));
        }
        let set = commits.iter().filter_map(|commit| commit.record.change.due_ms());
        if let Some(earliest) = set.min() {
            self.bell.ring(earliest);
        }
        self.webhook_bell.ring(commits.iter().map(|commit| &commit.record));
    }
}
