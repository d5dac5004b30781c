//! More rooms than places for their instances: which rooms go, which stay, which wait.

use futures_util::future::join_all;
use room_runtime::Limits;
use room_tests::{Dice, Requests, Setup, TestClient, TestNode, seed};
use serde_json::{Value, json};

/// Returns a node with so many places, whose rooms do not go by themselves.
async fn node(setup: Setup, places: u64) -> TestNode {
    let limits = |limits: &mut Limits| {
        (limits.rooms_active_max, limits.place_wait_ms_max) = (places, 15_000);
        (limits.idle_evict_ms, limits.hibernate_ms) = (3_600_000, 3_600_000);
    };
    setup.limits(limits).start().await
}

async fn live(node: &TestNode) -> u64 {
    node.live().await
}

#[tokio::test]
async fn a_newcomer_evicts_the_least_recently_used_idle_room() {
    let node = node(Setup::memory(), 2).await;
    let mut stays = node.connect("stays").await;
    node.report("old").await;
    assert_eq!(live(&node).await, 2);
    node.report("new").await;
    assert_eq!(live(&node).await, 2);
    assert_eq!(stays.echo("still here").await, "still here");
    let reports = [node.report("stays").await, node.report("old").await];
    assert_eq!(reports.map(|report| report["starts"].clone()), [json!(1), json!(2)]);
}

#[tokio::test]
async fn rooms_with_clients_are_never_evicted_and_newcomers_get_503() {
    let node = node(Setup::memory(), 2).await;
    let mut clients = [node.connect("one").await, node.connect("two").await];
    let reply = node.get("/party/three").await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    for (client, room) in clients.iter_mut().zip(["one", "two"]) {
        assert_eq!(client.echo("still here").await, "still here");
        assert_eq!(node.report(room).await["starts"], 1);
    }
    let [left, _stays] = clients;
    drop(left);
    room_tests::until("a place to be free", async || node.get("/party/three").await.status == 200)
        .await;
}

/// Sends so many messages to random rooms. Each room counts them in storage and answers.
async fn count(mut clients: Vec<(usize, TestClient)>, messages: usize, seed: u64) -> Vec<u64> {
    let mut dice = Dice(seed);
    let mut counted = vec![0; clients.len()];
    for _ in 0..messages {
        let at = dice.below(clients.len());
        let (_, client) = &mut clients[at];
        counted[at] += 1;
        let said = client.ask(json!([{"add": "n"}, {"set_state": counted[at]}])).await;
        assert_eq!(said, counted[at].to_string());
    }
    counted
}

#[tokio::test]
async fn more_rooms_than_slots_all_answer_and_lose_nothing() {
    const ROOMS: usize = 60;
    let node = node(Setup::memory().hibernate(), 4).await;
    let seed = seed();
    let rooms = (0..ROOMS)
        .map(async |room| (room, node.connect(&format!("room-{room}?_pk=me&tags=red")).await));
    let mut clients = join_all(rooms).await;
    assert!(live(&node).await <= 4);
    // A few clients send at the same time, each to rooms of its own.
    let mut talks = Vec::new();
    for talker in 0..6 {
        let own = clients.split_off(clients.len() - ROOMS / 6);
        talks.push(count(own, 100, seed.wrapping_add(talker)));
    }
    let mut counted: Vec<Vec<u64>> = join_all(talks).await;
    counted.reverse();
    for (room, count) in counted.concat().into_iter().enumerate() {
        let said = node.post(&format!("room-{room}"), &json!([{"get": "n"}])).await.json();
        let count = if count == 0 { Value::Null } else { json!(count) };
        assert_eq!(said, json!([count.to_string()]));
    }
    assert!(live(&node).await <= 4);
}

#[tokio::test]
async fn simultaneous_messages_to_all_rooms_are_answered_in_order() {
    let node = node(Setup::disk().hibernate(), 3).await;
    let mut clients =
        join_all((0..30).map(async |room| node.connect(&format!("room-{room}?_pk=me")).await))
            .await;
    let talks = clients.iter_mut().map(async |client| {
        for message in 0..10 {
            client.tell(json!([{"add": "n"}, {"say": message.to_string()}])).await;
        }
        for message in 0..10 {
            assert_eq!(client.text().await, (message + 1).to_string());
            assert_eq!(client.text().await, message.to_string());
        }
    });
    join_all(talks).await;
}

#[tokio::test]
async fn an_evicted_room_keeps_its_clients_their_state_and_their_tags() {
    let node = node(Setup::memory().hibernate(), 1).await;
    let mut client = node.connect("lobby?_pk=a&state=kept&tags=red,blue").await;
    let before = node.report("lobby").await;
    node.report("other").await;
    let after = node.report("lobby").await;
    assert_eq!((&before["starts"], &after["starts"]), (&json!(1), &json!(2)));
    assert_eq!(before["connections"], after["connections"]);
    node.report("other").await;
    assert_eq!(client.ask(json!(["state"])).await, r#""kept""#);
    node.report("other").await;
    assert_eq!(client.ask(json!([{"broadcast_tagged": ["red only", "red"]}])).await, "red only");
}

#[tokio::test]
async fn too_much_guest_memory_in_total_evicts_idle_rooms() {
    let limits = |limits: &mut Limits| {
        (limits.rooms_memory_bytes_max, limits.memory_bytes_max) = (40 << 20, 16 << 20);
        (limits.room_message_bytes_max, limits.response_bytes_max) = (8 << 20, 8 << 20);
    };
    let node = node(Setup::memory().limits(limits), 32).await;
    let keep = json!([{"keep": 10 << 20}]);
    for room in 0..8 {
        assert_eq!(node.post(&format!("room-{room}"), &keep).await.status, 200);
        assert!(live(&node).await <= 4);
    }
    // A room with connected clients is not evicted. If there are no other rooms, newcomers are refused.
    let mut clients = Vec::new();
    for room in 0..3 {
        let mut client = node.connect(&format!("kept-{room}")).await;
        assert_eq!(client.ask(json!([{"keep": 10 << 20}, {"say": "kept"}])).await, "kept");
        clients.push(client);
    }
    assert_eq!(node.get("/party/newcomer").await.status, 503);
    for (room, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.echo("still here").await, "still here");
        assert_eq!(node.report(&format!("kept-{room}")).await["starts"], 1);
    }
}
