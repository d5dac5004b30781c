//! Storage of the rooms of a node. Owns the rooms' bytes, and which of them survive a crash.
//!
//! Invariant: the writes of a turn are kept whole or not at all, in the order of their [`Offset`]s, and an
//! offset is reported durable only when everything up to it is on disk. It does not know guests, connections
//! or the meaning of an alarm.
//!
//! Life of a commit: `RoomStore::commit` passes it to the `committer`, which makes one group of all waiting
//! commits in the `log`, with one sync, after which they are durable. The `applier` brings them into the
//! tree, from which rooms read. Until then a room reads its own writes from `pending`. The `keeper` makes
//! snapshots and cuts the log. The newest snapshot and the log after it hold everything durable; the tree,
//! which is sled's, can always be rebuilt from them. In a cluster a database is both log and tree (`shared`).
//!
#![doc = include_str!("CONTRACT.md")]

mod applier;
mod apply;
mod backend;
mod browse;
mod committer;
mod content;
mod copies;
mod crons;
mod due;
mod entry;
mod files;
mod folder;
mod frame;
mod keeper;
mod keys;
mod leftovers;
mod log;
mod memory;
mod notes;
mod outbound;
mod pending;
mod record;
mod renames;
mod room;
mod sequence;
mod service;
mod shared;
mod sled;
mod tickets;
mod transfer;
mod unused;
mod verify;
mod webhooks;

pub use backend::StoreError;
pub use browse::{KeyPage, RoomSpan, name_order};
pub use content::{ContentError, RoomContent};
pub use crons::{CronNote, CronNotes, CronOutcome};
pub use due::{AlarmsFrom, Bell};
pub use entry::EntryLine;
pub use keys::RoomFacts;
pub use outbound::{OutboundChange, OutboundFacts, OutboundReader};
pub use record::{Change, Record, Wipe};
pub use renames::{RenameError, RenameSide};
use room::StoreLinks;
pub use room::{AlarmRecord, CommitExtras, LastUse, RoomStore, Settled};
pub use service::{Service, TtlNote};
pub use verify::Verified;
pub use webhooks::{FreshWebhooks, WebhookBell, WebhookChanges};

use applier::{Applier, Rebuild};
use backend::{Journal, Tree};
use committer::Committer;
use folder::{LogEnd, StoreFolder};
use keeper::{Keeper, KeeperDisk};
use leftovers::Leftovers;
use notes::NoteFile;
use renames::RenameNotes;
use room_core::id::RoomId;
use room_core::limits::Limits;
use room_core::lock::lock;
use room_core::metrics::{Metrics, StoreMetrics, level};
use sequence::Epochs;
use shared::Place;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;

/// The position of a commit in the order of all commits of this node. Only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(u64);

/// The rooms' storage of one node. Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct Store {
    // In the order in which they are closed.
    committer: Arc<Committer>,
    applier: Arc<Applier>,
    keeper: Arc<Keeper>,
    metrics: Arc<StoreMetrics>,
    service: Arc<NoteFile<Service>>,
    crons: Arc<NoteFile<CronNotes>>,
    renames: Arc<NoteFile<RenameNotes>>,
    tickets: Arc<NoteFile<tickets::TicketNote>>,
    leftovers: Arc<Leftovers>,
    epochs: Arc<Epochs>,
    id: u128,
    /// The node's place in its cluster, if other nodes have the store, too.
    place: Option<Arc<Place>>,
    /// Shared, because each room holds a store.
    limits: Arc<Limits>,
}

impl Store {
    /// Opens the store in a folder, and makes the folder if it does not exist. After a crash it first
    /// recovers everything that was durable.
    ///
    /// # Errors
    /// [`StoreError`]: the folder cannot be used, another process has it open, its format is unknown to this
    /// version, or acknowledged data cannot be read.
    pub fn open(dir: &Path, limits: &Limits) -> Result<Self, StoreError> {
        Self::open_counted(dir, limits, Metrics::new().store)
    }

