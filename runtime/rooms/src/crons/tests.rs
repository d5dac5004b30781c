//! Which planned times are called, by which clock, and what a crash, a failure or a deployment makes of them.

use super::*;
use crate::cluster::ProjectHomes;
use crate::rooms::{GuestHost, Guests, Party};
use hashbrown::HashMap;
use room_core::clock::Clock;
use room_core::config::{Cors, CronSetting, FetchHosts, Origins, WhenQuiet};
use room_core::event::{BodyDelivery, Request};
use room_core::id::PartyName;
use room_core::limits::Limits;
use room_core::metrics::Metrics;
use room_core::ttl::Served;
use room_guest::Code;
use room_store::{CronNote, CronNotes, Store};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Midnight of 15 November 2023 by UTC.
const MIDNIGHT: u64 = 1_700_006_400_000;

fn limits() -> Arc<Limits> {
    Arc::new(Limits {
        rooms_active_max: 32,
        door_instances_max: 1,
        crons_batch_max: 4,
        alarm_retry_ms_min: 1,
        alarm_tries_max: 3,
        ..Limits::default()
    })
}

/// A node that serves the puppet, whose clock starts at a chosen time.
struct CronNode {
    store: Store,
    rooms: Rooms,
    crons: Crons,
    metrics: Metrics,
    running: JoinHandle<()>,
}

impl CronNode {
    async fn start(dir: &Path, now_ms: u64, settings: &[CronSetting]) -> Self {
        let node = Self::idle(dir, now_ms, |_| true).await;
        node.deploy(settings);
        node
    }

    /// Starts a node without crons, on which these rooms live.
    async fn idle(
        dir: &Path,
        now_ms: u64,
        lives_here: impl Fn(&RoomId) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (limits, clock) = (limits(), Clock::at(Duration::from_millis(now_ms)));
        let (store, metrics) = (Store::open(dir, &limits).unwrap(), Metrics::new());
        let guests: Guests = GuestHost::alone(&limits).unwrap();
        let module = guests.engine.load(&room_test_guest::guest("puppet").into()).unwrap();
        let code = Code { module, vars: Arc::default(), mint: None };
        let (when_quiet, origins, cors) = (WhenQuiet::Stay, Origins::default(), Cors::Off);
        let party = Party {
            code,
            when_quiet,
            auto_response: None,
            lifetime: None,
            origins,
            cors,
            fetch_hosts: FetchHosts::default(),
            request_bodies: BodyDelivery::Whole,
            retention: None,
            presence: None,
            sse: Default::default(),
            webhooks: Default::default(),
            auth: None,
        };
        let (counts, times) = (metrics.rooms.clone(), (clock, Served::from(1)));
        let homes = ProjectHomes::default();
        let rooms = Rooms::new(store.clone(), times, &guests, counts, homes);
        rooms.deploy(HashMap::from([(main(), party)])).await.unwrap();
        let crons = Crons::new(rooms.clone(), lives_here);
        let running = tokio::spawn(crons.clone().run());
        Self { store, rooms, crons, metrics, running }
    }

    fn deploy(&self, settings: &[CronSetting]) {
        self.crons.replace(Cron::parse_all(settings, &[main()], &limits()).unwrap());
    }

