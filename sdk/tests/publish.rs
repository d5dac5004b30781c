//! Transports of clients, and messages that other servers publish, as their author tests them.

use room_sdk::prelude::*;
use room_sdk::test::TestRoom;
use room_sdk::{Connection, Transport};

/// Counts what is published, and tells each client how it is connected.
#[derive(Default)]
struct Board;

impl Room for Board {
    fn on_connect(&mut self, _: &Context, conn: &Connection, _: &Request) -> Result {
        conn.send(Message::text(conn.transport().as_str()))
    }

    fn on_close(&mut self, ctx: &Context, conn: &Connection, _: room_sdk::Close) -> Result {
        ctx.storage().put("left", conn.transport().as_str())
    }

    fn on_publish(&mut self, ctx: &Context, message: Message) -> Result {
        let count: u64 = ctx.storage().get("count")?.unwrap_or_default();
        ctx.storage().put("count", &(count + 1))?;
        ensure!(message.as_text() != Some("fails"), "asked to fail");
        ctx.broadcast(message).except("bob");
        Ok(())
    }
}

/// A room without `on_publish`.
#[derive(Default)]
struct Plain;

impl Room for Plain {}

#[test]
fn a_room_knows_how_each_client_is_connected() {
    let room = TestRoom::<Board>::new("lobby");
    let ada = room.client("ada").transport(Transport::Sse).connect();
    let bob = room.connect("bob");
    assert_eq!(ada.received(), [Message::text("sse")]);
    assert_eq!(bob.received(), [Message::text("websocket")]);
    ada.lose();
    assert_eq!(room.storage().get::<String>("left").as_deref(), Some("sse"));
    // A newcomer with the id has its own.
    assert_eq!(room.connect("ada").received(), [Message::text("websocket")]);
}

#[test]
fn a_publication_is_a_turn_and_one_that_fails_leaves_nothing_but_its_error() {
    let room = TestRoom::<Board>::new("lobby");
    let (ada, bob) = (room.connect("ada"), room.connect("bob"));
    drop([ada.received(), bob.received()]);
    room.publish(Message::text("news"));
    assert_eq!((ada.received(), bob.received()), (vec![Message::text("news")], Vec::new()));
    room.publish(Message::text("fails"));
    assert!(ada.received().is_empty());
    assert_eq!(room.storage().get::<u64>("count"), Some(1));
    assert!(room.take_errors()[0].contains("asked to fail"));
}

#[test]
fn a_room_without_on_publish_sends_publications_to_all() {
    let room = TestRoom::<Plain>::new("lobby");
    let clients = [room.connect("ada"), room.client("bob").transport(Transport::Sse).connect()];
    room.publish(&serde_json::json!({"n": 1}));
    room.publish(Message::binary([1, 2]));
    for client in &clients {
        assert_eq!(client.received(), [Message::text("{\"n\":1}"), Message::binary([1, 2])]);
    }
}
