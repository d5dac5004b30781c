//! The class of PartyServer, and the worker beside it: `class Served extends Server`.

use std::time::Duration;

use room_engine::ScriptRoom;
use room_sdk::prelude::*;
use room_sdk::test::{TestProject, TestRoom};
use serde_json::json;

use super::{GREETING, ask, bundle, lines, room, said, soon, texts};

#[test]
fn a_partyserver_room_knows_its_name_also_in_its_constructor() {
    let room = room("served.ts");
    let ada = room.connect("ada");
    assert_eq!(ask(&ada, "names"), json!(["lobby", "lobby", "lobby", "lobby", GREETING]));
    let [own, other] =
        &lines(&ask(&ada, "setName")).iter().map(|&text| text.to_owned()).collect::<Vec<_>>()[..]
    else {
        panic!("two answers")
    };
    assert_eq!(own, "nothing was thrown");
    assert!(other.contains("is called \"lobby\""), "{other}");
}

#[test]
fn a_partyserver_connection_has_its_id_as_its_first_tag() {
    let room = room("served.ts");
    let ada = room.client("ada").query("tag", "red").query("tag", "blue").connect();
    let connection = ask(&ada, "connection");
    assert_eq!(connection[1], json!(["ada", "red", "blue"]));
    assert_eq!(
        (&connection[2], &connection[3], &connection[4]),
        (&json!("lobby"), &json!(null), &json!(1))
    );
    assert_eq!(ask(&ada, "list red"), json!(["ada"]));
    assert_eq!(ask(&ada, "one ada"), json!([true, null]));
    assert_eq!(ask(&ada, "sockets"), json!([1, ["ada"], ["ada", "red", "blue"]]));
}

#[test]
fn on_close_gets_code_reason_and_whether_it_was_clean() {
    let room = room("served.ts");
    let watch = room.connect("watch");
    room.connect("ada").close(3005, "done");
    room.connect("bob").lose();
    room.connect("cy").send_binary(vec![0; 2 << 20]);
    let events = ask(&watch, "events");
    let events: Vec<&str> =
        lines(&events).into_iter().filter(|line| !line.starts_with("connect")).collect();
    assert_eq!(events[..3], ["start {}", "close ada 3005 done true 3", "close bob 1006  false 3"]);
    assert!(
        events[3].starts_with("error cy ") && events[4].starts_with("close cy 1009 "),
        "{events:?}"
    );
}

#[test]
fn a_request_to_partyserver_goes_through_fetch_and_is_404_by_default() {
    let room = room("served.ts");
    let answer = room.request(Request::get("/sub?x=1"));
    assert_eq!(answer.body_text(), "/parties/main/lobby/sub?x=1 null");
    assert_eq!(room.request(Request::get("/intercepted")).body_text(), "intercepted");
    let failed = room.request(Request::get("/throw"));
    assert!(failed.status_code() == 500 && !failed.body_text().contains("not an error"));
    room_engine::Script::new(
        "import { Server } from 'partyserver'; export class Bare extends Server {}",
    )
    .run_as("main");
    let bare = TestRoom::<ScriptRoom>::new("lobby").request(Request::get("/"));
    assert_eq!(said(&bare), "404 Not implemented");
}

#[test]
fn a_start_that_throws_is_tried_again_with_the_next_event() {
    bundle::bundle("compat/rooms/src/served.ts").run_as("main");
    let broken = TestRoom::<ScriptRoom>::builder("lobby").stored("broken", &true).build();
    for _ in 0..2 {
        let response = broken.request(Request::get("/"));
        assert_eq!(response.status_code(), 500);
        assert!(broken.last_error().is_some_and(|error| error.contains("it cannot start")));
        assert_eq!(broken.connect("ada").closed().map(|close| close.code), Some(1011));
    }
}

#[test]
fn a_query_in_sql_fails_and_on_exception_learns_of_it() {
    let room = room("served.ts");
    let ada = room.connect("ada");
    let refused = ask(&ada, "sql");
    assert!(
        refused.to_string().contains("rooms have no SQL: keep values in this.ctx.storage"),
        "{refused}"
    );
    assert_eq!(ask(&ada, "failures"), json!([refused]));
    assert!(ask(&ada, "sqlOfStorage").to_string().contains("rooms have no SQL"));
}

