//! Ticks of a room in memory: in a rhythm, never two waiting, gone with the room.

use room_tests::{Requests, Setup, TestClient, guest, until, variant};
use serde_json::json;

async fn ticks(client: &mut TestClient, count: usize) {
    for _ in 0..count {
        assert!(client.text().await.starts_with("tick "));
    }
}

#[tokio::test]
async fn ticks_come_until_they_are_stopped() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    client.tell(json!([{"tick": 10}])).await;
    ticks(&mut client, 5).await;
    let stop = json!(["stop_ticks", {"say": "stopped"}]);
    client.tell(stop.clone()).await;
    while client.text().await != "stopped" {}
    assert_eq!(client.echo("quiet").await, "quiet");
    let refused = node.post("lobby", &json!([{"tick": 9}])).await;
    assert!(refused.text().contains("tick_every_ms_min"), "{}", refused.text());
}

#[tokio::test]
async fn ticks_survive_reloads_and_faults() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    client.tell(json!([{"tick": 20}])).await;
    ticks(&mut client, 2).await;
    node.deploy(variant(&guest("puppet"), 1), &[("VERSION", "2")]).await.unwrap();
    while client.text().await != "tick 1" {}
    client.tell(json!([{"plan": ["on_tick", 1, ["trap"]]}])).await;
    // The instance is a new one, which counts from 1.
    while client.text().await != "tick 1" {}
    assert_eq!(node.report("lobby").await["version"], "2");
}

#[tokio::test]
async fn a_room_with_ticks_and_clients_does_not_hibernate_and_leaves_memory_without_them() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.hibernate_ms, limits.idle_evict_ms) = (30, 60);
    };
    let node = Setup::memory().hibernate().limits(limits).start().await;
    let mut client = node.connect("lobby").await;
    client.tell(json!([{"tick": 100}])).await;
    // Each pause is longer than the time to hibernate.
    ticks(&mut client, 4).await;
    assert_eq!(node.report("lobby").await["starts"], 1);
    drop(client);
    until("the room to leave memory", async || node.running().await == 0).await;
    let mut client = node.connect("lobby").await;
    assert_eq!(client.echo("no ticks").await, "no ticks");
}

#[tokio::test]
async fn events_do_not_hold_up_ticks_and_no_two_ticks_wait() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    client.tell(json!([{"tick": 10}])).await;
    ticks(&mut client, 1).await;
    let bearer = format!("Bearer {}", node.secret());
    let headers = [("authorization", bearer.as_str())];
    let seen = node.request("GET", "/_room/admin/rooms/main/lobby", &headers, &[]).await.json();
    assert_eq!(seen["ticks_ms"], json!(10));
    // Each message takes longer than a pause, so that one tick is due before the next message.
    for _ in 0..20 {
        client.tell(json!([{"sleep": 15}, {"say": "load"}])).await;
    }
    let (mut loads, mut between) = (0, 0);
    while loads < 20 {
        match client.text().await.as_str() {
            "load" => loads += 1,
            _ => between += usize::from(loads > 0),
        }
    }
    assert!(between >= 19, "{between} ticks between 20 messages");
}
