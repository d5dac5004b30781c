//! What an operator does with the rooms of a project, while a node serves them or without one. Owns the right to do
//! it, and how much of the work that takes files or looks at many rooms there is at a time.
//!
//! Invariant: what was begun comes to its end, even if its operator has left; then its files are gone. It does not
//! know rooms from the inside, nor which addresses operators come to.
//!
//! - `routes` is what is asked over HTTP, `guard` who is let in, `failure` how a failure is answered.
//! - `dashboard` is the page for it, `sign_in` the way from the terminal to the page.
//! - `listing` and `count` look at all rooms, `look` at one and changes it, `transfer` takes rooms in and out as files.

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

pub(crate) use dashboard::{ClientAddress, SocketScheme, page_of_server};
pub(crate) use failure::OperatorError;
pub(crate) use guard::{Credentials, bearer};
pub(crate) use routes::{routes_of_process, routes_of_project};
pub use token::AdminToken;

use crate::door::FrontDoor;
use crate::limits::{Limits, size};
use crate::rooms::Rooms;
use crate::store::{Store, StoreError};
use count::Counting;
use scratch::ScratchFolder;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;

/// The right to do what an operator does with the rooms of one project. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct Operator(Arc<Inner>);

struct Inner {
    /// None if the data is in memory only.
    scratch: Option<ScratchFolder>,
    store: Store,
    rooms: Rooms,
    door: FrontDoor,
    limits: Arc<Limits>,
    places: Arc<Semaphore>,
    scans: Semaphore,
    counting: Counting,
    tasks: TaskTracker,
}

impl Operator {
    /// For the node whose data lies in this folder, and nowhere else open; or in memory only.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be written to.
    pub(crate) fn new(
        dir: Option<&Path>,
        store: Store,
        rooms: Rooms,
        door: FrontDoor,
        limits: Arc<Limits>,
    ) -> Result<Self, StoreError> {
        let scratch = dir.map(ScratchFolder::new).transpose()?;
        let places = size(limits.admin_transfers_max).min(Semaphore::MAX_PERMITS);
        let (places, tasks) = (Arc::new(Semaphore::new(places)), TaskTracker::new());
        let scans = Semaphore::new(size(limits.admin_scans_max).min(Semaphore::MAX_PERMITS));
        Ok(Self(Arc::new(Inner {
            scratch,
            store,
            rooms,
            door,
            limits,
            places,
            scans,
            counting: Counting::new(),
            tasks,
        })))
    }

    /// The right to look at many stored rooms.
    async fn scan(&self) -> Result<SemaphorePermit<'_>, OperatorError> {
        self.0.scans.acquire().await.map_err(|_| StoreError::Closed.into())
    }

    /// Does work to its end, whether somebody waits for it or not.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, OperatorError>> + Send + 'static,
    ) -> Result<T, OperatorError> {
        let done = self.0.tasks.spawn(work).await;
        done.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Waits until everything that was begun is done.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the work goes on by itself.
    pub(crate) async fn drain(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}
