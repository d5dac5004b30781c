//! Unused rooms: which of them expire, which do not, and the events of their guests.
//!
//! A ttl counts a node's time of service, so a test that needs days of it writes them into the folder of a stopped
//! node.

use crate::operated::Operated;
use room_runtime::Limits;
use room_tests::{EventStream, Origin, Requests, Setup, TestNode, guest, until, within};
use serde_json::{Value, json};

const HOUR: u64 = 3_600_000;

fn quick(limits: &mut Limits) {
    (limits.expiry_look_ms_max, limits.expiry_pause_ms) = (20, 1);
    (limits.alarm_retry_ms_min, limits.alarm_tries_max) = (1, 3);
    (limits.hibernate_ms, limits.idle_evict_ms) = (20, 20);
}

async fn counted(node: &TestNode, metric: &str) -> u64 {
    let text = node.get("/_room/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

async fn expired(node: &TestNode, rooms: u64) {
    until(&format!("{rooms} rooms to expire"), async || {
        counted(node, "room_expired_total").await >= rooms
    })
    .await;
    assert_eq!(counted(node, "room_expired_total").await, rooms);
}

/// Returns the node's report about a room to its operator. The request does not wake the room.
async fn inspect(node: &TestNode, room: &str) -> (u16, Value) {
    let secret = format!("Bearer {}", node.secret());
    let path = format!("/_room/admin/rooms/main/{room}");
    let reply = node.request("GET", &path, &[("authorization", &secret)], &[]).await;
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
}

/// Stops the node. After its next start it has served so many hours more.
async fn after(node: TestNode, hours: u64) -> Setup {
    let file = node.data_dir().unwrap().join("service");
    let setup = node.stop().await;
    let mut service: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let served = service["served_ms"].as_u64().unwrap();
    service["served_ms"] = json!(served + hours * HOUR);
    std::fs::write(&file, service.to_string()).unwrap();
    setup
}

#[tokio::test]
async fn an_unused_room_receives_on_expire_is_deleted_and_restarts_empty() {
    let node = Setup::memory().ttl("1s").limits(quick).start().await;
    let mut log = EventStream::follow(&node, "room=lobby&level=info").await;
    node.post("lobby", &json!([{"put": ["k", 1]}, {"alarm_in": 3_600_000}])).await;
    let texts = log.texts_to("expired").await;
    let last: Vec<_> = texts.iter().rev().take(2).rev().collect();
    assert_eq!(
        last,
        ["lobby expires after 0 events", "expired: nobody has used the room for its ttl"]
    );
    expired(&node, 1).await;
    until("the room to be forgotten", async || inspect(&node, "lobby").await.0 == 404).await;
    let report = node.report("lobby").await;
    assert_eq!((&report["starts"], &report["keys"]), (&json!(1), &json!([])));
    assert_eq!(report["alarm"], Value::Null);
}

#[tokio::test]
async fn a_connected_or_used_room_does_not_expire() {
    let node = Setup::memory().hibernate().ttl("1s").limits(quick).start().await;
    let mut client = node.connect("kept").await;
    client.ask(json!([{"put": ["k", 1]}, {"say": "put"}])).await;
    node.post("used", &json!([{"put": ["k", 1]}])).await;
    // Each of these takes a whole ttl. One room hibernates in it and the other one is asked now and then.
    for (count, name) in ["first", "second"].into_iter().enumerate() {
        node.post(name, &json!([{"put": ["k", 1]}])).await;
        until("a room to expire", async || {
            assert_eq!(node.report("used").await["keys"], json!(["k"]));
            counted(&node, "room_expired_total").await > count as u64
        })
        .await;
    }
    expired(&node, 2).await;
    assert_eq!(client.ask(json!([{"get": "k"}])).await, "1");
    // From now on no client uses it either.
    drop(client);
    expired(&node, 4).await;
    assert_eq!(node.report("kept").await["keys"], json!([]));
}

#[tokio::test]
async fn a_failed_on_expire_is_retried() {
    let node = Setup::memory().ttl("1s").limits(quick).start().await;
    for how in [json!({"err": "not yet"}), json!({"panic": "not yet"}), json!("trap")] {
        node.post("lobby", &json!([{"put": ["k", 1]}, {"plan": ["on_expire", 1, [how]]}])).await;
        let before = counted(&node, "room_expiries_retried_total").await;
        until("the room to expire", async || inspect(&node, "lobby").await.0 == 404).await;
        assert_eq!(counted(&node, "room_expiries_retried_total").await, before + 1);
    }
    expired(&node, 3).await;
}

#[tokio::test]
async fn a_room_whose_on_expire_always_fails_is_deleted_with_a_logged_error() {
    let node = Setup::memory().ttl("1s").limits(quick).start().await;
    let mut log = EventStream::follow(&node, "room=lobby&level=error").await;
    let plan = json!([{"put": ["k", 1]}, {"plan": ["on_expire", 1_000, [{"err": "never"}]]}]);
    node.post("lobby", &plan).await;
    let texts = log.texts_to("although").await;
    assert_eq!(
        texts.last().unwrap(),
        "expired: the room is deleted although on_expire failed 4 times"
    );
    expired(&node, 1).await;
    assert_eq!(counted(&node, "room_expiries_retried_total").await, 3);
    assert_eq!(node.report("lobby").await["keys"], json!([]));
}

#[tokio::test]
async fn a_room_that_wants_something_done_after_its_end_gets_an_error_and_ends() {
    let origin = Origin::of(200, "ok").await;
    let setup = Setup::memory().ttl("1s").limits(quick).fetch_hosts(&[origin.host()]);
    let node = setup.start().await;
    let fetch = json!({"ask": {"fetch": {"url": origin.url("/"), "tag": "t"}}});
    let best_effort =
        json!({"ask": {"fetch": {"url": origin.url("/"), "tag": "t", "best_effort": true}}});
    let call = json!({"ask": {"call": {"party": "main", "room": "x", "tag": "t", "script": []}}});
    let timer = json!({"timer_in": [1, "t"]});
    let asks = "ask another server or room";
    for (number, (step, what)) in
        [(fetch, asks), (best_effort, asks), (call, asks), (timer, "schedule a timer")]
            .into_iter()
            .enumerate()
    {
        let name = format!("lobby-{number}");
        let mut log = EventStream::follow(&node, &format!("room={name}&level=warn")).await;
        node.post(&name, &json!([{"put": ["k", 1]}, {"plan": ["on_expire", 1_000, [step]]}])).await;
        let texts = log.texts_to("although").await;
        let wanted = format!("on_expire cannot {what}: the room is deleted with this turn");
        assert!(texts.iter().any(|text| text.contains(&wanted)), "{texts:?}");
        until("the room to be gone", async || inspect(&node, &name).await.0 == 404).await;
    }
    assert!(origin.received().is_empty());
}

#[tokio::test]
async fn rooms_of_a_module_without_on_expire_are_served_and_expire() {
    let node = Setup::memory().ttl("1s").limits(quick).start_empty().await;
    let (known, other) = (b"room:runtime/expiry@0.1.0", b"room:runtime/exqiry@0.1.0");
    let mut module = guest("puppet").to_vec();
    let named: Vec<usize> = module
        .windows(known.len())
        .enumerate()
        .filter_map(|(at, bytes)| (bytes == known).then_some(at))
        .collect();
    assert!(!named.is_empty());
    for at in named {
        module[at..at + other.len()].copy_from_slice(other);
    }
    node.deploy(module.into(), &[]).await.unwrap();
    node.post("lobby", &json!([{"put": ["k", 1]}])).await;
    let plan = json!([{"plan": ["on_expire", 1_000, [{"err": "nobody asks"}]]}]);
    node.post("lobby", &plan).await;
    expired(&node, 1).await;
    assert_eq!(counted(&node, "room_expiries_retried_total").await, 0);
}

#[tokio::test]
async fn deadlines_survive_a_restart_and_a_longer_ttl_keeps_due_rooms() {
    let node = Setup::disk().ttl("1d").limits(quick).start().await;
    node.post("old", &json!([{"put": ["k", 1]}])).await;
    let (_, told) = inspect(&node, "old").await;
    let now = room_runtime::clock::Clock::system().wall_ms();
    let hours = told["expires_ms"].as_u64().unwrap().saturating_sub(now) / HOUR;
    assert!((26..=27).contains(&hours), "{told}");

    let node = after(node, 20).await.start().await;
    node.post("young", &json!([{"put": ["k", 1]}])).await;
    // The old one has been unused for 200 hours, and the young one for 180.
    let node = after(node, 180).await.ttl("7d").start().await;
    expired(&node, 1).await;
    until("it to be forgotten", async || inspect(&node, "old").await.0 == 404).await;
    assert_eq!(inspect(&node, "young").await.0, 200);
    // A party without a ttl keeps its rooms.
    let node = after(node, 9_000).await.no_ttl().start().await;
    assert_eq!(inspect(&node, "young").await.1["expires_ms"], Value::Null);
    assert_eq!(node.report("young").await["keys"], json!(["k"]));
}

#[tokio::test]
async fn a_ttl_that_is_new_or_shorter_leaves_every_room_its_whole_time() {
    let node = Setup::disk().limits(quick).start().await;
    node.post("old", &json!([{"put": ["k", 1]}])).await;
    let node = after(node, 9_000).await.ttl("2d").start().await;
    let expires = async |node: &TestNode| {
        let now = room_runtime::clock::Clock::system().wall_ms();
        let (_, told) = inspect(node, "old").await;
        told["expires_ms"].as_u64().unwrap().saturating_sub(now) / HOUR
    };
    assert!((53..=54).contains(&expires(&node).await));
    let node = after(node, 40).await.ttl("1d").start().await;
    assert!((26..=27).contains(&expires(&node).await));
    let node = after(node, 20).await.start().await;
    assert!((6..=7).contains(&expires(&node).await));
    let node = after(node, 7).await.start().await;
    expired(&node, 1).await;
}

#[tokio::test]
async fn a_deployed_ttl_reaches_the_rooms_and_an_invalid_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let mut release = operated.release(&guest("puppet"), "1").await;
    release["parties"][0]["ttl"] = json!("30 days");
    let said = operated.refused(400, "POST", "projects/chat/deploy", &release).await;
    assert!(said.contains("a ttl is a whole number with its unit"), "{said}");
    let told = async || {
        operated.server.addr().post("lobby", &json!([{"put": ["k", 1]}])).await;
        let path = "projects/chat/node/rooms/main/lobby";
        operated.good("GET", path, Value::Null).await["expires_ms"].clone()
    };
    release["parties"][0]["ttl"] = json!("30d");
    operated.good("POST", "projects/chat/deploy", release.clone()).await;
    let now = room_runtime::clock::Clock::system().wall_ms();
    let days = told().await.as_u64().unwrap().saturating_sub(now) / (24 * HOUR);
    assert!((33..=34).contains(&days), "{days}");
    release["parties"][0].as_object_mut().unwrap().remove("ttl");
    operated.good("POST", "projects/chat/deploy", release).await;
    assert_eq!(told().await, Value::Null);
    within("a server to stop", operated.server.drain()).await;
}
