//! Nodes for tests of rooms. Owns how they are made.
//!
//! Invariant: each runs the puppet as its only party, on a disk that obeys the test. It does not know the tests.

use super::super::*;
use super::TestNode;
use crate::cluster::ProjectHomes;
use room_core::limits::Limits;
use room_core::metrics::Metrics;
use room_store::testing::Disk;

impl TestNode {
    pub(super) async fn start() -> Self {
        Self::with(WhenQuiet::Stay, 4).await
    }

    pub(super) async fn with(when_quiet: WhenQuiet, rooms_active_max: u64) -> Self {
        Self::on(Disk::default(), when_quiet, rooms_active_max).await
    }

    /// Makes a node on a disk that may hold data already.
    pub(super) async fn on(disk: Disk, when_quiet: WhenQuiet, rooms_active_max: u64) -> Self {
        let limits = Limits { rooms_active_max, ..Limits::default() };
        Self::of(disk, limits, |party| party.when_quiet = when_quiet).await
    }

    /// Makes a node on such a disk, with these limits and a changed party.
    pub(super) async fn of(disk: Disk, limits: Limits, change: impl FnOnce(&mut Party)) -> Self {
        Self::among(ProjectHomes::default(), disk, limits, change).await
    }

    /// Makes such a node among others.
    pub(super) async fn among(
        homes: ProjectHomes,
        disk: Disk,
        limits: Limits,
        change: impl FnOnce(&mut Party),
    ) -> Self {
        let limits = Arc::new(Limits { door_instances_max: 1, ..limits });
        let guests = GuestHost::alone(&limits).unwrap();
        let module = guests.engine.load(&room_test_guest::guest("puppet").into()).unwrap();
        let metrics = Metrics::new();
        let store = disk.counted_store(&limits, metrics.store.clone());
        let times = (Clock::system(), Served::from(0));
        let rooms = Rooms::new(store, times, &guests, metrics.rooms.clone(), homes);
        let mut party = Party {
            code: Code { module, vars: Arc::default(), mint: None },
            when_quiet: WhenQuiet::Stay,
            auto_response: None,
            lifetime: None,
            origins: Origins::default(),
            cors: Cors::Off,
            fetch_hosts: FetchHosts::default(),
            request_bodies: Default::default(),
            retention: None,
            presence: None,
            sse: Default::default(),
            webhooks: Default::default(),
            auth: None,
        };
        change(&mut party);
        let name = PartyName::parse("main").unwrap();
        rooms.deploy(HashMap::from([(name, party)])).await.unwrap();
        Self { rooms, disk, metrics }
    }
}
