//! A database with the nodes of a cluster. Pure set-up: what nodes do among themselves is not here.

use super::super::{Store, blocking};
use super::{limits, room};
use room_core::clock::Moment;
use room_core::limits::Limits;
use room_core::metrics::Metrics;
use room_database::testing::{TestPostgres, TestProxy};
use room_database::{Database, DatabaseSettings, Incarnation, Lease, SHARDS, ShardSet, shard_of};
use std::sync::Arc;
use std::time::Duration;

/// The project of a test that needs only one.
const PROJECT: &str = "chat";
/// No lease ends by itself while a test runs.
const LONG: Duration = Duration::from_secs(3_600);

/// A database that nodes share.
pub(super) struct Cluster {
    pub(super) server: Arc<TestPostgres>,
    name: String,
}

/// A node of it, which has joined.
pub(super) struct TestNode {
    pub(super) database: Database,
    pub(super) lease: Lease,
}

impl Cluster {
    /// Makes a database on the server of all tests.
    pub(super) fn start() -> Arc<Self> {
        Arc::new(Self::on(TestPostgres::shared()))
    }

    /// Makes a database on a server.
    pub(super) fn on(server: Arc<TestPostgres>) -> Self {
        let url = server.database();
        let name = url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
        Self { server, name }
    }

    /// Adds a node that owns these shards.
    pub(super) fn node(&self, shards: impl IntoIterator<Item = u16>) -> TestNode {
        self.node_by(self.server.port(), shards, &Limits::default())
    }

    /// As [`Cluster::node`], by way of a proxy.
    pub(super) fn node_behind(&self, proxy: &TestProxy, limits: &Limits) -> TestNode {
        self.node_by(proxy.port(), 0..SHARDS, limits)
    }

    /// Adds a node with these limits, which owns all shards.
    pub(super) fn node_with(&self, limits: &Limits) -> TestNode {
        self.node_by(self.server.port(), 0..SHARDS, limits)
    }

    fn node_by(
        &self,
        port: u16,
        shards: impl IntoIterator<Item = u16>,
        limits: &Limits,
    ) -> TestNode {
        let url = format!("postgres://room@127.0.0.1:{port}/{}?sslmode=disable", self.name);
        let settings = DatabaseSettings::parse(&url, None).unwrap();
        let opened = blocking(|| {
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(Database::open(&settings, limits))
        });
        let node = TestNode { database: opened.unwrap(), lease: Lease::none() };
        self.join(&node, shards);
        node
    }

    /// Gives a node a new incarnation, which owns these shards.
    pub(super) fn join(&self, node: &TestNode, shards: impl IntoIterator<Item = u16>) {
        let incarnation = self.sql(
            "INSERT INTO room.nodes (name, address, program, lease_ms)
             SELECT 'node ' || count(*), '', '', 3600000 FROM room.nodes RETURNING incarnation",
        );
        node.lease.renew(Incarnation(incarnation.parse().unwrap()), Moment::now(), LONG);
        node.lease.own(ShardSet::of(shards));
    }

    /// Declares a node's incarnation dead, as another node does.
    pub(super) fn declare_dead(&self, node: &TestNode) {
        let incarnation = node.lease.incarnation().0;
        self.sql(&format!(
            "SELECT FROM room.nodes WHERE incarnation = {incarnation} FOR UPDATE;
             UPDATE room.nodes SET alive = false WHERE incarnation = {incarnation}"
        ));
    }

    /// Runs a statement, and returns what it prints.
    pub(super) fn sql(&self, statement: &str) -> String {
        self.server.sql(&self.name, statement)
    }

    /// Waits until as many sessions wait for a lock.
    pub(super) async fn until_waiting(&self, sessions: usize) {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while self.sql(waiting) != sessions.to_string() {
            tokio::task::yield_now().await;
        }
    }
}

impl TestNode {
    pub(super) fn store(&self) -> Store {
        self.store_with(PROJECT, &limits())
    }

    pub(super) fn store_with(&self, project: &str, limits: &Limits) -> Store {
        let (database, lease) = (self.database.clone(), self.lease.clone());
        Store::shared(database, lease, project, limits, Metrics::new().store).unwrap()
    }

    /// Begins a transaction on a connection of its own, and runs a statement in it.
    pub(super) async fn locking(&self, statement: &str) -> room_database::DatabaseClient {
        let client = self.database.client().await.unwrap();
        client.batch_execute(&format!("BEGIN; {statement}")).await.unwrap();
        client
    }
}

/// Returns the shard of a room of the test's project.
pub(super) fn shard(name: &str) -> u16 {
    shard_of(PROJECT, &room(name))
}
