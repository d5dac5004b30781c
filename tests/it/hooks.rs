//! The decisions of a party before a client reaches a room.

use room_tests::{Requests, Setup, TestClient, TestNode};
use serde_json::json;

async fn untouched(node: &TestNode) {
    assert_eq!(
        node.report("lobby").await["handled"],
        1,
        "the room received an event of a refused visitor"
    );
}

#[tokio::test]
async fn a_refused_socket_opens_and_closes_with_the_hooks_code() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?verdict=refuse").await;
    assert_eq!(client.closed().await, (4403, "not you".to_owned()));
    untouched(&node).await;
}

#[tokio::test]
async fn a_hooks_error_refuses_with_4401() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?verdict=err").await;
    assert_eq!(client.closed().await, (4401, "asked to fail".to_owned()));
    untouched(&node).await;
}

#[tokio::test]
async fn a_hooks_response_answers_the_handshake_unchanged() {
    let node = Setup::memory().start().await;
    let answer = TestClient::try_connect(node.addr(), "/party/lobby?verdict=respond", &[]).await;
    assert_eq!(answer.err(), Some(418));
    untouched(&node).await;
}

#[tokio::test]
async fn a_header_that_the_hook_adds_reaches_the_room() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?verdict=header").await;
    assert_eq!(client.text().await, "x-added: main/lobby");
    let seen = node.get("/party/lobby/reflect?verdict=header").await.json();
    assert!(seen["headers"].as_array().unwrap().contains(&json!(["x-added", "main/lobby"])));
}

#[tokio::test]
async fn the_hook_decides_about_plain_requests() {
    let node = Setup::memory().start().await;
    let ask = async |how: &str| {
        let reply = node.get(&format!("/party/lobby?verdict={how}")).await;
        (reply.status, reply.text())
    };
    assert_eq!(ask("refuse").await, (403, "not you".to_owned()));
    assert_eq!(ask("respond").await, (418, "teapot".to_owned()));
    assert_eq!(ask("err").await, (401, "asked to fail".to_owned()));
    assert_eq!(ask("panic").await.0, 500);
    assert_eq!(ask("respond-99").await.0, 500);
    assert_eq!(ask("refuse-1000").await.0, 500);
    untouched(&node).await;
}

#[tokio::test]
async fn a_failing_hook_refuses_its_client_and_affects_nobody_else() {
    let node = Setup::memory().limits(|limits| limits.turn_ms_max = 500).start().await;
    let mut friend = node.connect("other").await;
    for how in ["trap", "panic", "loop", "alloc", "recurse", "respond-99", "refuse-1000"] {
        let mut client = node.connect(&format!("lobby?verdict={how}")).await;
        assert_eq!(client.closed().await.0, 1011, "{how}");
        assert_eq!(friend.echo("fine").await, "fine");
    }
    untouched(&node).await;
}
