//! The lounge against the mock host: who may speak, and whose typing ends.

use room_example_lounge::{Guest, Lounge};
use room_sdk::Message;
use room_sdk::test::TestRoom;
use serde_json::{Value, json};

fn lounge() -> TestRoom<Lounge> {
    TestRoom::<Lounge>::builder("lobby").presence().build()
}

#[test]
fn a_message_has_the_name_and_the_color_that_its_client_shows() {
    let room = lounge();
    let (ada, bob) = (room.connect("ada"), room.connect("bob"));
    ada.show(&json!({ "name": "Ada", "color": "teal" })).unwrap();
    ada.send_text("hello");
    let said: Vec<Value> = bob.received_json();
    assert_eq!(said, [json!({ "name": "Ada", "color": "teal", "text": "hello" })]);
    let shown = &room.present_users::<Guest>()[0];
    assert_eq!((shown.data.name.as_str(), shown.flags.len()), ("Ada", 0));
}

#[test]
fn a_client_that_shows_no_name_says_nothing() {
    let room = lounge();
    let (ada, bob) = (room.connect("ada"), room.connect("bob"));
    ada.send_text("hello");
    ada.show(&json!("just a text")).unwrap();
    ada.send_text("hello");
    assert_eq!(bob.received(), Vec::<Message>::new());
    let errors = room.take_errors();
    assert!(errors.len() == 2 && errors[0].contains("say who you are"), "{errors:?}");
}
