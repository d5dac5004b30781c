//! A guest's fault is its own: the limits of a guest, while a neighbour is being served. Every fault in every
//! callback is in `fault_matrix`.

use room_tests::{Requests, Setup, TestClient, until};
use serde_json::json;

/// Sends numbers to a room and expects each of them back, until it is stopped. Returns the number of answers.
fn neighbour(
    mut client: TestClient,
) -> (tokio::sync::oneshot::Sender<()>, tokio::task::JoinHandle<u32>) {
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let talking = tokio::spawn(async move {
        let mut count = 0;
        // A dropped sender stops it, too: its test has failed.
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            assert_eq!(client.echo(&count.to_string()).await, count.to_string());
            count += 1;
        }
        count
    });
    (stop, talking)
}

#[tokio::test]
async fn a_short_sleep_of_a_guest_is_not_a_fault_and_delays_nobody() {
    let node = Setup::memory().start().await;
    let (stop, talking) = neighbour(node.connect("neighbour").await);
    let mut client = node.connect("lobby").await;
    assert_eq!(client.ask(json!([{"sleep": 100}, {"say": "awake"}])).await, "awake");
    drop(stop);
    assert!(talking.await.unwrap() > 0);
}

#[tokio::test]
async fn a_flood_of_sends_is_refused_at_the_limit() {
    let node = Setup::memory().limits(|limits| limits.turn_sends_max = 100).start().await;
    let mut client = node.connect("lobby").await;
    // A guest that returns the refusal's error fails, and nothing is sent. One that ignores it has sent the messages
    // that fit.
    client.tell(json!(["flood"])).await;
    assert_eq!(client.echo("next").await, "next");
    client.tell(json!([{"flood_anyway": 1_000}])).await;
    for _ in 0..100 {
        assert_eq!(client.text().await, "flood");
    }
    assert_eq!(client.echo("next").await, "next");
    assert_eq!(node.report("lobby").await["starts"], 1);
}

#[tokio::test]
async fn an_oversized_value_is_refused_with_the_limits_name() {
    let node = Setup::memory().limits(|limits| limits.turn_writes_max = 50).start().await;
    let mut client = node.connect("lobby").await;
    for (step, words) in [
        (json!({"put_bytes": ["k", (1 << 20) + 1]}), "value_bytes_max"),
        (json!({"put": ["k".repeat(2_049), 1]}), "key_bytes_max"),
        (json!({"put": ["", 1]}), "key_bytes_max"),
        (
            json!({"put_many": 51}),
            "turn_writes_max = 50; raise turn_writes_max in room.toml [limits]",
        ),
        (json!({"list": {"start": "a", "start_after": "b"}}), "start"),
    ] {
        let reply = node.post("lobby", &json!([step])).await;
        assert_eq!(reply.status, 500);
        assert!(reply.text().contains(words), "{step}: {}", reply.text());
    }
    for step in [json!({"say_bytes": (32 << 20) + 1}), json!({"set_state": "x".repeat(20_000)})] {
        client.tell(json!([{"say": "lost"}, step])).await;
    }
    assert_eq!(client.echo("next").await, "next");
    assert_eq!(node.report("lobby").await["keys"], json!([]));
}

#[tokio::test]
async fn a_guest_sees_no_files_and_only_its_own_variables() {
    let node = Setup::memory().start().await;
    node.deploy(room_tests::guest("puppet"), &[("GREETING", "hello")]).await.unwrap();
    let asked = json!([{"var": "GREETING"}, "var_count", {"open": "/etc/passwd"}, {"open": "."}]);
    let said = node.post("lobby", &asked).await;
    assert_eq!(room_tests::script(&said), ["hello", "1", "false", "false"]);
}

#[tokio::test]
async fn logging_and_printing_are_bounded_and_harmless() {
    let node = Setup::memory().start().await;
    let lines = json!([{"log": "a\nb"}, {"print": "no end of line"}, {"print": "x\n".repeat(5_000)}, {"say": "done"}]);
    let said = node.post("lobby", &lines).await;
    assert_eq!(room_tests::script(&said), ["done"]);
}

