//! Serves the rooms of one project: everything but a listener. Owns the order in which the parts start and
//! stop.
//!
//! Invariant: the node stops its parts in the reverse of the order in which it started them, and a part gets
//! only its piece of the configuration. It does not know what the parts do, nor how clients reach it.

mod deploy;
mod outsiders;
mod place;
mod renames;

pub use deploy::{DeployError, Deployed};
use place::PlaceGuard;
pub(crate) use place::{NodeFigures, NodePlace, PlacedRooms};

use outsiders::ticket_key;
use room_auth::TicketMint;
use room_core::clock::Clock;
use room_core::config::{Audience, StorageConfig};
use room_core::limits::{Limits, Misfit, ms};
use room_core::logs::Logs;
use room_core::metrics::{ListenerMetrics, Metrics};
use room_core::ttl::Served;
use room_door::{Forwarder, FrontDoor, Notice, Routes};
use room_guest::Engine;
use room_operator::Operator;
use room_rooms::alarms::Alarms;
use room_rooms::cluster::ProjectHomes;
use room_rooms::crons::Crons;
use room_rooms::expiry::{self, Expiry};
use room_rooms::rooms::{GuestHost, Guests, Rooms};
use room_rooms::webhooks::Webhooks;
use room_store::{Store, StoreError, Verified};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The parts that serve a project's rooms, once a listener passes requests to them.
pub(crate) struct Node {
    engine: Engine,
    /// One permit for each instance that tries out new code.
    spares: Arc<Semaphore>,
    rooms: Rooms,
    door: FrontDoor,
    store: Store,
    operator: Operator,
    crons: Crons,
    webhooks: Webhooks,
    /// Makes tickets with the node's own key.
    mint: TicketMint,
    limits: Arc<Limits>,
    clock: Clock,
    served: Served,
    logs: Logs,
    metrics: Metrics,
    /// Held by a deployment, so that there is one at a time.
    deploying: Mutex<()>,
    stop: CancellationToken,
    /// The tasks that ring alarms, call rooms for crons, end unused rooms and send webhooks; empty once the node has stopped them.
    wakers: Mutex<Vec<JoinHandle<()>>>,
    /// In a cluster, its rooms' place on the list of those that follow the shards.
    _placed: Option<PlaceGuard>,
}

/// What a project has of its process.
pub(crate) struct NodeShare<'a> {
    /// The project's name, which the process's log has on each line; empty if the process has only one.
    pub(crate) project: &'a str,
    /// The way to the rooms of other nodes.
    pub(crate) forwarder: &'a Forwarder,
    /// Where the rooms' data is, if the process is a node of a cluster.
    pub(crate) cluster: Option<&'a NodePlace>,
}

/// The reason why a node cannot be opened. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The project's limits do not fit into those of the process.
    #[error(transparent)]
    Limits(#[from] Misfit),
}

