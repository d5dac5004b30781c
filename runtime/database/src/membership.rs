//! This node among the nodes of its cluster. Owns its row in the database, its heartbeats, and which shards it takes and
//! gives up.
//!
//! Invariant: a shard has one live owner at most, and this node's lease of it is over before another node has it. What a
//! node lost it never has again under the same incarnation. Only the database's clock judges who is alive. It does not
//! know rooms: who runs them obeys its [`ShardOrder`]s.

mod heart;
mod keeper;
mod key;
mod ring;
mod rows;
mod shard_map;

pub use key::ClusterKey;
pub use shard_map::{ClusterNode, ShardMap};

use crate::connect::LoneClient;
use crate::lease::{Incarnation, Lease, ShardSet};
use crate::{Database, DatabaseError};
use keeper::ShardKeeper;
use room_core::clock::Moment;
use room_core::config::PeerNode;
use room_core::limits::fixed::NODE_FIGURES_BYTES_MAX;
use room_core::limits::{Limits, ms, size};
use room_core::lock::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// This node's membership in its cluster. Cheap to clone; clones are the same membership.
#[derive(Clone)]
pub struct Membership(Arc<MembershipInner>);

struct MembershipInner {
    database: Database,
    own: PeerNode,
    program: String,
    pace: MembershipPace,
    lease: Lease,
    key: ClusterKey,
    map: watch::Sender<Arc<ShardMap>>,
    figures: Mutex<String>,
    /// Whether [`Membership::take_shards`] was called, or need not be.
    takes_shards: AtomicBool,
}

/// How often the node does what.
#[derive(Clone, Copy)]
struct MembershipPace {
    heartbeat: Duration,
    /// Time after its last heartbeat for which the database takes the node for alive.
    lease: Duration,
    /// Time between two looks while shards move.
    look: Duration,
    /// Shards that are given up at the same time.
    leave_max: usize,
}

/// What a membership asks of the part that runs rooms.
#[derive(Debug)]
pub enum ShardOrder {
    /// The rooms of these shards are this node's from now on: search for their alarms and webhooks.
    Taken(ShardSet),
    /// Stop the rooms of these shards between two turns. They may still commit, and none of them may start
    /// ([`Lease::covers`]).
    Leave {
        /// The shards.
        shards: ShardSet,
        /// Completed when none of their rooms runs, and no commit of them is under way.
        done: oneshot::Sender<()>,
    },
    /// The lease is over: stop all rooms. Nothing that they still say may leave.
    Stop {
        /// Completed when no room runs.
        done: oneshot::Sender<()>,
    },
}

/// Why a node is not a member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// The database did not do what it was asked for.
    #[error(transparent)]
    Database(DatabaseError),
    /// The database's user may not do what a node has to do.
    #[error(
        "the database's user lacks rights ({0}): grant it USAGE on the schema room, and SELECT, INSERT, UPDATE and DELETE on \
         all tables of that schema"
    )]
    Rights(String),
    /// A live node has this name.
    #[error(
        "another node at {address} is named {name} and sends heartbeats: give each node of the cluster a name of its own"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The other node's address.
        address: String,
    },
    /// The cluster's key is missing or damaged.
    #[error(
        "the table room.cluster of the database has no key of 32 bytes: restore it from a backup, or use another database"
    )]
    NoKey,
}

impl From<DatabaseError> for MembershipError {
    fn from(error: DatabaseError) -> Self {
        match error {
            // Insufficient privilege.
            DatabaseError::Refused { code, text } if code == "42501" => Self::Rights(text),
            error => Self::Database(error),
        }
    }
}

/// How one incarnation of the node ended.
enum LifeEnd {
    /// It gave up all shards and left.
    Left,
    /// The database took it for dead, or it cannot be certain of the contrary.
    Lost,
    /// Nobody obeys its orders any more.
    Deserted,
}

impl Membership {
    /// Adds this node to the cluster, under its name and the address at which the other nodes reach it. `program` is the
    /// version of its program. It has no shard until [`Membership::run`]. A node that had the name and crashed is waited
    /// for, until the database takes it for dead.
    ///
    /// # Errors
    /// [`MembershipError`]: the node is not in the cluster.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the node may be in the cluster, without a shard and without heartbeats.
    pub async fn join(
        database: &Database,
        own: &PeerNode,
        program: &str,
        limits: &Limits,
    ) -> Result<Self, MembershipError> {
        Self::enter_new((database, own), program, limits, true).await
    }

