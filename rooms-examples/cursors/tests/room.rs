//! The cursors against the mock host: who sees whose, and that nothing is stored.

use room_sdk::test::TestRoom;
use serde_json::{Value, json};

use room_example_cursors::Cursors;

#[test]
fn a_cursor_is_shown_to_all_others_until_its_connection_closes() {
    let room = TestRoom::<Cursors>::new("page");
    let alice = room.connect("alice");
    let bob = room.connect("bob");
    alice.received();
    bob.received();
    alice.send(&json!({ "x": 0.25, "y": 7 }));
    alice.lose();
    let seen: Vec<Value> = bob.received_json();
    let update = json!({ "type": "update", "id": "alice", "x": 0.25, "y": 1.0 });
    assert_eq!(seen, [update, json!({ "type": "remove", "id": "alice" })]);
    assert!(alice.received().is_empty());
    assert!(room.take_errors().is_empty());
}

#[test]
fn a_later_client_sees_existing_cursors_even_after_a_reload() {
    let room = TestRoom::<Cursors>::new("page");
    let alice = room.connect("alice");
    alice.send(&json!({ "x": 0.5, "y": 0.5 }));
    room.restart();
    let bob = room.connect("bob");
    let cursors = json!([{ "id": "alice", "x": 0.5, "y": 0.5 }]);
    let sync = json!({ "type": "sync", "you": "bob", "cursors": cursors });
    assert_eq!(bob.received_json::<Value>(), [sync]);
    assert!(room.storage().is_empty());
}
