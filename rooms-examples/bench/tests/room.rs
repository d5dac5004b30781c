//! The bench room against the mock host: each message does what it asks for, and no more.

use room_sdk::Message;
use room_sdk::test::TestRoom;

use room_example_bench::Bench;

#[test]
fn echo_and_cast_are_verbatim() {
    let room = TestRoom::<Bench>::new("r");
    let (a, b) = (room.connect("a"), room.connect("b"));
    assert_eq!(a.received(), [Message::text(r#"{"t":"hello"}"#)]);
    b.received();
    let (echo, cast) = (r#"{ "x":[1, 2],"t":"echo" }"#, r#"{"t":"cast","s":1,"pad":"…"}"#);
    a.send_text(echo);
    a.send_text(cast);
    assert_eq!(a.received(), [Message::text(echo), Message::text(cast)]);
    assert_eq!(b.received(), [Message::text(cast)]);
    assert!(room.take_errors().is_empty());
}

#[test]
fn incr_counts_durably() {
    let room = TestRoom::<Bench>::new("r");
    let a = room.connect("a");
    a.received();
    a.send_text(r#"{"t":"incr","s":7}"#);
    room.hibernate();
    a.send_text(r#"{"t":"incr","s":8}"#);
    let wanted = [r#"{"t":"count","s":7,"n":1}"#, r#"{"t":"count","s":8,"n":2}"#];
    assert_eq!(a.received(), wanted.map(Message::text));
    assert_eq!(room.storage().get::<u64>("n"), Some(2));
}

#[test]
fn an_unknown_command_fails_only_its_turn() {
    let room = TestRoom::<Bench>::new("r");
    let a = room.connect("a");
    a.send_text(r#"{"t":"?"}"#);
    assert_eq!(room.take_errors(), [r#"unknown message "?""#]);
    assert!(a.closed().is_none());
}