    /// As [`Membership::join`], but the node has no shard until [`Membership::take_shards`].
    ///
    /// # Errors
    /// As [`Membership::join`].
    ///
    /// # Cancel safety
    /// As [`Membership::join`].
    pub async fn join_idle(
        database: &Database,
        own: &PeerNode,
        program: &str,
        limits: &Limits,
    ) -> Result<Self, MembershipError> {
        Self::enter_new((database, own), program, limits, false).await
    }

    async fn enter_new(
        (database, own): (&Database, &PeerNode),
        program: &str,
        limits: &Limits,
        takes_shards: bool,
    ) -> Result<Self, MembershipError> {
        let client = database.beside().await?;
        let key = database.within(async { Ok(rows::key(&client).await) }).await??;
        let pace = MembershipPace {
            heartbeat: ms(limits.node_heartbeat_ms),
            lease: ms(limits.node_lease_ms),
            look: ms(limits.shard_look_ms),
            leave_max: size(limits.shards_leave_max).max(1),
        };
        let membership = Self(Arc::new(MembershipInner {
            database: database.clone(),
            own: own.clone(),
            program: program.to_owned(),
            pace,
            lease: Lease::none(),
            key,
            map: watch::Sender::default(),
            figures: Mutex::new("{}".to_owned()),
            takes_shards: AtomicBool::new(takes_shards),
        }));
        membership.enter(&client).await?;
        Ok(membership)
    }

    /// Takes the node's share of shards from now on, unless an operator has drained it.
    ///
    /// # Errors
    /// [`MembershipError`]: it takes none before it joins again.
    ///
    /// # Cancel safety
    /// If dropped before it returns, it may take shards.
    pub async fn take_shards(&self) -> Result<(), MembershipError> {
        self.0.takes_shards.store(true, Ordering::Release);
        let client = self.0.database.beside().await?;
        let own = self.0.lease.incarnation();
        Ok(self.0.database.within(rows::take_part(&client, own)).await?)
    }

    /// Returns this node's right to run rooms.
    pub fn lease(&self) -> &Lease {
        &self.0.lease
    }

    /// Returns this node's name and address.
    pub fn own(&self) -> &PeerNode {
        &self.0.own
    }

    /// Returns the key by which the nodes of the cluster prove that they belong to it.
    pub fn key(&self) -> &ClusterKey {
        &self.0.key
    }

    /// Returns who is there, and who has which shard; looked up again with each heartbeat, and more often while shards
    /// move.
    pub fn map(&self) -> watch::Receiver<Arc<ShardMap>> {
        self.0.map.subscribe()
    }

    /// Sets what the node shows about itself from its next heartbeat on. Figures longer than `node_figures_bytes_max` are
    /// not shown.
    pub fn set_figures(&self, figures: String) {
        let fits = figures.len() <= NODE_FIGURES_BYTES_MAX;
        *lock(&self.0.figures) = if fits { figures } else { "{}".to_owned() };
    }

    /// Asks a node to give up all its shards and to take no others until its process starts again. It stays in the cluster
    /// until it stops. Returns false if no live node has this name.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, the node may have been asked.
    pub async fn drain(&self, name: &str) -> Result<bool, DatabaseError> {
        let client = self.0.database.beside().await?;
        self.0.database.within(rows::drain(&client, name)).await
    }

    /// Sends heartbeats, takes shards and gives them up, until `stop`; then gives up all shards and leaves the cluster.
    /// When it loses its place, it has all rooms stopped and joins again. It returns when the node has left, or nobody
    /// takes its orders.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the lease ends by itself, and other nodes take over.
    pub async fn run(&self, orders: mpsc::Sender<ShardOrder>, stop: CancellationToken) {
        loop {
            let own = self.0.lease.incarnation();
            let end = self.live(own, &orders, &stop).await;
            // From here on nothing leaves, and no room starts.
            self.0.lease.end();
            match end {
                LifeEnd::Left | LifeEnd::Deserted => return,
                LifeEnd::Lost => {
                    let node = self.0.own.name().as_str();
                    tracing::error!(
                        node,
                        "this node lost its place in the cluster, and stops its rooms"
                    );
                }
            }
            if !stop_all(&orders).await || !self.enter_again(own, &stop).await {
                return;
            }
        }
    }

