//! What an operator does with the rooms of a project, with or without a node that serves them. Owns the right to do it,
//! and how many transfers and scans run at a time.
//!
//! Invariant: work that was started is completed, even if its operator has left, and then its files are removed. It
//! does not know rooms from the inside, or the addresses for operators.
//!
//! - `routes` has the routes over HTTP, `guard` says who is admitted, `failure` how a failure is answered.
//! - `dashboard` is the page for it, `sign_in` the way from the terminal to the page.
//! - `listing` and `count` read all rooms, `look` reads and changes one, `transfer` exports and imports rooms as files.

mod count;
mod dashboard;
mod failure;
mod guard;
mod listing;
mod look;
pub mod offline;
mod routes;
mod scratch;
mod sign_in;
mod token;
mod transfer;

pub use dashboard::{ClientAddress, SocketScheme, page_of_server};
pub use failure::OperatorError;
pub use guard::{Credentials, bearer};
pub use routes::{routes_of_process, routes_of_project};
pub use token::AdminToken;

use count::StoredCounter;
use room_core::limits::{Limits, size};
use room_door::FrontDoor;
use room_rooms::crons::Crons;
use room_rooms::rooms::Rooms;
use room_rooms::webhooks::Webhooks;
use room_store::{Store, StoreError};
use scratch::ScratchFolder;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;

/// An operator's access to the rooms of one project. Cheap to clone; clones share the state.
#[derive(Clone)]
pub struct Operator(Arc<OperatorInner>);

struct OperatorInner {
    /// `None` if the data is in memory only.
    scratch: Option<ScratchFolder>,
    store: Store,
    rooms: Rooms,
    crons: Crons,
    webhooks: Webhooks,
    door: FrontDoor,
    limits: Arc<Limits>,
    places: Arc<Semaphore>,
    scans: Semaphore,
    counting: StoredCounter,
    tasks: TaskTracker,
}

impl Operator {
    /// Returns the access to a node. `dir` is the folder of its data, which no other process uses, or `None` if the
    /// data is in memory only.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be written to.
    pub fn new(
        dir: Option<&Path>,
        store: Store,
        (rooms, crons, webhooks): (Rooms, Crons, Webhooks),
        door: FrontDoor,
        limits: Arc<Limits>,
    ) -> Result<Self, StoreError> {
        let scratch = dir.map(ScratchFolder::new).transpose()?;
        let places = size(limits.admin_transfers_max).min(Semaphore::MAX_PERMITS);
        let (places, tasks) = (Arc::new(Semaphore::new(places)), TaskTracker::new());
        let scans = Semaphore::new(size(limits.admin_scans_max).min(Semaphore::MAX_PERMITS));
        Ok(Self(Arc::new(OperatorInner {
            scratch,
            store,
            rooms,
            crons,
            webhooks,
            door,
            limits,
            places,
            scans,
            counting: StoredCounter::new(),
            tasks,
        })))
    }

    /// Waits for the right to scan many stored rooms.
    async fn scan(&self) -> Result<SemaphorePermit<'_>, OperatorError> {
        self.0.scans.acquire().await.map_err(|_| StoreError::Closed.into())
    }

    /// Runs work to its end, whether the caller waits for it or not.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, OperatorError>> + Send + 'static,
    ) -> Result<T, OperatorError> {
        let done = self.0.tasks.spawn(work).await;
        done.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Waits until all work that was started is done.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the work continues by itself.
    pub async fn drain(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}
