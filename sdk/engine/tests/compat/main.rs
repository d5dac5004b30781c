//! What PartyKit and PartyServer promise, as far as a room without a server can show it: each observation of
//! `COMPATIBILITY.md` is a test. What needs sockets is in the command line's tests.

#[path = "../common/bundle.rs"]
mod bundle;
mod hooks;
mod legacy;
mod page;
mod partykit;
mod partyserver;
mod storage;

use room_engine::ScriptRoom;
use room_sdk::Response;
use room_sdk::test::{TestClient, TestRoom};
use serde_json::Value;

/// The variable that the rooms' projects have.
const GREETING: &str = "good day";

/// A room of one of the files in `rooms`.
fn room(file: &str) -> TestRoom<ScriptRoom> {
    bundle::bundle(&format!("compat/rooms/src/{file}")).run_as("main");
    TestRoom::<ScriptRoom>::builder("lobby").var("GREETING", GREETING).build()
}

/// The texts that a client got since it was last asked.
fn texts(client: &TestClient<ScriptRoom>) -> Vec<String> {
    let text = |message: &room_sdk::Message| message.as_text().unwrap_or("bytes").to_owned();
    client.received().iter().map(text).collect()
}

/// Asks the room something, and returns its only answer.
#[track_caller]
fn ask(client: &TestClient<ScriptRoom>, question: &str) -> Value {
    client.send_text(question);
    let answers = texts(client);
    let [answer] = &answers[..] else { panic!("{question} was answered with {answers:?}") };
    serde_json::from_str(answer).unwrap_or_else(|error| panic!("{question}: {answer}: {error}"))
}

/// The time of a room's clock in so many milliseconds.
fn soon(room: &TestRoom<ScriptRoom>, millis: u64) -> u64 {
    room.now().as_millis() + millis
}

/// The status and the text of a response.
fn said(response: &Response) -> String {
    format!("{} {}", response.status_code(), response.body_text())
}

/// The lines of an answer that is a list of texts.
fn lines(answer: &Value) -> Vec<&str> {
    answer.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn the_rooms_of_these_tests_have_no_errors_of_types() {
    let mut check = std::process::Command::new(bundle::npm_program("tsc"));
    check.args(["--noEmit", "--project"]).arg(bundle::file("compat/rooms/tsconfig.json"));
    let done = check.output().expect("npm installed it");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}
