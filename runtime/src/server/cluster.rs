//! A server as a node of a cluster. Owns how it joins and leaves, and how its rooms follow the shards that it has.
//!
//! Invariant: a node has no shard before it serves every project that it can load. The rooms of a shard are gone before
//! another node gets that shard. It does not know who decides about shards: `Membership` gives the orders.

use super::records::RecordHome;
use super::site::Site;
use super::vault::{Vault, VaultKey};
use super::{ServeError, ServerCore};
use crate::node::{NodePlace, PlacedRooms};
use room_core::config::PeerNode;
use room_core::limits::{Limits, ms};
use room_core::metrics::level;
use room_database::{
    ClusterNode, ClusterRecords, Database, DatabaseSettings, Lease, Membership, ShardMap,
    ShardOrder,
};
use room_rooms::rooms::Rooms;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// The cluster that a server belongs to.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The database that the nodes share.
    pub database: DatabaseSettings,
    /// The name of this node, and the clients' address at which the other nodes reach it.
    pub node: PeerNode,
    /// The key with which variables are sealed in the database. All nodes have the same.
    pub key: VaultKey,
}

/// This node among the others. Cheap to clone.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) membership: Membership,
    pub(super) place: NodePlace,
    pub(super) records: RecordHome,
    /// Whether all projects were opened.
    is_open: Arc<AtomicBool>,
}

/// The tasks of a node of a cluster.
pub(super) struct ClusterTasks {
    /// Ends the membership.
    leave: CancellationToken,
    membership: JoinHandle<()>,
    /// Ends what follows the records.
    stop: CancellationToken,
    following: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Joins the cluster. The node has no shard yet, and gets none before [`Cluster::open`].
    ///
    /// # Errors
    /// [`ServeError`]: the node is not in the cluster.
    ///
    /// # Cancel safety
    /// As [`Membership::join`].
    pub(super) async fn join(config: &ClusterConfig, limits: &Limits) -> Result<Self, ServeError> {
        let database = Database::open(&config.database, limits).await?;
        database.warn_of_losses().await?;
        let records = ClusterRecords::open(&config.database, limits).await?;
        let name = config.node.name().clone();
        let records = RecordHome::open(records, Vault::new(&config.key), name).await?;
        let program = env!("CARGO_PKG_VERSION");
        let membership = Membership::join_idle(&database, &config.node, program, limits).await?;
        let (lease, rooms) = (membership.lease().clone(), PlacedRooms::default());
        let place = NodePlace { database, lease, rooms };
        Ok(Self { membership, place, records, is_open: Arc::default() })
    }

    /// Starts to send heartbeats. The node has no shard yet.
    pub(super) fn run(&self, core: &ServerCore) -> ClusterTasks {
        let (leave, stop) = (CancellationToken::new(), CancellationToken::new());
        // An order is carried out in a task of its own, so one place is enough.
        let (orders, taken) = mpsc::channel(1);
        let (membership, leaving) = (self.membership.clone(), leave.clone());
        let membership = tokio::spawn(async move { membership.run(orders, leaving).await });
        tokio::spawn(core.clone().obey(taken));
        let following = vec![tokio::spawn(core.clone().show_figures(stop.clone()))];
        ClusterTasks { leave, membership, stop, following }
    }

    /// Takes shards, and follows the other nodes' changes. The server has opened its projects.
    ///
    /// # Errors
    /// [`ServeError`]: the node gets no shard.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the node may get shards.
    pub(super) async fn open(
        &self,
        core: &ServerCore,
        tasks: &mut ClusterTasks,
    ) -> Result<(), ServeError> {
        self.is_open.store(true, Ordering::Release);
        tasks.following.push(tokio::spawn(core.clone().follow(tasks.stop.clone())));
        Ok(self.membership.take_shards().await?)
    }

    /// Returns the nodes of the cluster as this one saw them last, and what is known of each.
    pub(super) fn nodes(&self) -> Value {
        let map = self.membership.map().borrow().clone();
        let nodes: Vec<Value> = map.nodes().iter().map(|node| shown(&map, node)).collect();
        json!({ "node": self.membership.own().name().as_str(), "nodes": nodes })
    }
}

/// Returns what an operator sees of a node.
fn shown(map: &ShardMap, node: &ClusterNode) -> Value {
    let figures: Value = serde_json::from_str(&node.figures).unwrap_or_default();
    let number = |name: &str| figures[name].as_u64();
    json!({
        "name": node.peer.name().as_str(),
        "address": node.peer.authority(),
        "program": node.program,
        "incarnation": node.incarnation.0,
        "started_ms": node.started_ms,
        "heartbeat_ms_ago": node.silent_ms,
        "draining": node.is_draining,
        "shards": map.shards_of(node.incarnation).len(),
        "rooms": number("rooms"),
        "sockets": number("sockets"),
    })
}

