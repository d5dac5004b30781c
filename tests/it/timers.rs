//! Timers of a room: many, durable, at least once, retried, repeating.

use room_tests::{Requests, Setup, TestNode, guest, script, until, variant};
use serde_json::{Value, json};

const HOUR: i64 = 3_600_000;

/// Returns the timers that the room has handled, in order.
async fn fired(node: &TestNode, room: &str) -> Vec<String> {
    let events = node.report(room).await["events"].clone();
    let events = events.as_array().into_iter().flatten().filter_map(Value::as_str);
    events.filter_map(|event| event.strip_prefix("timer ")).map(str::to_owned).collect()
}

async fn all_fired(node: &TestNode, room: &str, tags: &[&str]) {
    until("the timers to fire", async || fired(node, room).await.len() >= tags.len()).await;
    assert_eq!(fired(node, room).await, tags);
}

async fn pending(node: &TestNode, room: &str) -> Vec<String> {
    script(&node.post(room, &json!(["timers"])).await)
}

/// Returns what the operator sees of the timers.
async fn seen(node: &TestNode, room: &str) -> Value {
    let bearer = format!("Bearer {}", node.secret());
    let headers = [("authorization", bearer.as_str())];
    let path = format!("/_room/admin/rooms/main/{room}");
    node.request("GET", &path, &headers, &[]).await.json()["timers"].clone()
}

