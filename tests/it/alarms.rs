//! One alarm a room: durable, at least once, retried.

use room_tests::{Requests, Setup, TestNode, until};
use serde_json::{Value, json};

async fn rang(node: &TestNode, room: &str) {
    until(&format!("the alarm of {room}"), async || {
        let events = node.report(room).await["events"].clone();
        events.as_array().is_some_and(|events| events.contains(&json!(format!("alarm in {room}"))))
    })
    .await;
}

#[tokio::test]
async fn an_alarm_fires_once_and_is_removed() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    client.tell(json!([{"alarm_in": 20}])).await;
    assert_eq!(client.text().await, "alarm");
    let report = node.report("lobby").await;
    assert_eq!(report["alarm"], Value::Null);
    assert_eq!(report["events"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn an_alarm_wakes_a_room_that_left_memory() {
    let node = Setup::memory().limits(|limits| limits.idle_evict_ms = 20).start().await;
    node.post("lobby", &json!([{"alarm_in": 400}])).await;
    until("the room to be evicted", async || node.running().await == 0).await;
    rang(&node, "lobby").await;
}

#[tokio::test]
async fn an_alarm_survives_a_restart() {
    let node = Setup::disk().start().await;
    node.post("lobby", &json!([{"alarm_in": 300}])).await;
    node.post("later", &json!([{"alarm_in": 3_600_000}])).await;
    let node = node.restart().await;
    rang(&node, "lobby").await;
    assert!(node.report("later").await["alarm"].is_u64());
}

#[tokio::test]
async fn a_new_alarm_replaces_the_previous_one_and_delete_all_removes_it() {
    let node = Setup::memory().start().await;
    node.post("lobby", &json!([{"alarm_in": 3_600_000}])).await;
    node.post("lobby", &json!([{"alarm_in": 10}])).await;
    rang(&node, "lobby").await;
    node.post("lobby", &json!([{"alarm_in": 3_600_000}])).await;
    node.post("lobby", &json!(["delete_all"])).await;
    assert_eq!(node.report("lobby").await["alarm"], Value::Null);
}

#[tokio::test]
async fn a_failed_alarm_is_retried() {
    let node = Setup::memory().limits(|limits| limits.alarm_retry_ms_min = 5).start().await;
    // The instance counts failures, and an error does not cost the instance.
    node.post("lobby", &json!([{"put": ["alarm-fails", 3]}, {"alarm_in": 1}])).await;
    rang(&node, "lobby").await;
    assert_eq!(node.report("lobby").await["alarm"], Value::Null);
}

#[tokio::test]
async fn an_alarm_that_always_fails_is_dropped() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.alarm_retry_ms_min, limits.alarm_tries_max) = (1, 3);
    };
    let node = Setup::memory().limits(limits).start().await;
    node.post("lobby", &json!([{"put": ["alarm-fails", 1_000]}, {"alarm_in": 1}])).await;
    until("the alarm to be dropped", async || node.report("lobby").await["alarm"].is_null()).await;
    let mut client = node.connect("lobby").await;
    assert_eq!(client.echo("still here").await, "still here");
}

#[tokio::test]
async fn a_burst_of_alarms_leaves_slots_for_visitors() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.rooms_active_max, limits.place_wait_ms_max) = (4, 1_000);
    };
    let node = Setup::memory().limits(limits).start().await;
    let set = json!([{"put": ["alarm-sleeps", 200]}, {"alarm_in": 300}]);
    let rooms: Vec<String> = (0..30).map(|room| format!("room-{room}")).collect();
    for room in &rooms {
        assert_eq!(node.post(room, &set).await.status, 200);
    }
    rang(&node, "room-0").await;
    // Two alarms sleep at any time from now on, and two places are for visitors.
    for visitor in 0..10 {
        let path = format!("visited-{visitor}");
        assert_eq!(node.report(&path).await["starts"], 1);
    }
    for room in &rooms {
        rang(&node, room).await;
    }
}

#[tokio::test]
async fn an_alarm_knows_its_failed_tries_after_a_restart_too() {
    let node = Setup::disk().limits(|limits| limits.alarm_retry_ms_min = 200).start().await;
    // What is flushed stays, although the try fails.
    let steps = json!(["note_tries", "flush", "note_tries", "flush", {"err": "asked to fail"}]);
    node.post("lobby", &json!([{"plan": ["on_alarm", 3, steps]}, {"alarm_in": 1}])).await;
    let tries = async |node: &TestNode| -> Vec<String> {
        let events = node.report("lobby").await["events"].clone();
        let events: Vec<String> = serde_json::from_value(events).unwrap();
        events.into_iter().filter(|event| event.starts_with("try")).collect()
    };
    until("the first try", async || tries(&node).await.len() == 2).await;
    let node = node.restart().await;
    rang(&node, "lobby").await;
    assert_eq!(tries(&node).await, ["try 0", "try 0", "try 1", "try 1", "try 2", "try 2"]);
    // The next alarm starts at 0.
    let plan = json!({"plan": ["on_alarm", 1, ["note_tries"]]});
    node.post("lobby", &json!([plan, {"alarm_in": 1}])).await;
    until("the next alarm", async || tries(&node).await.len() == 7).await;
    assert_eq!(tries(&node).await.last().map(String::as_str), Some("try 0"));
}
