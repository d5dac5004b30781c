//! Code is replaced between turns, by code that works and by nothing else.

use room_runtime::{BodyDelivery, DeployError, PartyConfig, RetentionSettings, WhenQuiet};
use room_tests::{Requests, Setup, TestNode, guest, variant};
use serde_json::json;

#[tokio::test]
async fn new_code_takes_over_and_clients_notice_nothing() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?_pk=a&state=kept&tags=red").await;
    client.ask(json!([{"put": ["k", 1]}, {"say": "put"}])).await;
    let before = node.report("lobby").await;
    let deployed = node.deploy(variant(&guest("puppet"), 1), &[("VERSION", "2")]).await.unwrap();
    assert_eq!((deployed.rooms, deployed.connections), (1, 1));
    let after = node.report("lobby").await;
    assert_eq!((&after["version"], &after["starts"]), (&json!("2"), &json!(2)));
    for same in ["connections", "keys", "events"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!(client.ask(json!(["state"])).await, r#""kept""#);
    assert_eq!(client.ask(json!([{"broadcast_tagged": ["red", "red"]}])).await, "red");
}

#[tokio::test]
async fn no_message_is_lost_while_code_is_replaced() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    let talking = async {
        for message in 0..500 {
            assert_eq!(client.echo(&message.to_string()).await, message.to_string());
        }
    };
    let deploying = async {
        for mark in 0..5 {
            node.deploy(variant(&guest("puppet"), mark), &[]).await.unwrap();
        }
    };
    tokio::join!(talking, deploying);
    assert_eq!(node.report("lobby").await["starts"], 6);
}

#[tokio::test]
async fn new_code_that_does_not_start_never_replaces_what_works() {
    for how in ["err", "panic", "loop"] {
        let node = Setup::memory().limits(|limits| limits.turn_ms_max = 500).start().await;
        let mut client = node.connect("lobby?_pk=a&state=kept").await;
        let failed = node.deploy(variant(&guest("puppet"), 1), &[("START", how)]).await;
        assert!(
            matches!(&failed, Err(DeployError::Start { room, .. }) if room == "main/lobby"),
            "{failed:?}"
        );
        assert_eq!(client.ask(json!(["state"])).await, r#""kept""#);
        // A new room, too, runs the old code.
        assert_eq!(node.get("/party/new").await.status, 200);
    }
}

#[tokio::test]
async fn a_removed_party_closes_its_sockets() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    let party = PartyConfig {
        name: "other".to_owned(),
        was: None,
        module: guest("puppet").into(),
        vars: Vec::new(),
        when_quiet: WhenQuiet::Stay,
        auto_response: None,
        ttl: None,
        cors: None,
        request_bodies: BodyDelivery::Whole,
        retention: RetentionSettings::default(),
        presence: None,
        auth: None,
        sse: Default::default(),
    };
    node.deploy_project(vec![party]).await.unwrap();
    assert_eq!(client.closed().await.0, 1012);
    assert_eq!(node.get("/party/lobby").await.status, 404);
    assert_eq!(node.get("/parties/other/lobby").await.status, 200);
}

async fn refused(node: &TestNode, module: &[u8]) -> String {
    let error = node.deploy(module.into(), &[]).await.unwrap_err();
    assert!(matches!(error, DeployError::Load { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_module_that_is_not_a_room_is_refused_with_an_explanation() {
    let node = Setup::memory().limits(|limits| limits.module_bytes_max = 8 << 20).start().await;
    let mut client = node.connect("lobby").await;
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let forbidden = wat(r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#);
    let version = wat(r#"(component (import "room:runtime/log@0.9.0" (instance)))"#);
    let exports =
        wat(r#"(component (instance $i) (export "room:runtime/events@0.2.0" (instance $i)))"#);
    let shape = wat(r#"(component (instance $i) (export "room:runtime/events@0.1.0" (instance $i))
             (export "room:runtime/door@0.1.0" (instance $i)))"#);
    let too_large = vec![0; (8 << 20) + 1];
    let mut broken = guest("puppet").to_vec();
    broken.truncate(broken.len() / 2);
    for (module, words) in [
        (b"".to_vec(), "not WebAssembly"),
        (b"#!/bin/sh".to_vec(), "not WebAssembly"),
        (wat("(module)"), "core WebAssembly module"),
        (wat("(component)"), "does not export room:runtime/events@0.1.0"),
        (forbidden, "imports wasi:sockets/tcp@0.2.0"),
        (version, "version 0.9.0 of the room contract"),
        (exports, "version 0.2.0 of the room contract"),
        (shape, "does not fit the room contract"),
        (too_large, "module_bytes_max"),
        (broken, "does not compile"),
    ] {
        let text = refused(&node, &module).await;
        assert!(text.starts_with("party main: ") && text.contains(words), "{text}");
    }
    assert_eq!(client.echo("still here").await, "still here");
    assert_eq!(node.report("lobby").await["starts"], 1);
}