    async fn ask(&self, room: &str, script: Option<&str>) -> serde_json::Value {
        let request = Request {
            method: if script.is_some() { "POST" } else { "GET" }.to_owned(),
            uri: format!("http://localhost/parties/main/{room}"),
            headers: Vec::new(),
            body: bytes::Bytes::copy_from_slice(script.unwrap_or_default().as_bytes()),
        };
        let room = RoomId::new(main(), room, 256).unwrap();
        let entrance = self.rooms.entrance(&room).unwrap();
        let response = self.rooms.request(&entrance, request, BodyDelivery::Whole).await;
        let response = response.unwrap().unwrap().whole().unwrap();
        assert_eq!(response.status, 200);
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Returns the planned times for which a room was called.
    async fn times(&self, room: &str) -> Vec<u64> {
        let report = self.ask(room, None).await;
        let events = report["events"].as_array().cloned().unwrap_or_default();
        let time = |event: &serde_json::Value| {
            event.as_str()?.strip_prefix("cron ")?.rsplit(' ').next()?.parse().ok()
        };
        events.iter().filter_map(time).collect()
    }

    fn note(&self, name: &str) -> Option<CronNote> {
        self.store.cron_notes().get(name).cloned()
    }

    /// Waits until the calls of a planned time have ended, and returns how.
    async fn ended(&self, name: &str) -> CronOutcome {
        let ended = async {
            loop {
                if let Some(outcome) = self.note(name).and_then(|note| note.outcome) {
                    return outcome;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(ended).await
    }

    async fn stop(self) {
        self.running.abort();
        drop(self.running.await);
        within(self.rooms.drain()).await;
        self.store.close();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}

fn main() -> PartyName {
    PartyName::parse("main").unwrap()
}

fn daily() -> CronSetting {
    CronSetting::new("prune", "0 3 * * *")
}

fn every_room() -> CronSetting {
    CronSetting { room: None, ..daily() }
}

#[tokio::test]
async fn a_cron_that_was_missed_is_called_once_with_its_last_time() {
    let dir = tempfile::tempdir().unwrap();
    let node = CronNode::start(dir.path(), MIDNIGHT, &[daily()]).await;
    // A new cron is not called for the past.
    assert_eq!(node.note("prune").unwrap().done_ms / MINUTE, MIDNIGHT / MINUTE);
    assert_eq!(node.crons.list()[0].next_ms, Some(MIDNIGHT + 3 * HOUR));
    node.stop().await;
    let node = CronNode::start(dir.path(), MIDNIGHT + 10 * DAY + 4 * HOUR, &[daily()]).await;
    let last = MIDNIGHT + 10 * DAY + 3 * HOUR;
    let outcome = node.ended("prune").await;
    assert_eq!((outcome.at_ms, outcome.rooms, outcome.dropped), (last, 1, 0));
    assert_eq!(node.times("prune").await, [last]);
    assert_eq!(node.crons.list()[0].next_ms, Some(last + DAY));
    node.stop().await;
    // Nothing was missed meanwhile.
    let node = CronNode::start(dir.path(), MIDNIGHT + 10 * DAY + 5 * HOUR, &[daily()]).await;
    assert_eq!(node.crons.list()[0].next_ms, Some(last + DAY));
    assert_eq!(node.times("prune").await, [last]);
    node.stop().await;
}

#[tokio::test]
async fn a_cron_is_called_at_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let at_ms = MIDNIGHT + 3 * HOUR;
    CronNode::start(dir.path(), MIDNIGHT, &[daily()]).await.stop().await;
    // On a slow machine the time passes while the node starts, and is called as a missed one.
    let node = CronNode::start(dir.path(), at_ms - 300, &[daily()]).await;
    assert_eq!(node.ended("prune").await.at_ms, at_ms);
    assert_eq!(node.times("prune").await, [at_ms]);
    node.stop().await;
}

#[tokio::test]
async fn a_crash_before_the_note_repeats_the_call_with_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    CronNode::start(dir.path(), MIDNIGHT, &[daily()]).await.stop().await;
    let before = std::fs::read(dir.path().join("crons")).unwrap();
    let at_ms = MIDNIGHT + 3 * HOUR;
    let node = CronNode::start(dir.path(), at_ms + HOUR, &[daily()]).await;
    node.ended("prune").await;
    node.stop().await;
    // The room's turn is durable, and the note is not.
    std::fs::write(dir.path().join("crons"), before).unwrap();
    let node = CronNode::start(dir.path(), at_ms + 2 * HOUR, &[daily()]).await;
    node.ended("prune").await;
    assert_eq!(node.times("prune").await, [at_ms, at_ms]);
    node.stop().await;
}

#[tokio::test]
async fn a_cron_for_all_rooms_calls_each_stored_room_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = CronNode::start(dir.path(), MIDNIGHT, &[every_room()]).await;
    for number in 0..50 {
        node.ask(&format!("room-{number}"), Some(r#"[{"put":["k",1]}]"#)).await;
    }
    node.stop().await;
    let node = CronNode::start(dir.path(), MIDNIGHT + DAY, &[every_room()]).await;
    let outcome = node.ended("prune").await;
    assert_eq!((outcome.rooms, outcome.dropped), (50, 0));
    for number in 0..50 {
        assert_eq!(node.times(&format!("room-{number}")).await, [MIDNIGHT + 3 * HOUR]);
    }
    assert!(node.metrics.text().contains("room_crons_delivered_total 50\n"));
    node.stop().await;
}

#[tokio::test]
async fn a_call_of_every_room_does_not_count_as_a_use() {
    let dir = tempfile::tempdir().unwrap();
    let node = CronNode::idle(dir.path(), MIDNIGHT, |_| true).await;
    let stored = |name: &str| {
        let head = "{\"room-export\":1,\"party\":\"main\",\"room\":\"NAME\",\"alarm\":null}\n{\"key\":\"k\",\"json\":1}";
        let text = head.replace("NAME", name);
        room_store::RoomContent::read(text.as_bytes(), &limits()).unwrap()
    };
    for name in ["prune", "other"] {
        node.store.import(stored(name), None).await.unwrap();
    }
    let all = CronSetting { name: "all".to_owned(), ..every_room() };
    node.deploy(&[daily(), all]);
    assert_eq!(within(node.crons.ask("all").unwrap()).await.unwrap().rooms, 2);
    let touch = async |name: &str| {
        let facts = node.store.facts(&RoomId::new(main(), name, 256).unwrap()).await;
        facts.unwrap().unwrap().touch
    };
    assert_eq!((touch("prune").await, touch("other").await), (None, None));
    assert_eq!(within(node.crons.ask("prune").unwrap()).await.unwrap().rooms, 1);
    assert!(touch("prune").await.is_some() && touch("other").await.is_none());
    node.stop().await;
}

#[tokio::test]
async fn a_failed_call_is_tried_again_and_dropped_after_the_last_try() {
    let dir = tempfile::tempdir().unwrap();
    let others = [daily(), CronSetting::new("fails", "0 3 * * *")];
    let node = CronNode::start(dir.path(), MIDNIGHT, &others).await;
    for (room, times) in [("prune", 2), ("fails", 99)] {
        let plan = format!(r#"[{{"plan":["on_cron",{times},[{{"err":"asked to fail"}}]]}}]"#);
        node.ask(room, Some(&plan)).await;
    }
    node.stop().await;
    let node = CronNode::start(dir.path(), MIDNIGHT + DAY, &others).await;
    let outcome = node.ended("prune").await;
    assert_eq!((outcome.rooms, outcome.dropped, outcome.error), (1, 0, None));
    let outcome = node.ended("fails").await;
    assert_eq!((outcome.rooms, outcome.dropped), (0, 1));
    let error = outcome.error.unwrap();
    assert!(error.contains("main/fails") && error.contains("asked to fail"), "{error}");
    let printed = node.metrics.text();
    for line in ["room_crons_failed_total 6\n", "room_crons_dropped_total 1\n"] {
        assert!(printed.contains(line), "{printed}");
    }
    // The next time is planned all the same.
    assert_eq!(node.crons.list()[1].next_ms, Some(MIDNIGHT + DAY + 3 * HOUR));
    node.stop().await;
}

#[tokio::test]
async fn an_operators_run_keeps_the_planned_times_and_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let node = CronNode::start(dir.path(), MIDNIGHT, &[daily()]).await;
    let done_ms = node.note("prune").unwrap().done_ms;
    let plan = r#"[{"plan":["on_cron",1,[{"sleep":20},{"err":"asked to fail"}]]}]"#;
    node.ask("prune", Some(plan)).await;
    let answer = node.crons.ask("prune").unwrap();
    assert_eq!(node.crons.ask("prune").unwrap_err(), CronAskError::Running);
    assert_eq!(node.crons.ask("nobody").unwrap_err(), CronAskError::Unknown);
    let outcome = within(answer).await.unwrap();
    assert_eq!((outcome.rooms, outcome.dropped), (0, 1));
    let outcome = within(node.crons.ask("prune").unwrap()).await.unwrap();
    assert_eq!((outcome.rooms, outcome.dropped), (1, 0));
    assert_eq!(node.times("prune").await, [outcome.at_ms]);
    let note = node.note("prune").unwrap();
    assert_eq!((note.done_ms, note.outcome), (done_ms, Some(outcome)));
    assert_eq!(node.crons.list()[0].next_ms, Some(MIDNIGHT + 3 * HOUR));
    node.stop().await;
}

#[tokio::test]
async fn rooms_of_other_nodes_are_left_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let node = CronNode::idle(dir.path(), MIDNIGHT, |room| !room.name().starts_with("away")).await;
    for room in ["here", "away-1", "away-2"] {
        node.ask(room, Some(r#"[{"put":["k",1]}]"#)).await;
    }
    let away = CronSetting { room: Some("away-1".to_owned()), ..daily() };
    node.deploy(&[CronSetting { name: "one".to_owned(), ..away }, every_room()]);
    assert_eq!(within(node.crons.ask("one").unwrap()).await.unwrap().rooms, 0);
    assert_eq!(within(node.crons.ask("prune").unwrap()).await.unwrap().rooms, 1);
    assert_eq!(node.times("here").await.len(), 1);
    assert!(node.times("away-1").await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn a_planned_call_of_a_room_on_another_node_does_not_hold_up_the_calls_of_this_node() {
    let dir = tempfile::tempdir().unwrap();
    let lives_here = |room: &RoomId| room.name() != "away";
    let away = CronSetting { room: Some("away".to_owned()), ..daily() };
    let settings = [CronSetting { name: "one".to_owned(), ..away }, daily()];
    let node = CronNode::idle(dir.path(), MIDNIGHT, lives_here).await;
    node.deploy(&settings);
    node.stop().await;
    let node = CronNode::idle(dir.path(), MIDNIGHT + DAY, lives_here).await;
    node.deploy(&settings);
    assert_eq!(node.ended("prune").await.rooms, 1);
    assert!(node.times("away").await.is_empty());
    assert_eq!(node.note("one").unwrap().outcome, None);
    node.stop().await;
}

#[tokio::test]
async fn a_removed_cron_ends_its_calls_and_a_changed_one_counts_from_now() {
    let dir = tempfile::tempdir().unwrap();
    let node = CronNode::start(dir.path(), MIDNIGHT, &[daily()]).await;
    let answer = node.crons.ask("prune").unwrap();
    node.deploy(&[]);
    assert!(within(answer).await.is_err());
    assert!(node.store.cron_notes().is_empty() && node.crons.list().is_empty());
    node.deploy(&[daily()]);
    node.stop().await;
    let changed = CronSetting::new("prune", "0 4 * * *");
    let node = CronNode::start(dir.path(), MIDNIGHT + 5 * DAY + 5 * HOUR, &[changed]).await;
    assert_eq!(node.crons.list()[0].next_ms, Some(MIDNIGHT + 6 * DAY + 4 * HOUR));
    assert!(node.times("prune").await.is_empty());
    node.stop().await;
}

#[test]
fn a_clock_that_was_set_back_silences_no_cron() {
    let mut table = CronTable::default();
    let cron = || daily().check(&limits()).unwrap();
    let setting = serde_json::to_string(&daily()).unwrap();
    let note = CronNote { setting, done_ms: MIDNIGHT + 365 * DAY, outcome: None };
    table.replace(vec![cron()], &CronNotes::from([("prune".to_owned(), note)]), MIDNIGHT);
    assert_eq!(table.list()[0].next_ms, Some(MIDNIGHT + 3 * HOUR));
    let (jobs, next) = table.due(MIDNIGHT + HOUR);
    assert_eq!((jobs.len(), next), (0, Some(MIDNIGHT + 3 * HOUR)));
    // A clock that is set forward makes one call of all times in between.
    let (jobs, _) = table.due(MIDNIGHT + 100 * DAY);
    assert_eq!(
        jobs.iter().map(|job| job.at_ms).collect::<Vec<_>>(),
        [MIDNIGHT + 99 * DAY + 3 * HOUR]
    );
    // Calls that are being made are not made twice.
    assert_eq!(table.due(MIDNIGHT + 200 * DAY).0.len(), 0);
    table.replace(vec![cron()], &CronNotes::new(), MIDNIGHT);
    assert_eq!(table.due(MIDNIGHT + 200 * DAY).0.len(), 0);
    assert!(table.ended(&jobs[0], &CronOutcome::default()));
    assert_eq!(table.due(MIDNIGHT + 200 * DAY).0.len(), 1);
}