async fn counted(node: &TestNode, name: &str) -> u64 {
    let text = node.get("/_room/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn timers_fire_in_the_order_of_their_times_and_cancelled_ones_do_not() {
    let node = Setup::memory().start().await;
    let set = json!([
        {"timer_in": [60, "late"]}, {"timer_in": [20, "soon"]}, {"timer_in": [30, "never"]},
        {"timer_cancel": "never"}, {"timer_in": [HOUR, "tomorrow"]}, "timers",
    ]);
    let said = script(&node.post("lobby", &set).await);
    assert_eq!(said, ["1", "soon,late,tomorrow"]);
    all_fired(&node, "lobby", &["soon", "late"]).await;
    assert_eq!(pending(&node, "lobby").await, ["tomorrow"]);
    let seen = seen(&node, "lobby").await;
    assert_eq!((&seen["count"], seen["next_ms"].is_u64()), (&json!(1), true));
    assert_eq!(counted(&node, "room_timers_delivered_total").await, 2);
}

#[tokio::test]
async fn a_timer_survives_a_restart_and_wakes_its_room() {
    let node = Setup::disk().limits(|limits| limits.idle_evict_ms = 20).start().await;
    node.post("lobby", &json!([{"timer_in": [300, "soon"]}, {"timer_in": [HOUR, "late"]}])).await;
    let node = node.restart().await;
    let seen = seen(&node, "lobby").await;
    assert_eq!((&seen["count"], seen["next_ms"].is_u64()), (&Value::Null, true));
    until("the room to be gone", async || node.running().await == 0).await;
    all_fired(&node, "lobby", &["soon"]).await;
    assert_eq!(pending(&node, "lobby").await, ["late"]);
}

#[tokio::test]
async fn an_alarm_and_timers_do_not_replace_each_other() {
    let node = Setup::memory().start().await;
    let set = json!([{"timer_in": [10, "one"]}, {"alarm_in": 20}, {"timer_in": [30, "two"]}]);
    node.post("lobby", &set).await;
    all_fired(&node, "lobby", &["one", "two"]).await;
    let events = node.report("lobby").await["events"].clone();
    assert_eq!(events, json!(["timer one", "alarm in lobby", "timer two"]));
    // A later alarm keeps no timer from firing, and a later timer no alarm.
    node.post("lobby", &json!([{"timer_in": [1, "three"]}, {"alarm_in": HOUR}])).await;
    all_fired(&node, "lobby", &["one", "two", "three"]).await;
    assert!(node.report("lobby").await["alarm"].is_u64());
}

#[tokio::test]
async fn missed_times_of_a_repeating_timer_are_delivered_once() {
    let node = Setup::disk().start().await;
    node.post("lobby", &json!([{"timer_every": [-10 * HOUR, HOUR, "tock"]}])).await;
    all_fired(&node, "lobby", &["tock"]).await;
    assert_eq!(pending(&node, "lobby").await, ["tock"]);
    let next_ms = seen(&node, "lobby").await["next_ms"].as_u64().unwrap();
    let now = room_runtime::clock::Clock::system().wall_ms();
    assert!(next_ms > now && next_ms <= now + HOUR.unsigned_abs(), "{next_ms} {now}");
    let node = node.restart().await;
    assert_eq!(seen(&node, "lobby").await["next_ms"], next_ms);
}

#[tokio::test]
async fn a_repeating_timer_fires_until_it_is_cancelled() {
    let node = Setup::memory().limits(|limits| limits.timer_every_ms_min = 5).start().await;
    node.post("lobby", &json!([{"timer_every": [0, 5, "tock"]}])).await;
    until("some times", async || fired(&node, "lobby").await.len() > 3).await;
    assert_eq!(script(&node.post("lobby", &json!([{"timer_cancel": "tock"}])).await), ["1"]);
    let times = fired(&node, "lobby").await.len();
    node.post("lobby", &json!([{"timer_in": [20, "end"]}])).await;
    until("the end", async || fired(&node, "lobby").await.contains(&"end".to_owned())).await;
    assert_eq!(fired(&node, "lobby").await.len(), times + 1);
}

#[tokio::test]
async fn a_failed_timer_is_retried_and_one_that_always_fails_is_dropped() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.alarm_retry_ms_min, limits.alarm_tries_max) = (1, 3);
    };
    let node = Setup::disk().limits(limits).start().await;
    let set = json!([{"timer_in": [0, "fails-2"]}, {"timer_in": [0, "fails-99"]},
        {"timer_every": [0, HOUR, "fails-77"]}]);
    node.post("lobby", &set).await;
    until("both to be dropped", async || counted(&node, "room_timers_dropped_total").await == 2)
        .await;
    all_fired(&node, "lobby", &["fails-2"]).await;
    // The repeating one goes on with its next time.
    assert_eq!(pending(&node, "lobby").await, ["fails-77"]);
    assert_eq!(counted(&node, "room_timers_failed_total").await, 2 + 4 + 4);
    // A trap costs the instance and not the timer.
    let plan = json!([{"plan": ["on_timer", 1, ["trap"]]}, {"timer_in": [0, "after a trap"]}]);
    node.post("lobby", &plan).await;
    all_fired(&node, "lobby", &["fails-2", "after a trap"]).await;
}

#[tokio::test]
async fn a_timer_fires_in_the_code_that_replaced_its_own() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?quiet=1").await;
    client.ask(json!([{"timer_in": [100, "kept"]}, {"say": "set"}])).await;
    node.deploy(variant(&guest("puppet"), 1), &[("VERSION", "2")]).await.unwrap();
    assert_eq!(client.text().await, "timer kept");
    assert_eq!(node.report("lobby").await["version"], "2");
}

#[tokio::test]
async fn a_failed_turn_keeps_its_hands_off_timers_and_delete_all_removes_them() {
    let node = Setup::memory().start().await;
    node.post("lobby", &json!([{"timer_in": [HOUR, "kept"]}])).await;
    let fails = json!([{"timer_cancel": "kept"}, {"timer_in": [0, "never"]}, {"err": "no"}]);
    assert_eq!(node.post("lobby", &fails).await.status, 500);
    assert_eq!(pending(&node, "lobby").await, ["kept"]);
    assert_eq!(script(&node.post("lobby", &json!(["delete_all", "timers"])).await), [""]);
    assert_eq!(seen(&node, "lobby").await["count"], 0);
}

