//! The way of a room into memory, and out of it.

use futures_util::future::join_all;
use room_tests::{Requests, Setup, guest, until};
use serde_json::json;

#[tokio::test]
async fn a_hundred_first_visitors_start_one_instance() {
    let node = Setup::memory().start().await;
    let ids: Vec<String> = (0..100).map(|id| format!("slow-start?_pk={id}")).collect();
    let mut clients = join_all(ids.iter().map(|id| node.connect(id))).await;
    for client in &mut clients {
        assert_eq!(client.echo("in").await, "in");
    }
    let report = node.report("slow-start").await;
    assert_eq!(report["starts"], 1);
    assert_eq!(report["connections"].as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn a_hundred_first_requests_start_one_instance() {
    let node = Setup::memory().start().await;
    let add = json!([{"add": "n"}]);
    let asked = (0..100).map(|_| node.post("slow-start", &add));
    for reply in join_all(asked).await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let report = node.report("slow-start").await;
    assert_eq!((&report["starts"], &report["handled"]), (&json!(1), &json!(101)));
}

#[tokio::test]
async fn broadcasts_of_on_start_do_not_reach_a_client_that_has_not_joined() {
    let node = Setup::memory().start().await;
    let mut first = node.connect("greet-start").await;
    assert_eq!(first.echo("in").await, "in");
}

#[tokio::test]
async fn a_failed_start_fails_its_visitor_and_the_next_visitor_retries() {
    let node = Setup::memory().start().await;
    let mut first = node.connect("fail-start-once").await;
    let (code, why) = first.closed().await;
    assert_eq!(code, 1011);
    assert!(why.contains("asked to fail once"), "{why}");
    let mut second = node.connect("fail-start-once").await;
    assert_eq!(second.echo("in").await, "in");
    // Each of many requests at once has an answer, whichever of them met the failure.
    let many = (0..20).map(|_| node.get("/party/fail-start-once-more"));
    let many = join_all(many).await;
    assert!(many.iter().all(|reply| matches!(reply.status, 200 | 500)), "{many:?}");
    assert_eq!(node.get("/party/fail-start-once-more").await.status, 200);
    // A start that only returns errors is not a fault that breaks a room.
    for _ in 0..20 {
        let reply = node.get("/party/fail-start-always").await;
        assert_eq!(reply.status, 500);
        assert!(reply.text().contains("asked to fail"), "{}", reply.text());
    }
}

#[tokio::test]
async fn an_idle_room_leaves_memory_and_keeps_its_state() {
    let node = Setup::memory().limits(|limits| limits.idle_evict_ms = 50).start().await;
    node.post("lobby", &json!([{"put": ["kept", 1]}])).await;
    until("the room to be evicted", async || node.running().await == 0).await;
    let report = node.report("lobby").await;
    assert_eq!((&report["starts"], &report["keys"]), (&json!(2), &json!(["kept"])));
}

#[tokio::test]
async fn a_room_with_a_connection_stays_in_memory() {
    let node = Setup::memory().limits(|limits| limits.idle_evict_ms = 20).start().await;
    let mut client = node.connect("visited").await;
    node.report("empty").await;
    until("the empty room to be evicted", async || node.running().await == 1).await;
    assert_eq!(client.echo("here").await, "here");
    assert_eq!(node.report("visited").await["starts"], 1);
}

#[tokio::test]
async fn new_code_takes_over_even_if_every_slot_is_taken() {
    let node = Setup::memory().limits(|limits| limits.rooms_active_max = 2).start().await;
    let mut clients = [node.connect("one").await, node.connect("two").await];
    let deployed = node.deploy(guest("puppet"), &[("NEW", "1")]).await.unwrap();
    assert_eq!((deployed.rooms, deployed.connections), (2, 2));
    for client in &mut clients {
        assert_eq!(client.echo("still here").await, "still here");
    }
}