#[tokio::test]
async fn a_room_that_faults_repeatedly_rests_and_recovers() {
    let node = Setup::memory()
        .limits(|limits| {
            limits.faults_max = 3;
            limits.broken_ms_min = 2_000;
        })
        .start()
        .await;
    let mut client = node.connect("lobby").await;
    for _ in 0..3 {
        assert!(node.post("lobby", &json!([{"panic": "again"}])).await.text().contains("trapped"));
    }
    let reply = node.get("/party/lobby").await;
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (500, "the room failed repeatedly and rests")
    );
    assert_eq!(reply.header("retry-after"), Some("1"));
    let mut other = node.connect("neighbour").await;
    assert_eq!(other.echo("fine").await, "fine");
    until("the room to recover", async || node.get("/party/lobby").await.status == 200).await;
    assert_eq!(client.echo("still here").await, "still here");
}

#[tokio::test]
async fn a_busy_guest_yields_its_thread_to_other_rooms() {
    // One thread runs everything here. Eight rooms compute on it, and the ninth is served in between.
    let node = Setup::memory().limits(|limits| limits.turn_ms_max = 500).start().await;
    let (stop, talking) = neighbour(node.connect("neighbour").await);
    let mut busy = Vec::new();
    for room in 0..8 {
        let mut client = node.connect(&format!("busy-{room}")).await;
        client.tell(json!(["loop"])).await;
        busy.push(client);
    }
    for client in &mut busy {
        assert_eq!(client.echo("free again").await, "free again");
    }
    drop(stop);
    assert!(talking.await.unwrap() > 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_busy_guest_keeps_no_socket_waiting_on_the_only_thread() {
    // The node has one thread, and this test another. A thread that always has a guest to run must still check its
    // sockets at every tick.
    let node = Setup::memory().start().await;
    let mut neighbour = node.connect("neighbour").await;
    let mut busy = node.connect("busy").await;
    assert_eq!(busy.ask(json!([{"say": "begun"}, "flush", "loop"])).await, "begun");
    let free = tokio::spawn(async move { busy.echo("free again").await });
    let mut heard = 0;
    while !free.is_finished() {
        assert_eq!(neighbour.echo("x").await, "x");
        heard += 1;
    }
    assert_eq!(free.await.unwrap(), "free again");
    // The guest computes for a hundred ticks.
    assert!(heard > 10, "{heard} messages in a hundred ticks");
}

/// Each loop takes its whole time. The room must not first work through the queue of clients that have left.
#[tokio::test]
async fn messages_of_departed_clients_are_dropped_while_the_guest_fails() {
    let node = Setup::memory()
        .limits(|limits| (limits.turn_ms_max, limits.faults_max) = (500, 1_000))
        .start()
        .await;
    let mut gone = Vec::new();
    for _ in 0..8 {
        gone.push(node.connect("lobby").await);
    }
    let mut stays = node.connect("lobby").await;
    for client in &mut gone {
        for _ in 0..8 {
            client.tell(json!(["loop"])).await;
        }
    }
    gone.clear();
    assert_eq!(stays.echo("still served").await, "still served");
    let secret = format!("Bearer {}", node.secret());
    let headers = [("authorization", secret.as_str())];
    let overview = node.request("GET", "/_room/admin/overview", &headers, &[]).await.json();
    let faults = overview["faults"].as_u64().unwrap();
    assert!(faults < 32, "{faults} of 64 messages of departed clients were handled");
}

#[tokio::test]
async fn a_room_uses_120_mib_of_memory_beside_another_one() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.memory_bytes_max, limits.turn_ms_max) = (128 << 20, 10_000);
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut other = node.connect("other").await;
    let mut client = node.connect("lobby").await;
    assert_eq!(client.ask(json!([{"leak": 120 << 20}, {"say": "kept"}])).await, "kept");
    assert_eq!(other.echo("works").await, "works");
    assert_eq!(client.ask(json!([{"leak": 1 << 20}, {"say": "more"}])).await, "more");
    assert_eq!(node.report("lobby").await["starts"], 1);
    // The bound is where it is set to be, and costs no one else anything.
    client.tell(json!([{"leak": 8 << 20}])).await;
    assert_eq!(client.echo("a fresh instance").await, "a fresh instance");
    assert_eq!(node.report("lobby").await["starts"], 2);
    assert_eq!(other.echo("works still").await, "works still");
}
