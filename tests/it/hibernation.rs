//! Rooms that leave memory while their sockets stay, and the events that wake them.

use room_runtime::Limits;
use room_tests::{Requests, Setup, TestClient, TestNode, until};
use serde_json::{Value, json};

async fn node(setup: Setup) -> TestNode {
    let limits = |limits: &mut Limits| (limits.hibernate_ms, limits.idle_evict_ms) = (20, 20);
    setup.hibernate().limits(limits).start().await
}

/// Waits until no room has an instance.
async fn asleep(node: &TestNode) {
    until("every room to sleep", async || node.live().await == 0).await;
}

/// Returns the room's report, requested by a client of it.
async fn report(client: &mut TestClient) -> Value {
    serde_json::from_str(&client.ask(json!(["report"])).await).unwrap()
}

#[tokio::test]
async fn a_message_wakes_a_hibernated_room_with_its_connections() {
    let node = node(Setup::memory()).await;
    let mut a = node.connect("lobby?_pk=a&state=kept&tags=red,blue").await;
    let mut b = node.connect("lobby?_pk=b&more=1").await;
    let before = report(&mut a).await;
    for wakes in 1..4 {
        asleep(&node).await;
        let after = report(&mut b).await;
        let starts = before["starts"].as_u64().unwrap() + wakes;
        assert_eq!((&after["starts"], &after["handled"]), (&json!(starts), &json!(1)));
        assert_eq!(before["connections"], after["connections"]);
        assert_eq!(before["events"], after["events"]);
    }
    let [first, second] = [&before["connections"][0], &before["connections"][1]];
    assert_eq!((&first["id"], &first["state"]), (&json!("a"), &json!("kept")));
    assert_eq!(first["tags"], json!(["red", "blue"]));
    assert!(second["uri"].as_str().unwrap().ends_with("/parties/main/lobby?_pk=b&more=1"));
    assert_eq!(a.ask(json!(["state"])).await, r#""kept""#);
}

#[tokio::test]
async fn on_start_runs_before_the_waking_event_and_its_broadcast_reaches_all() {
    let node = node(Setup::memory()).await;
    let mut clients = Vec::new();
    for client in 0..5 {
        clients.push(node.connect(&format!("greet-start?_pk={client}&tags=red")).await);
    }
    asleep(&node).await;
    clients[2]
        .tell(json!([{"broadcast": "to all"}, {"broadcast_tagged": ["to red", "red"]}]))
        .await;
    for client in &mut clients {
        // It may also have slept while they connected.
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "to red") {
            heard.push(client.text().await);
        }
        assert!(heard.ends_with(&["started", "to all", "to red"].map(str::to_owned)), "{heard:?}");
    }
}

#[tokio::test]
async fn a_request_wakes_a_room() {
    let node = node(Setup::memory()).await;
    let mut client = node.connect("lobby?_pk=a").await;
    asleep(&node).await;
    assert_eq!(node.post("lobby", &json!([{"broadcast": "woken"}])).await.status, 200);
    assert_eq!(client.text().await, "woken");
}

#[tokio::test]
async fn a_new_client_wakes_a_room_and_sees_the_other_connections() {
    let node = node(Setup::memory()).await;
    let mut client = node.connect("lobby?_pk=a").await;
    asleep(&node).await;
    let _second = node.connect("lobby?_pk=b&join=1").await;
    assert_eq!(client.text().await, "joined b");
}

#[tokio::test]
async fn a_close_wakes_a_room_with_the_closed_connection() {
    let node = node(Setup::memory()).await;
    let mut leaves = node.connect("lobby?_pk=a&state=kept").await;
    let mut watches = node.connect("lobby?_pk=b&tags=watches").await;
    asleep(&node).await;
    leaves.close(Some((4000, "bye"))).await;
    assert_eq!(watches.text().await, "left a");
    let report = report(&mut watches).await;
    assert_eq!(report["events"][2], r#"close a 4000 "bye" clean=true state="kept""#);
    assert_eq!(report["connections"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_lost_connection_wakes_its_room() {
    let node = node(Setup::memory()).await;
    let lost = node.connect("lobby?_pk=a&state=kept").await;
    let mut watches = node.connect("lobby?_pk=b&tags=watches").await;
    asleep(&node).await;
    drop(lost);
    assert_eq!(watches.text().await, "left a");
    let end = r#"close a 1006 "" clean=false state="kept""#;
    assert_eq!(report(&mut watches).await["events"][2], end);
}

#[tokio::test]
async fn an_alarm_wakes_a_room_with_its_name_and_its_clients() {
    let node = node(Setup::memory()).await;
    let mut client = node.connect("lobby?_pk=a").await;
    client.tell(json!([{"alarm_in": 500}])).await;
    assert_eq!(client.echo("set").await, "set");
    asleep(&node).await;
    assert_eq!(client.text().await, "alarm");
    let report = report(&mut client).await;
    assert_eq!((&report["events"][1], &report["alarm"]), (&json!("alarm in lobby"), &Value::Null));
}

#[tokio::test]
async fn the_same_id_replaces_a_connection_of_a_hibernated_room() {
    let node = node(Setup::memory()).await;
    let mut old = node.connect("lobby?_pk=a&state=old").await;
    asleep(&node).await;
    let mut new = node.connect("lobby?_pk=a&state=new").await;
    assert_eq!(old.closed().await.0, 4409);
    let report = report(&mut new).await;
    assert!(report["events"][1].as_str().unwrap().starts_with("close a 4409 "), "{report}");
    assert_eq!(report["connections"][0]["state"], "new");
}

#[tokio::test]
async fn a_hibernated_room_wakes_with_new_code() {
    let node = node(Setup::memory()).await;
    let mut client = node.connect("lobby?_pk=a&state=kept").await;
    asleep(&node).await;
    let module = room_tests::variant(&room_tests::guest("puppet"), 1);
    let deployed = node.deploy(module, &[("VERSION", "2")]).await.unwrap();
    assert_eq!((deployed.rooms, deployed.connections), (1, 1));
    let report = report(&mut client).await;
    assert_eq!(
        (&report["version"], &report["connections"][0]["state"]),
        (&json!("2"), &json!("kept"))
    );
}

#[tokio::test]
async fn a_delayed_close_event_has_its_connection() {
    let limits =
        |limits: &mut Limits| (limits.rooms_active_max, limits.place_wait_ms_max) = (1, 20);
    let node = node(Setup::memory().limits(limits)).await;
    let mut client = node.connect("lobby?_pk=a&state=kept").await;
    asleep(&node).await;
    // Another room holds the only slot for a while.
    let sleep = json!([{"sleep": 1_500}]);
    let works = node.post("works", &sleep);
    let leaves = async {
        until("the other room to work", async || node.live().await == 1).await;
        client.close(None).await;
        client.closed().await;
        assert_eq!(node.get("/party/lobby").await.status, 503);
    };
    let (worked, ()) = tokio::join!(works, leaves);
    assert_eq!(worked.status, 200);
    until("the room to receive the close", async || {
        let reply = node.get("/party/lobby").await;
        reply.status == 200
            && reply.json()["events"][1] == r#"close a 1005 "" clean=true state="kept""#
    })
    .await;
}
