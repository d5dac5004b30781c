//! The task, its readers, and what is left of it after a restart.

use std::time::Duration;

use room_example_progress::Progress;
use room_sdk::Request;
use room_sdk::test::TestRoom;

const STEP: Duration = Duration::from_millis(200);

fn data(room: &room_sdk::test::TestResponse<Progress>) -> Vec<String> {
    room.take_events().into_iter().map(|(name, data)| format!("{name} {data}")).collect()
}

#[test]
fn a_reader_follows_the_task_to_its_end() {
    let room = TestRoom::<Progress>::new("lobby");
    assert_eq!(room.request(Request::post("/start?steps=3")).status_code(), 202);
    let reader = room.begin(Request::get("/events"));
    assert_eq!(data(&reader), [r#"progress {"done":0,"steps":3}"#]);
    room.advance(STEP);
    assert_eq!(data(&reader), [r#"progress {"done":1,"steps":3}"#]);
    // A second one starts with the present state, and leaves again.
    let other = room.begin(Request::get("/events"));
    assert_eq!(data(&other), [r#"progress {"done":1,"steps":3}"#]);
    other.leave();
    // The code is replaced in the middle.
    room.restart();
    room.advance(2 * STEP);
    let rest = [r#"progress {"done":2,"steps":3}"#, r#"done {"done":3,"steps":3}"#];
    assert_eq!(data(&reader), rest);
    assert!(reader.is_complete() && room.stream_ids().is_empty());
    assert_eq!(room.take_errors(), Vec::<String>::new());
}

#[test]
fn the_task_goes_on_when_nobody_watches_and_runs_once() {
    let room = TestRoom::<Progress>::new("lobby");
    assert_eq!(room.request(Request::post("/start?steps=2")).status_code(), 202);
    assert_eq!(room.request(Request::post("/start")).status_code(), 409);
    room.hibernate();
    room.advance(2 * STEP);
    let reader = room.begin(Request::get("/events"));
    assert_eq!(data(&reader), [r#"done {"done":2,"steps":2}"#]);
    assert_eq!(room.request(Request::post("/start?steps=0")).status_code(), 400);
    assert_eq!(room.request(Request::get("/")).status_code(), 404);
}
