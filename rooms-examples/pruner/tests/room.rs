//! The board against the mock host: old notes go at night, and a repeated call changes nothing.

use std::time::Duration;

use room_example_pruner::Board;
use room_sdk::Request;
use room_sdk::test::TestRoom;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn notes(room: &TestRoom<Board>) -> Vec<String> {
    serde_json::from_slice(room.request(Request::get("/")).body()).expect("a list of texts")
}

fn add(room: &TestRoom<Board>, text: &str) {
    assert_eq!(room.request(Request::post("/").with_body(text)).status_code(), 201);
}

#[test]
fn notes_that_are_older_than_a_week_are_pruned() {
    let room = TestRoom::<Board>::new("lobby");
    add(&room, "old");
    room.advance(5 * DAY);
    add(&room, "new");
    room.cron("prune", room.now());
    assert_eq!(notes(&room), ["old", "new"]);
    // The room sleeps, and the cron wakes it.
    room.hibernate();
    room.advance(3 * DAY);
    room.cron("prune", room.now());
    assert_eq!(notes(&room), ["new"]);
    room.cron("prune", room.now());
    assert_eq!(notes(&room), ["new"]);
    assert!(room.take_errors().is_empty());
}

#[test]
fn the_weekly_note_is_written_once_for_each_time() {
    let room = TestRoom::<Board>::new("weekly");
    let monday = room.now();
    room.cron("weekly", monday);
    room.cron("weekly", monday);
    room.cron("weekly", monday + 7 * DAY);
    assert_eq!(notes(&room).len(), 2);
    room.cron("unknown", monday);
    assert_eq!(room.take_errors(), ["no cron has the name \"unknown\""]);
}
