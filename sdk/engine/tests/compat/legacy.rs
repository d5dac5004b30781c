//! The first API of PartyKit: `export default { onConnect(ws, room) {} }`.

use std::time::Duration;

use room_engine::{Script, ScriptRoom};
use room_sdk::prelude::*;
use room_sdk::test::TestRoom;

use super::{room, said, soon, texts};

#[test]
fn handlers_of_an_object_get_the_room_as_an_argument() {
    let room = room("legacy.ts");
    let ada = room.client("ada").query("a", "1").connect();
    ada.send_text("hello");
    assert_eq!(texts(&ada), ["hello in lobby, with 1"]);
    ada.send_text(format!("alarm {}", soon(&room, 1_000)));
    room.advance(Duration::from_millis(1_001));
    assert_eq!(texts(&ada), ["alarm of lobby"]);
    let bob = room.connect("bob");
    bob.send_binary(vec![0; 2 << 20]);
    room.cron("nightly", room.now());
    let response = room.request(Request::get("/"));
    let body = response.body_text();
    let lines: Vec<&str> = body.lines().collect();
    assert_eq!(lines[..3], ["GET", "lobby", "connect ada lobby ?_pk=ada&a=1"]);
    assert!(lines[4].starts_with("error bob ") && lines[4].ends_with(" lobby"), "{lines:?}");
    assert_eq!(lines[5..], ["close bob lobby", "cron nightly function"]);
}

#[test]
fn listeners_of_a_connection_hear_messages_and_its_end() {
    let room = room("legacy.ts");
    let ada = room.client("ada").query("listen", "").connect();
    ada.send_text("one");
    ada.send_text("two");
    let answers =
        ["one in lobby, with 1", "heard one", "once one", "two in lobby, with 1", "heard two"];
    assert_eq!(texts(&ada), answers);
    ada.close(4002, "over");
    let response = room.request(Request::get("/"));
    assert!(
        response.body_text().ends_with("close ada lobby\nlistener 4002 over true"),
        "{response:?}"
    );
}

#[test]
fn hooks_of_an_object_run_before_its_rooms() {
    let room = room("legacy.ts");
    let refused = room.client("ada").query("refuse", "").connect().closed();
    let refused = refused.expect("the hook threw");
    assert_eq!((refused.code, refused.reason.as_str()), (4401, "not into lobby"));
    let response = room.request(Request::get("/?verdict"));
    assert_eq!(said(&response), "403 before lobby");
    let fetched = room.fetch(Request::get("http://h/other")).expect("unstable_onFetch answers");
    assert_eq!(fetched.body_text(), "/other GREETING");
}

#[test]
fn an_object_without_a_handler_for_connections_closes_them() {
    Script::new("export default { onRequest: () => new Response('hello') };").run_as("main");
    let room = TestRoom::<ScriptRoom>::new("lobby");
    let close = room.connect("ada").closed().expect("it is closed");
    assert_eq!((close.code, close.reason.as_str()), (1011, "No onConnect or onMessage handler"));
    assert_eq!(room.request(Request::get("/")).body_text(), "hello");
}
