//! A text that is answered without the room.

use room_runtime::{DeployError, Limits};
use room_tests::{Got, Requests, Setup, auto_response, guest, until};
use serde_json::json;

#[tokio::test]
async fn a_ping_is_answered_without_the_room() {
    let node = Setup::memory().auto_response("ping", "pong").start().await;
    let mut client = node.connect("lobby?_pk=a").await;
    let before = node.report("lobby").await;
    for _ in 0..10 {
        assert_eq!(client.echo("ping").await, "pong");
    }
    // The room receives any other text, and every binary message.
    assert_eq!(client.echo("ping!").await, "ping!");
    client.send_binary(b"ping").await;
    assert_eq!(client.recv().await, Got::Binary(b"ping".to_vec()));
    let after = node.report("lobby").await;
    let handled = |report: &serde_json::Value| report["handled"].as_u64().unwrap();
    assert_eq!(handled(&after) - handled(&before), 3);
}

#[tokio::test]
async fn a_hibernated_room_stays_asleep_while_its_clients_ping() {
    let limits = |limits: &mut Limits| limits.hibernate_ms = 20;
    let node =
        Setup::memory().hibernate().auto_response("ping", "pong").limits(limits).start().await;
    let mut client = node.connect("lobby?_pk=a").await;
    let live = async || node.live().await;
    until("the room to sleep", async || live().await == 0).await;
    for _ in 0..100 {
        assert_eq!(client.echo("ping").await, "pong");
    }
    assert_eq!(live().await, 0);
    // The room wakes once, for this request.
    let report = node.report("lobby").await;
    assert_eq!((&report["starts"], &report["handled"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn open_sockets_use_the_auto_response_of_the_newest_deployment() {
    let node = Setup::memory().auto_response("ping", "pong").start().await;
    let mut client = node.connect("lobby?_pk=a").await;
    assert_eq!(client.echo("ping").await, "pong");
    // A deployment that fails changes nothing.
    let bad = room_tests::variant(&guest("puppet"), 1);
    let mut failed = node.party(bad, &[("START", "err")]);
    failed.auto_response = Some(auto_response("ping", "never"));
    assert!(node.deploy_project(vec![failed]).await.is_err());
    assert_eq!(client.echo("ping").await, "pong");
    let mut changed = node.party(guest("puppet"), &[]);
    changed.auto_response = Some(auto_response("hi", "hello"));
    node.deploy_project(vec![changed.clone()]).await.unwrap();
    assert_eq!(client.echo("hi").await, "hello");
    assert_eq!(client.echo("ping").await, "ping");
    changed.auto_response = None;
    node.deploy_project(vec![changed]).await.unwrap();
    assert_eq!(client.echo("hi").await, "hi");
}

#[tokio::test]
async fn an_answer_that_breaks_its_limit_is_refused() {
    let node = Setup::memory().start().await;
    let long = "x".repeat(2_049);
    for (request, response, words) in
        [("", "pong", "is empty"), (&long, "pong", "the request"), ("ping", &long, "the response")]
    {
        let mut party = node.party(guest("puppet"), &[]);
        party.auto_response = Some(auto_response(request, response));
        let error = node.deploy_project(vec![party]).await.unwrap_err();
        assert!(matches!(error, DeployError::AutoResponse { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    // The longest allowed text.
    let mut party = node.party(guest("puppet"), &[]);
    party.auto_response = Some(auto_response("ping", &long[1..]));
    node.deploy_project(vec![party]).await.unwrap();
    assert_eq!(node.connect("lobby").await.echo("ping").await, long[1..]);
}

#[tokio::test]
async fn a_client_that_pings_and_reads_nothing_is_closed_with_1013() {
    let limits = |limits: &mut Limits| {
        (limits.outbox_frames_max, limits.outbox_bytes_max) = (64, 1 << 20);
        limits.room_message_bytes_max = 1 << 20;
    };
    let answer = "x".repeat(2_048);
    let node = Setup::memory().auto_response("ping", &answer).limits(limits).start().await;
    let mut flood = node.connect("lobby?_pk=flood").await;
    let mut other = node.connect("lobby?_pk=other").await;
    // More answers than the kernel's buffers and the outbox hold.
    for _ in 0..20_000 {
        flood.try_send("ping").await;
    }
    assert_eq!(other.echo("ping").await, answer);
    let end = loop {
        match flood.recv().await {
            Got::Text(_) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Got::Close(1013, _) | Got::End), "{end:?}");
}
