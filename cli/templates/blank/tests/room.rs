//! The room with simulated clients: no server, no network, no waiting.

use room_sdk::Message;
use room_sdk::test::TestRoom;

use {{crate}}::MyRoom;

#[test]
fn a_message_reaches_the_other_clients() {
    let room = TestRoom::<MyRoom>::new("lobby");
    let alice = room.connect("alice");
    let bob = room.connect("bob");
    bob.send_text("hi");
    let wanted = ["welcome to lobby", "bob joined", "hi"];
    assert_eq!(alice.received(), wanted.map(Message::text));
    assert_eq!(bob.received(), [Message::text("welcome to lobby")]);
}
