//! The thread that brings durable turns into the tree. Owns the tree, and what to do when it fails.
//!
//! Invariant: the tree gets records in the order of the log, each whole. A tree that fails is made
//! anew from what the log has; nothing that was acknowledged depends on it. It does not know how
//! records became durable.

use super::Offset;
use super::apply::Changes;
use super::backend::{StoreError, Tree};
use super::committer::Commit;
use super::copies::CopyWriter;
use super::due::Bell;
use super::keys::RoomFacts;
use crate::id::RoomId;
use crate::limits::{Limits, ms, size};
use crate::metrics::StoreMetrics;
use hashbrown::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Makes a tree from what is durable.
pub(super) type Rebuild = Box<dyn FnMut() -> Result<Arc<dyn Tree>, StoreError> + Send>;

/// The applier's handle.
pub(super) struct Applier {
    shared: Arc<Shared>,
    applied: watch::Receiver<Offset>,
    bell: Arc<Bell>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the applier, the committer, the keeper and the rooms share.
pub(super) struct Shared {
    tree: RwLock<Arc<dyn Tree>>,
    backlog: Mutex<Backlog>,
    /// The thread waits here for commits.
    filled: Condvar,
    /// The committer waits here for space.
    drained: Condvar,
    /// Held while the tree changes; with the copy that hears of every change, if one is made.
    copy: Mutex<Option<CopyWriter>>,
    turns_max: usize,
    bytes_max: usize,
    retry: Duration,
    gather: Duration,
}

#[derive(Default)]
struct Backlog {
    commits: Vec<Commit>,
    /// Everything up to here is in `commits`, was before, or was lost.
    upto: Offset,
    bytes: usize,
    closed: bool,
    /// Somebody waits for what is in it, or will be next.
    hurry: bool,
    /// Why the tree is not to be trusted, until it is made anew.
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
        let shared = Arc::new(Shared {
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
        let worker = Worker {
            shared: shared.clone(),
            rebuild,
            applied: applied_tx,
            bell: bell.clone(),
            metrics,
        };
        let thread = super::thread("room-apply", move || worker.run())?;
        Ok(Self { shared, applied, bell, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// The offset up to which the tree has everything.
    pub(super) fn applied(&self) -> watch::Receiver<Offset> {
        self.applied.clone()
    }

    pub(super) fn alarm_bell(&self) -> Arc<Bell> {
        self.bell.clone()
    }

    /// Applies what waits and stops.
    pub(super) fn close(&self) {
        self.shared.backlog().closed = true;
        self.shared.filled.notify_one();
        self.shared.drained.notify_all();
        super::join(&self.thread);
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// The tree as it is now.
    pub(super) fn tree(&self) -> Arc<dyn Tree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Queues what has become durable up to an offset. Blocks while too much waits.
    pub(super) fn push(&self, commits: Vec<Commit>, upto: Offset) {
        let is_full = |backlog: &mut Backlog| {
            !backlog.closed
                && (backlog.bytes > self.bytes_max || backlog.commits.len() > self.turns_max)
        };
        let mut backlog = self
            .drained
            .wait_while(self.backlog(), is_full)
            .unwrap_or_else(PoisonError::into_inner);
        backlog.bytes += commits.iter().map(Commit::bytes).sum::<usize>();
        // Who waits for an alarm waits for the tree to have it.
        backlog.hurry |= commits.iter().any(|commit| commit.record.change.alarm.is_some());
        backlog.commits.extend(commits);
        backlog.upto = upto;
        drop(backlog);
        self.filled.notify_one();
    }

    /// Has what waits applied at once.
    pub(super) fn hurry(&self) {
        self.backlog().hurry = true;
        self.filled.notify_one();
    }

    /// Has the tree made anew: it showed what nobody wrote, or does not keep what it is given.
    pub(super) fn distrust(&self, error: &StoreError) {
        tracing::error!(%error, "the stored tree failed; it is made anew from the log");
        self.backlog().failed = Some(error.clone());
        self.filled.notify_one();
    }

    /// Why the tree cannot be used, if that is so.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.backlog().failed.clone()
    }

    /// What hears of every change, and keeps all others from changing the tree while it is held.
    pub(super) fn copy(&self) -> MutexGuard<'_, Option<CopyWriter>> {
        // A writer that was left by a panic is given up by whoever waits for it.
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        // The backlog is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread owns.
struct Worker {
    shared: Arc<Shared>,
    rebuild: Rebuild,
    applied: watch::Sender<Offset>,
    bell: Arc<Bell>,
    metrics: Arc<StoreMetrics>,
}

/// What the thread does next.
enum Next {
    Apply(Vec<Commit>, Offset),
    Rebuild,
    Stop,
}

impl Worker {
    fn run(mut self) {
        let (mut behind, mut upto) = (Vec::new(), *self.applied.borrow());
        loop {
            match self.next(upto) {
                Next::Apply(commits, offset) => (behind, upto) = (commits, offset),
                Next::Rebuild if !self.try_rebuild() => continue,
                Next::Rebuild => {}
                Next::Stop => return,
            }
            match self.apply(&behind, upto) {
                Ok(()) => behind = Vec::new(),
                // They stay behind, and are applied once more when there is a tree again.
                Err(error) => self.shared.distrust(&error),
            }
        }
    }

    /// Waits for something to do. While the tree has failed, that is making it anew.
    fn next(&self, upto: Offset) -> Next {
        let idle = |backlog: &mut Backlog| {
            backlog.upto <= upto && backlog.failed.is_none() && !backlog.closed
        };
        let Shared { filled, gather, turns_max, bytes_max, .. } = &*self.shared;
        let backlog =
            filled.wait_while(self.shared.backlog(), idle).unwrap_or_else(PoisonError::into_inner);
        // A room that is busy writes the same keys again and again: together they cost the tree once.
        let gathers = |backlog: &mut Backlog| {
            let urgent = backlog.hurry || backlog.closed || backlog.failed.is_some();
            !urgent && backlog.bytes < bytes_max / 4 && backlog.commits.len() < turns_max / 4
        };
        let (mut backlog, _) = filled
            .wait_timeout_while(backlog, *gather, gathers)
            .unwrap_or_else(PoisonError::into_inner);
        if backlog.failed.is_some() {
            return if backlog.closed { Next::Stop } else { Next::Rebuild };
        }
        if backlog.upto <= upto {
            return Next::Stop;
        }
        (backlog.bytes, backlog.hurry) = (0, false);
        let (commits, upto) = (std::mem::take(&mut backlog.commits), backlog.upto);
        drop(backlog);
        self.shared.drained.notify_all();
        Next::Apply(commits, upto)
    }

    /// Puts a new tree in place of one that failed; waits a little if that fails, too.
    fn try_rebuild(&mut self) -> bool {
        match (self.rebuild)() {
            Ok(tree) => {
                *self.shared.tree.write().unwrap_or_else(PoisonError::into_inner) = tree;
                self.shared.backlog().failed = None;
                self.metrics.tree_rebuilds.increment(1);
                tracing::info!("the stored tree is whole again");
                true
            }
            Err(error) => {
                tracing::error!(%error, "the stored tree cannot be made anew yet");
                // Who waits for the tree is told that there is none.
                self.applied.send_modify(|_| {});
                let open = |backlog: &mut Backlog| !backlog.closed;
                let backlog = self.shared.backlog();
                // Whatever ends the wait, the next round looks at it.
                drop(self.shared.filled.wait_timeout_while(backlog, self.shared.retry, open));
                false
            }
        }
    }

    /// Brings commits into the tree, then tells whoever waits for them.
    fn apply(&self, commits: &[Commit], upto: Offset) -> Result<(), StoreError> {
        let tree = self.shared.tree();
        let mut changes = Changes::on(&*tree);
        let mut copy = self.shared.copy();
        for commit in commits {
            changes.add(&commit.record)?;
        }
        let infos = if commits.is_empty() { HashMap::new() } else { changes.write()? };
        if let Some(copy) = &mut *copy {
            commits.iter().for_each(|commit| copy.hear(&commit.record));
        }
        // The rooms first: who waits for the tree finds nothing of theirs on its way any more.
        self.settle(commits, &infos);
        self.applied.send_replace(upto);
        Ok(())
    }

    /// Tells the rooms, and those who wait for alarms.
    fn settle(&self, commits: &[Commit], infos: &HashMap<RoomId, RoomFacts>) {
        for commit in commits {
            commit.pending.applied(commit.record.offset, infos.get(&commit.record.room));
        }
        let set = commits.iter().filter_map(|commit| commit.record.change.alarm.flatten());
        if let Some(earliest) = set.map(|alarm| alarm.due_ms).min() {
            self.bell.ring(earliest);
        }
    }
}