#[test]
fn an_auto_response_is_sent_without_the_rooms_handler() {
    let room = room("served.ts");
    let ada = room.connect("ada");
    assert_eq!(ask(&ada, "pair"), json!(["ping", "pong"]));
    ada.send_text("ping");
    assert_eq!(texts(&ada), ["pong"]);
    assert!(ask(&ada, "accept").to_string().contains("the server accepts WebSockets itself"));
}

#[test]
fn a_room_that_aborts_fails_its_turn() {
    let room = room("served.ts");
    let ada = room.connect("ada");
    ada.send_text("abort");
    assert_eq!(texts(&ada), [""; 0]);
    assert!(room.last_error().is_some_and(|error| error.contains("the room gives up")));
    assert_eq!(ask(&ada, "list"), json!(["ada"]));
}

#[test]
fn a_partyserver_alarm_has_the_rooms_name() {
    let room = room("served.ts");
    let ada = room.connect("ada");
    assert_eq!(ask(&ada, &format!("alarm {}", soon(&room, 1_000))), json!(null));
    room.hibernate();
    room.advance(Duration::from_millis(1_001));
    assert_eq!(texts(&ada), ["alarm of lobby"]);
}

#[test]
fn a_stub_of_another_room_has_fetch_and_the_public_methods_of_its_class() {
    bundle::bundle("compat/rooms/src/served.ts").run_as("served");
    let mut project = TestProject::new();
    let a: TestRoom<ScriptRoom> = project.room("served", "a");
    let b: TestRoom<ScriptRoom> = project.room("served", "b");
    let ada = a.connect("ada");
    for (question, answer) in
        [("add b 2", "2"), ("add b 3", "5"), ("ask b", "\"/parties/served/b/sub?x=1 null\"")]
    {
        ada.send_text(question);
        project.settle();
        assert_eq!(texts(&ada), [answer]);
    }
    assert_eq!(b.storage().get::<u32>("sum"), Some(5));
    assert_eq!(ask(&ada, "hinted"), json!("x"), "where a room should be is of no meaning here");
    assert!(ask(&ada, "props").to_string().contains("call a method of the room with them"));
}

#[test]
fn the_worker_of_a_partyserver_project_decides_as_it_routes_with_cors() {
    // The party `main` answers what belongs to no room.
    for party in ["main", "served"] {
        bundle::bundle("compat/rooms/src/served.ts").run_as(party);
    }
    let room = TestRoom::<ScriptRoom>::builder("lobby").party("served").build();
    let asked = |query: &str| room.request(Request::get(format!("/{query}")));
    let plain = asked("");
    assert_eq!(said(&plain), "200 /parties/served/lobby null");
    assert_eq!(plain.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        asked("?ask=seen").body_text(),
        "/parties/served/lobby/?ask=seen served Served lobby"
    );
    let answered = asked("?ask=answer");
    assert_eq!(
        (answered.status_code(), answered.header("access-control-allow-origin")),
        (403, Some("*"))
    );
    assert_eq!(asked("?ask=throw").status_code(), 401, "a hook that fails lets nobody in");
    assert_eq!(asked("?props=1").status_code(), 401);
    let logged = |text: &str| room.logs().iter().any(|line| line.message.contains(text));
    assert!(
        logged("the hook failed") && logged("set a header of the request"),
        "{:?}",
        room.logs()
    );
    let preflight = room.request(Request::new("OPTIONS", "/"));
    assert_eq!(said(&preflight), "200 ");
    assert_eq!(preflight.header("access-control-max-age"), Some("86400"));
    let other = room.fetch(Request::get("http://h/other")).expect("the worker answers");
    assert_eq!(said(&other), "404 the worker's own page");
    let refused = room.client("ada").query("ask", "answer").connect().response();
    assert_eq!(refused.map(|response| response.status_code()), Some(403));
    let ada = room.client("ada").query("ask", "seen").connect();
    let events = ask(&ada, "events");
    assert_eq!(lines(&events), ["start {}", "connect ada served Served lobby"]);
}
