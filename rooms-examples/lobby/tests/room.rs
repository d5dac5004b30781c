//! The lobby and its rooms, without a server.

use room_example_lobby::{LOBBY, Meeting};
use room_sdk::prelude::*;
use room_sdk::test::TestProject;
use serde_json::{Value, json};

#[test]
fn the_lobby_shows_how_many_people_are_in_each_room() {
    let mut project = TestProject::new();
    let lobby = project.room::<Meeting>("main", LOBBY);
    let (red, blue) =
        (project.room::<Meeting>("main", "red"), project.room::<Meeting>("main", "blue"));
    let watcher = lobby.connect("watcher");
    let ada = red.connect("ada");
    let bob = red.connect("bob");
    let _eve = blue.connect("eve");
    project.settle();
    let rooms = json!({"type": "rooms", "rooms": [{"room": "blue", "people": 1}, {"room": "red", "people": 2}]});
    assert_eq!(watcher.received_json::<Value>().pop(), Some(rooms.clone()));
    assert_eq!(lobby.request(Request::get("/")).body_json::<Value>().unwrap(), rooms);
    assert_eq!(ada.received_json::<Value>().pop(), Some(json!({"type": "people", "people": 2})));

    ada.close(1000, "");
    bob.close(1000, "");
    project.settle();
    let left = json!({"type": "rooms", "rooms": [{"room": "blue", "people": 1}]});
    assert_eq!(watcher.received_json::<Value>().pop(), Some(left));
}

#[test]
fn only_the_lobby_takes_calls() {
    let room = room_sdk::test::TestRoom::<Meeting>::new("red");
    let failure = room.call(("main", "blue"), r#"{"people":1}"#).unwrap_err();
    assert_eq!(failure.code(), "refused");
    assert!(failure.to_string().contains("lobby"), "{failure}");
}
