//! The counter against the mock host: over WebSocket, over HTTP, and across restarts.

use room_sdk::Request;
use room_sdk::test::TestRoom;
use serde_json::{Value, json};

use room_example_counter::Counter;

#[test]
fn everyone_sees_each_step() {
    let room = TestRoom::<Counter>::new("lobby");
    let alice = room.connect("alice");
    let bob = room.connect("bob");
    alice.send(&json!("count"));
    bob.send(&json!("count"));
    let counts: Vec<Value> = bob.received_json();
    assert_eq!(counts, [json!({ "count": 0 }), json!({ "count": 1 }), json!({ "count": 2 })]);
    assert!(room.take_errors().is_empty());
}

#[test]
fn http_reads_and_counts() {
    let room = TestRoom::<Counter>::new("lobby");
    let alice = room.connect("alice");
    alice.received();
    assert_eq!(room.request(Request::get("/")).body_text(), r#"{"count":0}"#);
    assert_eq!(room.request(Request::post("/")).body_text(), r#"{"count":1}"#);
    assert_eq!(alice.received_json::<Value>(), [json!({ "count": 1 })]);
    let refused = room.request(Request::new("DELETE", "/"));
    assert_eq!((refused.status_code(), refused.header("Allow")), (405, Some("GET, POST")));
}

#[test]
fn the_count_outlives_the_instance() {
    let room = TestRoom::<Counter>::new("lobby");
    room.request(Request::post("/"));
    room.restart();
    assert_eq!(room.request(Request::post("/")).body_text(), r#"{"count":2}"#);
    assert_eq!(room.storage().get::<u64>("count"), Some(2));
}
