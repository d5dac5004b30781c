//! The store of a project on the database of its cluster. Owns its opening.
//!
//! Invariant: several nodes have it open at once, and each writes for the rooms of its own shards alone. Nothing in memory
//! outlives the handle of its room, the node's incarnation or a failed group. It does not know how nodes share the shards.

mod group;
mod journal;
mod loaded;
mod notes;
mod place;
mod rows;
mod tree;
mod whole;

pub(crate) use loaded::LoadedRoom;
pub(crate) use notes::NoteRow;
pub(crate) use place::Place;

use crate::backend::Tree;
use crate::notes::NoteFile;
use crate::{
    Offset, Store, StoreError, StoreParts, blocking, crons, folder, renames, service, tickets,
};
use journal::SharedJournal;
use room_core::limits::Limits;
use room_core::metrics::StoreMetrics;
use room_database::{Database, Lease};
use rows::EntryRows;
use std::sync::Arc;
use tree::SharedTree;

/// Opens a project's store, and makes it if there is none. The distance of two openings leaves each of them more numbers
/// than it can use up.
const OPEN: &str = "
    INSERT INTO room.stores AS store (project, id, openings)
    VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    ON CONFLICT (project) DO UPDATE
        SET openings = greatest(store.openings + 1000, excluded.openings)
    RETURNING store, id, openings";

impl Store {
    /// Opens the store of a project on its cluster's database. Other nodes may have it open, too. This node may write for
    /// the rooms whose shards `lease` owns. Blocks until the database has answered; the caller is on a runtime with
    /// several threads, or on a thread that runs no tasks.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn shared(
        database: Database,
        lease: Lease,
        project: &str,
        limits: &Limits,
        metrics: Arc<StoreMetrics>,
    ) -> Result<Self, StoreError> {
        let new_id = folder::new_id().to_be_bytes();
        let opened =
            blocking(|| database.block_on(database.query(OPEN, &[&project, &new_id.as_slice()])))?;
        let row = opened.first().ok_or(StoreError::Closed)?;
        let (store, opened): (i64, i64) = (row.get(0), row.get(2));
        let id = <[u8; 16]>::try_from(row.get::<_, &[u8]>(1));
        let id = id.map_err(|_| StoreError::Corrupt("invalid id of a store".to_owned()))?;
        let rows = EntryRows::live(database.clone(), store, limits);
        let tree = Arc::new(SharedTree::new(rows, lease.clone(), limits));
        let place = Arc::new(Place::new(lease, project, tree.clone()));
        let note = |name| NoteRow::new(&database, store, name);
        let whole = tree.clone();
        Self::on(StoreParts {
            journal: Box::new(SharedJournal::new(
                database.clone(),
                place.clone(),
                tree.clone(),
                store,
            )),
            tree,
            // The database is what the tree is made of. What is in memory may be wrong.
            rebuild: Box::new(move || {
                whole.loaded().forget_all();
                Ok(whole.clone() as Arc<dyn Tree>)
            }),
            on_disk: None,
            service: NoteFile::shared(note(service::FILE)),
            crons: NoteFile::shared(note(crons::FILE)),
            renames: NoteFile::shared(note(renames::FILE)),
            tickets: NoteFile::shared(note(tickets::FILE)),
            id: u128::from_be_bytes(id),
            opened: opened.unsigned_abs(),
            last: Offset::default(),
            place: Some(place),
            limits,
            metrics,
        })
    }

    /// Waits until no earlier commit is under way: each is durable or lost. A node calls it before it gives a shard away,
    /// when no room of the shard runs any more.
    ///
    /// # Errors
    /// [`StoreError`]: the store has failed, and a commit may still be under way in the database.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub async fn idle(&self) -> Result<(), StoreError> {
        let (mut settled, last) = (self.settled(), self.committer.last());
        let waited = settled.wait_for(|at| *at >= last).await;
        waited.map_err(|_| StoreError::Closed)?;
        self.failure().map_or(Ok(()), Err)
    }

    /// Makes the searches for alarms and webhooks look at everything again: this node has got shards whose rooms another
    /// node ran.
    pub fn look_again(&self) {
        self.applier.alarm_bell().ring(0);
        self.applier.webhook_bell().miss();
    }
}