impl ClusterTasks {
    /// Hands all shards over, and leaves the cluster. The rooms of this node are gone then.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the other nodes take the shards over when the heartbeats end.
    pub(super) async fn leave(mut self, lease: &Lease, limits: &Limits) {
        self.leave.cancel();
        let max = limits.drain_ms_max.saturating_add(limits.drain_spread_ms);
        match tokio::time::timeout(ms(max), &mut self.membership).await {
            Ok(Ok(())) => tracing::info!("this node has left its cluster"),
            // It panicked, which was logged. The other nodes notice the end of its heartbeats.
            Ok(Err(_)) => lease.end(),
            Err(_) => {
                tracing::warn!(
                    "not all rooms were handed over within drain_ms_max; the other nodes take them over"
                );
                // Otherwise it would hand shards over while their rooms still close, which it does not see.
                self.membership.abort();
                drop((&mut self.membership).await);
                lease.end();
            }
        }
        self.stop.cancel();
        for task in self.following {
            drop(task.await);
        }
    }
}

impl ServerCore {
    /// Carries out the orders of the membership, until there are no more.
    async fn obey(self, mut orders: mpsc::Receiver<ShardOrder>) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => drop(running.spawn(self.clone().carry_out(order))),
                    None => break,
                },
                Some(_) = running.join_next() => {}
            }
        }
        running.join_all().await;
    }

    async fn carry_out(self, order: ShardOrder) {
        // An order whose giver is gone has no effect any more.
        match order {
            ShardOrder::Taken(_) => self.placed().iter().for_each(Rooms::took_shards),
            ShardOrder::Leave { shards, done } => {
                self.at_all(move |rooms| {
                    let shards = shards.clone();
                    async move { rooms.leave_shards(&shards).await }
                })
                .await;
                let _gone = done.send(());
            }
            ShardOrder::Stop { done } => {
                self.0.metrics.cluster.places_lost.increment(1);
                self.at_all(|rooms| async move { rooms.leave_all().await }).await;
                self.catch_up_before_rooms().await;
                let _gone = done.send(());
            }
        }
    }

    /// Does the same at all projects at once, and waits for its end.
    async fn at_all<F: Future<Output = ()> + Send + 'static>(&self, act: impl Fn(Rooms) -> F) {
        let mut running = JoinSet::new();
        for rooms in self.placed() {
            running.spawn(act(rooms));
        }
        running.join_all().await;
    }

    fn placed(&self) -> Vec<Rooms> {
        self.0.cluster.as_ref().map(|cluster| cluster.place.rooms.all()).unwrap_or_default()
    }

    fn open_sites(&self) -> Vec<Arc<Site>> {
        self.0.slots.all().into_iter().filter_map(|(_, site)| site.ok()).collect()
    }

    /// Brings all projects to the state of the records, before a node that was away gets rooms again.
    async fn catch_up_before_rooms(&self) {
        let Some(home) = self.records() else { return };
        // Otherwise the start opens them at this moment.
        let is_open = |cluster: &Cluster| cluster.is_open.load(Ordering::Acquire);
        if !self.0.cluster.as_ref().is_some_and(is_open) {
            return;
        }
        let pause = ms(self.0.limits.node_heartbeat_ms);
        while let Err(error) = self.catch_up_all(home).await {
            tracing::warn!(%error, "this node waits for the records of its cluster");
            if self.0.changes.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Sets the metrics of the cluster to what they are now.
    pub(super) fn set_cluster_metrics(&self) {
        let Some(cluster) = &self.0.cluster else { return };
        let (metrics, lease) = (&self.0.metrics.cluster, cluster.membership.lease());
        metrics.nodes.set(level(cluster.membership.map().borrow().nodes().len() as u64));
        metrics.shards.set(level(lease.owned().len() as u64));
        metrics.member.set(level(u64::from(lease.is_certain())));
        metrics.behind.set(level(self.count_behind() as u64));
    }

    /// Returns the number of projects that are not served here, or not in their newest version.
    pub(super) fn count_behind(&self) -> usize {
        let is_behind = |site: &Arc<Site>| site.behind().is_some();
        let all = self.0.slots.all();
        all.iter().filter(|(_, site)| site.as_ref().map_or(true, is_behind)).count()
    }

    /// Tells the other nodes with each heartbeat how many rooms and sockets there are here.
    async fn show_figures(self, stop: CancellationToken) {
        let mut due = tokio::time::interval(ms(self.0.limits.node_heartbeat_ms));
        while stop.run_until_cancelled(due.tick()).await.is_some() {
            let (mut rooms, mut sockets) = (0, 0);
            for site in self.open_sites() {
                let figures = site.figures();
                (rooms, sockets) = (rooms + figures.rooms, sockets + figures.sockets);
            }
            if let Some(cluster) = &self.0.cluster {
                cluster
                    .membership
                    .set_figures(json!({ "rooms": rooms, "sockets": sockets }).to_string());
            }
        }
    }
}