    /// As [`Store::open`], with metrics.
    pub fn open_counted(
        dir: &Path,
        limits: &Limits,
        metrics: Arc<StoreMetrics>,
    ) -> Result<Self, StoreError> {
        let opened = StoreFolder::open(dir, limits)?;
        let folder = opened.folder;
        let id = folder.id();
        let written = Arc::new(AtomicU64::new(opened.log_bytes));
        let mut journal =
            log::Log::go_on(folder.clone(), opened.last, written.clone(), limits, metrics.clone())?;
        if opened.end == LogEnd::Open {
            // A new segment makes void what a crash tore, before anybody builds on what was read.
            journal.resume()?;
        }
        let rebuild: Rebuild = Box::new({
            let folder = folder.clone();
            move || folder.renew()
        });
        let snapshot_bytes = opened.snapshot_bytes;
        let on_disk = KeeperDisk { folder, written, in_snapshot: 0, snapshot_bytes };
        Self::on(StoreParts {
            journal: Box::new(journal),
            tree: opened.tree,
            rebuild,
            on_disk: Some(on_disk),
            service: NoteFile::read(dir, service::FILE),
            crons: NoteFile::read(dir, crons::FILE),
            renames: NoteFile::read(dir, renames::FILE),
            tickets: NoteFile::read(dir, tickets::FILE),
            id,
            opened: opened.opened,
            last: opened.last,
            place: None,
            limits,
            metrics,
        })
    }

    /// Opens a store that is gone with the process.
    ///
    /// # Errors
    /// [`StoreError::Io`] if no thread can be started for it.
    pub fn in_memory(limits: &Limits) -> Result<Self, StoreError> {
        Self::in_memory_counted(limits, Metrics::new().store)
    }

    /// As [`Store::in_memory`], with metrics.
    pub fn in_memory_counted(
        limits: &Limits,
        metrics: Arc<StoreMetrics>,
    ) -> Result<Self, StoreError> {
        Self::on(StoreParts {
            journal: Box::new(memory::NullJournal),
            tree: Arc::new(memory::Memory::default()),
            rebuild: Box::new(|| Err(StoreError::Closed)),
            on_disk: None,
            service: NoteFile::default(),
            crons: NoteFile::default(),
            renames: NoteFile::default(),
            tickets: NoteFile::default(),
            id: folder::new_id(),
            opened: folder::opening(0),
            last: Offset::default(),
            place: None,
            limits,
            metrics,
        })
    }

    fn on(parts: StoreParts<'_>) -> Result<Self, StoreError> {
        let StoreParts {
            journal,
            tree,
            rebuild,
            on_disk,
            id,
            opened,
            last,
            place,
            limits,
            metrics,
            ..
        } = parts;
        let (service, crons, renames) = (parts.service, parts.crons, parts.renames);
        let tickets = parts.tickets;
        let applier = Applier::start(tree, rebuild, last, limits, metrics.clone())?;
        let keeper =
            Keeper::start(applier.shared(), applier.applied(), on_disk, limits, metrics.clone())?;
        let committer = Committer::start(journal, applier.shared(), last, limits, metrics.clone())?;
        Ok(Self {
            leftovers: Arc::new(Leftovers::new(applier.applied())),
            epochs: Arc::new(Epochs::of_opening(opened)),
            committer: Arc::new(committer),
            applier: Arc::new(applier),
            keeper: Arc::new(keeper),
            metrics,
            service: Arc::new(service),
            crons: Arc::new(crons),
            renames: Arc::new(renames),
            tickets: Arc::new(tickets),
            id,
            place,
            limits: Arc::new(limits.clone()),
        })
    }

    /// Returns the store's name: a random number that is made with the store and kept in its folder. It stays the same
    /// through restarts and crashes. A restored backup is another store. A copy of the folder's files is the same one.
    pub fn id(&self) -> u128 {
        self.id
    }

