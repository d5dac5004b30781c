//! The chat room against the mock host: what one sends, who sees what, and what stays.

use room_sdk::test::{TestClient, TestRoom};
use serde_json::{Value, json};

use room_example_chat::Chat;

/// What arrived since the last call, only the messages of one type.
fn received(client: &TestClient<Chat>, kind: &str) -> Vec<Value> {
    let mut messages = client.received_json::<Value>();
    messages.retain(|message| message["type"] == kind);
    messages
}

#[test]
fn every_client_reads_each_message() {
    let room = TestRoom::<Chat>::new("lobby");
    let alice = room.client("a").query("name", " Alice ").connect();
    let bob = room.connect("b");
    alice.send(&json!({ "type": "say", "text": " hi " }));
    for client in [&alice, &bob] {
        let said = received(client, "said");
        assert_eq!(said.len(), 1);
        assert_eq!((&said[0]["name"], &said[0]["text"]), (&json!("Alice"), &json!("hi")));
        assert_eq!(said[0]["at"], json!(room.now().as_millis()));
    }
    assert!(room.take_errors().is_empty());
}

#[test]
fn people_come_go_and_change_their_names() {
    let room = TestRoom::<Chat>::new("lobby");
    let alice = room.client("a").query("name", "Alice").connect();
    let bob = room.connect("b");
    bob.send(&json!({ "type": "name", "name": "Bob" }));
    bob.close(1000, "");
    let people: Vec<Value> =
        received(&alice, "people").iter().map(|m| m["people"].clone()).collect();
    let (a, b) = (json!({ "id": "a", "name": "Alice" }), json!({ "id": "b", "name": "Bob" }));
    let unnamed = json!({ "id": "b", "name": "someone" });
    assert_eq!(people, [json!([a]), json!([a, unnamed]), json!([a, b]), json!([a])]);
}

#[test]
fn history_keeps_the_last_hundred_in_order_and_outlives_the_instance() {
    let room = TestRoom::<Chat>::new("lobby");
    let alice = room.connect("a");
    for n in 0..105 {
        if n == 50 {
            room.hibernate();
        }
        alice.send(&json!({ "type": "say", "text": n.to_string() }));
    }
    room.restart();
    assert_eq!(room.storage().len(), 100);
    let welcome = received(&room.connect("b"), "welcome").remove(0);
    let texts: Vec<&str> = welcome["history"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|m| m["text"].as_str())
        .collect();
    let wanted: Vec<String> = (5..105).map(|n| n.to_string()).collect();
    assert_eq!(texts, wanted);
}

#[test]
fn the_welcome_has_the_greeting_also_after_a_reload() {
    let room = TestRoom::<Chat>::new("lobby");
    let alice = room.connect("a");
    let welcome = received(&alice, "welcome").remove(0);
    assert_eq!(welcome["you"], "a");
    room.restart();
    let greeting = received(&alice, "greeting").remove(0);
    assert_eq!(greeting["text"], welcome["greeting"]);
    assert!(alice.closed().is_none());
}

#[test]
fn empty_and_overlong_messages_are_refused() {
    let room = TestRoom::<Chat>::new("lobby");
    let alice = room.connect("a");
    for message in [
        json!({ "type": "say", "text": "  " }),
        json!({ "type": "say", "text": "x".repeat(2_001) }),
        json!({ "type": "name", "name": "" }),
        json!({ "type": "name", "name": "x".repeat(33) }),
    ] {
        alice.send(&message);
        assert_eq!(received(&alice, "error").len(), 1, "{message}");
    }
    assert!(room.storage().is_empty());
    alice.send_text("no JSON");
    assert_eq!(room.take_errors().len(), 1);
    assert!(alice.closed().is_none());
}
