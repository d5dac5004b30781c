//! Messages that a client may miss, as their author tests them.

use room_sdk::ConnectionError;
use room_sdk::prelude::*;
use room_sdk::test::TestRoom;

/// Passes pointers on, and says how far it is.
#[derive(Default)]
struct Board;

impl Room for Board {
    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        match message.as_text() {
            Some("move") => {
                drop(ctx.broadcast(message).latest(format!("at:{}", conn.id())).except(conn))
            }
            Some("type") => drop(ctx.broadcast(message).volatile()),
            Some("far") => conn.send_as(&0.5, Delivery::Latest("far".to_owned()))?,
            Some("once") => conn.send_as("once", Delivery::Volatile)?,
            Some("plain") => conn.send_as("plain", Delivery::Reliable)?,
            Some("long") => ctx.broadcast(message).latest("k".repeat(129)).send()?,
            Some("empty") => drop(ctx.broadcast(message).latest("")),
            _ => bail!("no such message"),
        }
        Ok(())
    }
}

#[test]
fn a_test_sees_how_each_message_was_sent() {
    let room = TestRoom::<Board>::builder("lobby").history(9).build();
    let (ada, bob) = (room.connect("ada"), room.connect("bob"));
    let latest = |key: &str| Delivery::Latest(key.to_owned());
    for text in ["move", "type", "far", "once", "plain"] {
        ada.send_text(text);
    }
    let text = Message::text;
    let heard = [(text("move"), latest("at:ada")), (text("type"), Delivery::Volatile)];
    assert_eq!(bob.deliveries(), heard);
    let own = [
        (text("type"), Delivery::Volatile),
        (text("0.5"), latest("far")),
        (text("\"once\""), Delivery::Volatile),
        (text("\"plain\""), Delivery::Reliable),
    ];
    assert_eq!(ada.deliveries(), own);
}

#[test]
fn a_key_of_no_byte_or_too_many_is_refused() {
    let room = TestRoom::<Board>::new("lobby");
    let ada = room.connect("ada");
    for text in ["long", "empty"] {
        ada.send_text(text);
        let errors = room.take_errors();
        assert!(errors[0].contains("1 to 128 bytes"), "{errors:?}");
    }
    assert!(ada.deliveries().is_empty());
    assert_eq!(
        ConnectionError::InvalidKey(128).to_string(),
        "the key of a message has 1 to 128 bytes; raise latest_key_bytes_max in room.toml [limits], or take a shorter one"
    );
}