#[tokio::test]
async fn a_flush_in_on_timer_does_not_lose_the_timer() {
    let node = Setup::memory().limits(|limits| limits.alarm_retry_ms_min = 1).start().await;
    // A plan flushes, and its second step fails the rest of the turn.
    let plan = json!([{"plan": ["on_timer", 1, [{"put": ["k", 1]}, "flush", {"err": "no"}]]},
        {"timer_in": [0, "again"]}]);
    node.post("lobby", &plan).await;
    all_fired(&node, "lobby", &["again"]).await;
    assert_eq!(pending(&node, "lobby").await, [""]);
    assert_eq!(counted(&node, "room_timers_failed_total").await, 1);
}

#[tokio::test]
async fn too_many_timers_are_a_named_error_and_lose_nothing() {
    let limits = |limits: &mut room_runtime::Limits| limits.timers_max = 100;
    let node = Setup::memory().limits(limits).start().await;
    node.post("lobby", &json!([{"timer_many": [100, HOUR]}])).await;
    for steps in [
        json!([{"timer_in": [0, "one more"]}]),
        json!(["delete_all", {"timer_many": [1_000_000, HOUR]}]),
    ] {
        let refused = node.post("lobby", &steps).await;
        assert_eq!(refused.status, 500);
        assert!(refused.text().contains("timers_max = 100"), "{}", refused.text());
    }
    for (every, name) in [(0, "shorter than 1000 ms"), (999, "timer_every_ms_min")] {
        let refused = node.post("other", &json!([{"timer_every": [0, every, "x"]}])).await;
        assert!(refused.text().contains(name), "{}", refused.text());
    }
    let long = json!([{"timer_in": [0, "x".repeat(257)]}]);
    assert!(node.post("other", &long).await.text().contains("timer_tag_bytes_max = 256"));
    assert_eq!(seen(&node, "lobby").await["count"], 100);
    assert_eq!(pending(&node, "other").await, [""]);
}

#[tokio::test]
async fn a_burst_of_timers_is_delivered_whole_and_visitors_are_answered_between() {
    let limits = |limits: &mut room_runtime::Limits| limits.timers_batch_max = 32;
    let node = Setup::disk().limits(limits).start().await;
    let mut client = node.connect("lobby").await;
    client.tell(json!([{"timer_many": [1_000, 0]}, {"say": "set"}])).await;
    let mut heard = 0;
    client.send("hello").await;
    let mut answered = None;
    while heard < 1_000 || answered.is_none() {
        match client.text().await.as_str() {
            "hello" => answered = Some(heard),
            text => heard += usize::from(text.starts_with("timer many-")),
        }
    }
    assert!(answered < Some(1_000), "the message waited for all timers");
    assert_eq!(pending(&node, "lobby").await, [""]);
    assert_eq!(counted(&node, "room_timers_delivered_total").await, 1_000);
}

#[tokio::test]
async fn timers_of_a_module_without_on_timer_are_dropped_with_an_error() {
    let node = Setup::memory().start().await;
    node.post("lobby", &json!([{"timer_in": [50, "nobody"]}])).await;
    let (known, other) = (b"room:runtime/timer-events@0.1.0", b"room:runtime/timer-evenxs@0.1.0");
    let mut module = guest("puppet").to_vec();
    let places = module.windows(known.len()).enumerate();
    let named: Vec<usize> =
        places.filter_map(|(at, bytes)| (bytes == known).then_some(at)).collect();
    assert!(!named.is_empty());
    for at in named {
        module[at..at + other.len()].copy_from_slice(other);
    }
    node.deploy(module.into(), &[]).await.unwrap();
    node.post("lobby", &json!([{"timer_in": [0, "nobody"]}, {"timer_in": [HOUR, "kept"]}])).await;
    until("it to be dropped", async || counted(&node, "room_timers_dropped_total").await >= 1)
        .await;
    until("the others to stay", async || pending(&node, "lobby").await == ["kept"]).await;
}