impl Node {
    /// Opens the data. The node has no parties yet. Its guests run on `host`.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left running.
    pub(crate) fn open(
        storage: &StorageConfig,
        host: &GuestHost,
        limits: &Limits,
        audience: Audience,
        share: NodeShare<'_>,
    ) -> Result<Self, OpenError> {
        let metrics = Metrics::new();
        let clock = Clock::system();
        let logs = Logs::of(limits, clock, share.project);
        let guests = host.for_project(limits, logs.clone())?;
        let (limits, counts) = (guests.limits.clone(), metrics.store.clone());
        let store = match (share.cluster, storage) {
            (Some(place), _) => {
                let NodePlace { database, lease, .. } = place.clone();
                Store::shared(database, lease, share.project, &limits, counts)?
            }
            (None, StorageConfig::Disk(dir)) => Store::open_counted(dir, &limits, counts)?,
            (None, StorageConfig::Memory) => Store::in_memory_counted(&limits, counts)?,
        };
        let mint = TicketMint::new(ticket_key(&store)?, share.project, &limits);
        let counts = metrics.rooms.clone();
        let served = Served::from(store.service()?.served_ms);
        let homes = ProjectHomes::new(share.forwarder.homes().clone(), share.project);
        let rooms = Rooms::new(store.clone(), (clock, served), &guests, counts, homes);
        let placed = share.cluster.map(|place| place.rooms.add(rooms.clone()));
        let dir = match storage {
            StorageConfig::Disk(dir) => Some(dir.as_path()),
            StorageConfig::Memory => None,
        };
        let (counts, forwarder) = (metrics.clone(), share.forwarder.clone());
        let door = FrontDoor::new(rooms.clone(), forwarder, &guests, clock, audience, counts);
        let home = door.clone();
        let crons = Crons::new(rooms.clone(), move |room| home.here(room.clone()).is_ok());
        let webhooks = Webhooks::new(rooms.clone(), &guests);
        let theirs = (rooms.clone(), crons.clone(), webhooks.clone());
        let operator = Operator::new(dir, store.clone(), theirs, door.clone(), limits.clone())?;
        let alarms = Alarms::new(store.clone(), rooms.clone(), clock, limits.clone());
        let expiry = Expiry::new(store.clone(), rooms.clone(), served, limits.clone());
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(metrics.clone().look_after()));
        let Guests { engine, spares, .. } = guests;
        let wakers = vec![
            tokio::spawn(alarms.run()),
            tokio::spawn(expiry.run()),
            tokio::spawn(crons.clone().run()),
            tokio::spawn(webhooks.clone().run()),
        ];
        Ok(Self {
            engine,
            spares,
            rooms,
            door,
            store,
            operator,
            crons,
            webhooks,
            mint,
            limits,
            clock,
            served,
            logs,
            metrics,
            deploying: Mutex::new(()),
            wakers: Mutex::new(wakers),
            stop,
            _placed: placed,
        })
    }

    /// Returns the routes of clients, without the operator's.
    pub(crate) fn client_routes(&self) -> Routes {
        self.door.routes()
    }

    /// Returns the routes of clients and the operator's side by side, for one address.
    pub(crate) fn routes_beside(&self, operators: Routes) -> Routes {
        self.door.routes_beside(operators)
    }

    /// Returns the right to do what an operator does with the rooms. The caller must authenticate the
    /// operator first.
    pub(crate) fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Returns the node's metrics in Prometheus' text format.
    pub(crate) fn metrics(&self) -> String {
        self.door.metrics()
    }

    /// Returns the metrics of the node's listener, for a node that has its own.
    pub(crate) fn listener_metrics(&self) -> Arc<ListenerMetrics> {
        self.metrics.listener.clone()
    }

    /// Returns the token that is cancelled when the node is to take no new clients.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Sets what pages that load `/_room/overlay.js` show about the code behind them, until the next call;
    /// `None` if nothing is wrong. Pages receive it only if the audience is [`crate::Audience::Developer`].
    pub(crate) fn set_notice(&self, notice: Option<Notice>) {
        self.door.set_notice(notice);
    }

    /// Makes pages that load `/_room/overlay.js` load again.
    pub(crate) fn reload_pages(&self) {
        self.door.reload_pages();
    }

    /// Reads everything that is stored and checks that it is consistent; see [`Verified`]. Meant for a node
    /// without visitors: rooms that commit during the check may show up as problems.
    ///
    /// # Errors
    /// [`StoreError`] if something cannot be read.
    ///
    /// # Cancel safety
    /// The check holds nothing while it waits.
    pub(crate) async fn verify_storage(&self) -> Result<Verified, StoreError> {
        self.store.verify().await
    }

    /// Stops the node: closes the sockets with 1012 over `drain_spread_ms`, lets the rooms finish, and writes
    /// everything to disk. `served` completes with the listener's last request.
    ///
    /// # Cancel safety
    /// If the future is dropped, unfinished work ends with the process. Acknowledged writes are on disk all
    /// the same.
    pub(crate) async fn drain(&self, served: impl Future<Output = ()>) {
        self.stop.cancel();
        let end = async {
            // Rooms serve their clients until the last client is gone.
            self.door.drain().await;
            self.silence().await;
            self.rooms.drain().await;
            self.operator.drain().await;
            // After the last line that a room can log.
            self.logs.close();
            self.rooms.taps().close();
            served.await;
        };
        let max = self.limits.drain_ms_max.saturating_add(self.limits.drain_spread_ms);
        if tokio::time::timeout(ms(max), end).await.is_err() {
            self.silence().await;
            tracing::warn!("not everything ended within drain_ms_max; the rest is dropped");
        }
        let (store, served) = (self.store.clone(), self.served);
        let close = move || {
            expiry::keep(&store, served, None);
            store.close();
        };
        if tokio::task::spawn_blocking(close).await.is_err() {
            tracing::error!("the store panicked while it was closed");
        }
    }

    /// Ends the tasks that wake rooms and search for unused ones, and waits until they are dropped: until
    /// then they hold the store, and with it the folder.
    async fn silence(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock().await);
        for waker in wakers {
            waker.abort();
            drop(waker.await);
        }
    }
}