    /// Lives one incarnation.
    async fn live(
        &self,
        own: Incarnation,
        orders: &mpsc::Sender<ShardOrder>,
        stop: &CancellationToken,
    ) -> LifeEnd {
        let keeper = ShardKeeper::new(&self.0, own, orders);
        tokio::select! {
            biased;
            () = self.lapse() => LifeEnd::Lost,
            () = heart::beat(&self.0, own) => LifeEnd::Lost,
            end = keeper.run(stop) => end,
        }
    }

    /// Returns when the lease is over.
    async fn lapse(&self) {
        while let rest = self.0.lease.rest()
            && !rest.is_zero()
        {
            tokio::time::sleep(rest).await;
        }
    }

    /// Joins under a new incarnation, as soon as the database allows it. Returns false if the node stops.
    async fn enter_again(&self, before: Incarnation, stop: &CancellationToken) -> bool {
        loop {
            let entered = async {
                let client = self.0.database.beside().await?;
                // No room of it runs, so nobody has to wait until it is taken for dead.
                self.0.database.within(rows::leave(&client, before)).await?;
                match stop.is_cancelled() {
                    true => Ok(()),
                    false => self.enter(&client).await,
                }
            };
            match entered.await {
                Ok(()) => return !stop.is_cancelled(),
                Err(error) => {
                    tracing::error!(%error, "this node cannot join its cluster again yet")
                }
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(self.0.pace.heartbeat) => {}
            }
        }
    }

    /// Adds a row for this node, which counts as its first heartbeat.
    async fn enter(&self, client: &LoneClient) -> Result<(), MembershipError> {
        let MembershipInner { database, own, program, pace, lease, .. } = &*self.0;
        let lease_ms = i64::try_from(pace.lease.as_millis()).unwrap_or(i64::MAX);
        let mut known = None;
        loop {
            let sent = Moment::now();
            let takes_shards = self.0.takes_shards.load(Ordering::Acquire);
            let before = lease.incarnation();
            let added = rows::add(client, (own, before), (program, lease_ms), takes_shards);
            if let Some(incarnation) = database.within(added).await? {
                lease.renew(incarnation, sent, pace.certain());
                if !takes_shards && self.0.takes_shards.load(Ordering::Acquire) {
                    // `take_shards` was called in between, and found the former row.
                    database.within(rows::take_part(client, incarnation)).await?;
                }
                return Ok(());
            }
            let holder = database.within(rows::holder(client, own.name().as_str())).await?;
            if let (Some(before), Some(now)) = (&known, &holder)
                && before != now
            {
                let (name, address) = (own.name().as_str().to_owned(), now.address.clone());
                return Err(MembershipError::NameTaken { name, address });
            }
            known = holder;
            // A holder that lives sends a heartbeat during this pause. One that sends none is declared dead in the end.
            tokio::time::sleep(pace.heartbeat).await;
            database.within(rows::declare_dead(client)).await?;
        }
    }
}

impl MembershipPace {
    /// Returns for how long the node is certain of its right, from the moment at which it sends a heartbeat. The rest, up
    /// to the time at which the database takes it for dead, is for clocks of different speed, and for a thread that is
    /// held up between its look at the lease and what it then does.
    fn certain(&self) -> Duration {
        self.lease * 3 / 4
    }
}

/// Has all rooms stopped, and waits until none runs. Returns false if nobody takes orders.
async fn stop_all(orders: &mpsc::Sender<ShardOrder>) -> bool {
    loop {
        let (done, stopped) = oneshot::channel();
        if orders.send(ShardOrder::Stop { done }).await.is_err() {
            return false;
        }
        if stopped.await.is_ok() {
            return true;
        }
        tracing::error!("the order to stop all rooms was dropped; this is a bug of the runtime");
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests;