    /// Returns the storage of one room. The caller makes sure that nothing else holds it. Waits until the
    /// tree has the room's earlier commits; it does not wait for those of other rooms.
    ///
    /// # Errors
    /// [`StoreError`] if the store has failed, or the facts of the room cannot be read; [`StoreError::Displaced`] if the
    /// node does not own the room's shard.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub async fn room(&self, room: &RoomId) -> Result<RoomStore, StoreError> {
        self.applied_upto(self.leftovers.of(room)).await?;
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let place = match &self.place {
            Some(place) => Some(place.start(room).await?),
            None => None,
        };
        let shared = self.applier.shared();
        let tree = shared.tree();
        let info = blocking(|| apply::info_of(&*tree, room))?;
        let jobs = blocking(|| apply::jobs_of(&*tree, room, &info))?;
        let links = StoreLinks {
            applier: shared,
            committer: self.committer.clone(),
            leftovers: self.leftovers.clone(),
            epoch: self.epochs.next(),
            place,
        };
        Ok(RoomStore::new(links, room, (info, jobs), &self.limits))
    }

    /// Waits until the tree has every earlier commit, except lost ones.
    async fn applied(&self) -> Result<(), StoreError> {
        self.applied_upto(self.committer.last()).await
    }

    /// Waits until the tree has every commit up to an offset, except lost ones.
    async fn applied_upto(&self, last: Offset) -> Result<(), StoreError> {
        let mut applied = self.applier.applied();
        loop {
            if *applied.borrow_and_update() >= last {
                return Ok(());
            }
            let applier = self.applier.shared();
            if let Some(error) = applier.failure() {
                return Err(error);
            }
            applier.hurry();
            applied.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }

    /// Returns the offset up to which every commit is settled: durable, or known to be lost.
    pub fn settled(&self) -> watch::Receiver<Offset> {
        self.committer.settled()
    }

    /// Returns the error for which the store takes no commits at the moment, if there is one.
    pub fn failure(&self) -> Option<StoreError> {
        self.committer.failure()
    }

    /// Sets the gauges of the store: whether it works, and how much waits in it.
    pub fn measure(&self) {
        let (queued, settled) = (self.committer.last(), *self.settled().borrow());
        let applied = *self.applier.applied().borrow();
        self.metrics.up.set(if self.failure().is_none() { 1.0 } else { 0.0 });
        self.metrics.waiting_for_disk.set(level(queued.0.saturating_sub(settled.0)));
        self.metrics.waiting_for_tree.set(level(settled.0.saturating_sub(applied.0)));
    }

    /// Returns the bell that rings when an alarm was set or moved earlier.
    pub fn alarm_bell(&self) -> Arc<Bell> {
        self.applier.alarm_bell()
    }

    /// Shows the durable alarms in the order of their times, until `show` stops the search.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub fn alarms(
        &self,
        from: &AlarmsFrom,
        mut show: impl FnMut(u64, RoomId) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let tree = self.applier.shared().tree();
        blocking(|| {
            for key in tree.keys(&from.span()) {
                match keys::decode_due(&key?) {
                    Ok((due_ms, room)) => {
                        if show(due_ms, room).is_break() {
                            break;
                        }
                    }
                    // An alarm that cannot be read must not silence all others.
                    Err(error) => tracing::error!(%error, "an alarm cannot be read"),
                }
            }
            Ok(())
        })
    }

    /// Commits the queue and stops. Blocks until the disk has everything.
    pub fn close(&self) {
        self.committer.close();
        self.applier.close();
        self.keeper.close();
    }
}

/// The parts of a store.
struct StoreParts<'a> {
    journal: Box<dyn Journal>,
    tree: Arc<dyn Tree>,
    rebuild: Rebuild,
    on_disk: Option<KeeperDisk>,
    service: NoteFile<Service>,
    crons: NoteFile<CronNotes>,
    renames: NoteFile<RenameNotes>,
    tickets: NoteFile<tickets::TicketNote>,
    /// The store's name.
    id: u128,
    /// Greater than at every earlier opening.
    opened: u64,
    /// The offset of the last commit before the opening.
    last: Offset,
    /// The node's place in its cluster, if other nodes have the store, too.
    place: Option<Arc<Place>>,
    limits: &'a Limits,
    metrics: Arc<StoreMetrics>,
}

/// Runs `act`, which may wait for the disk. On a thread that runs rooms, the other rooms continue on another
/// thread.
pub fn blocking<T>(act: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(act),
        _ => act(),
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| StoreError::Io(format!("cannot start a thread: {error}")))
}

fn join(thread: &Mutex<Option<JoinHandle<()>>>) {
    let thread = lock(thread).take();
    // The thread may wait for an answer that another task of this runtime receives.
    if let Some(thread) = thread
        && blocking(|| thread.join()).is_err()
    {
        tracing::error!("a thread of the store panicked; this is a bug of the runtime");
    }
}

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
