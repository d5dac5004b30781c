//! The class API of PartyKit: `class Kit implements Party.Server`.

use std::time::Duration;

use room_engine::ScriptRoom;
use room_sdk::prelude::*;
use room_sdk::test::{TestProject, TestRoom};
use serde_json::json;

use super::{GREETING, ask, bundle, lines, room, said, soon, texts};

#[test]
fn a_partykit_room_knows_itself() {
    let room = room("kit.ts");
    let ada = room.connect("ada");
    assert_eq!(ask(&ada, "room"), json!(["lobby", "main", GREETING, true]));
    assert_eq!(ask(&ada, "same"), json!([true, null]));
}

#[test]
fn services_of_partykits_platform_say_what_to_use_instead() {
    let room = room("kit.ts");
    let ada = room.connect("ada");
    let said = ask(&ada, "absent");
    let said = lines(&said);
    assert_eq!(said.len(), 4);
    for (name, text) in ["ai", "assets", "vectorize", "bindings"].iter().zip(said) {
        let start = format!("room.context.{name} does not exist here: ");
        assert!(text.starts_with(&start), "{text}");
    }
    let sockets = ask(&ada, "stubSocket");
    assert_eq!(lines(&sockets).len(), 2);
    assert!(lines(&sockets).iter().all(|text| text.contains("use fetch() or call() of it")));
}

#[test]
fn a_partykit_connection_is_a_websocket_with_an_id_and_a_uri() {
    let room = room("kit.ts");
    let ada = room.client("ada").query("token", "x y").connect();
    let connection = ask(&ada, "connection");
    let uri = connection[1].as_str().expect("the uri is a text");
    assert!(uri.starts_with("http") && uri.contains("?_pk=ada&token=x"), "{uri}");
    assert_eq!(
        (&connection[0], &connection[2], &connection[3], &connection[4], &connection[5]),
        (&json!("ada"), &json!(true), &json!("lobby"), &json!(["ada"]), &json!(1))
    );
    assert_eq!(ask(&ada, "legacyNames"), json!([true, null, "arraybuffer", 1]));
}

#[test]
fn the_state_of_a_connection_is_null_until_it_is_set_and_set_state_returns_it() {
    let room = room("kit.ts");
    let ada = room.connect("ada");
    let states = json!([null, { "n": 1 }, { "n": 2 }, { "n": 2 }, { "n": 2 }]);
    assert_eq!(ask(&ada, "state"), states);
    assert_eq!(ask(&ada, "attach"), json!([null, { "a": 1 }]));
    assert_eq!(ask(&ada, "bigState 10000"), json!("nothing was thrown"));
    let refused = ask(&ada, "bigState 20000").to_string();
    assert!(refused.contains("16384"), "{refused}");
    // A function of `getConnectionTags` may set it, too.
    let bob = room.client("bob").query("state", "").connect();
    assert_eq!(ask(&bob, "state")[0], json!({ "from": "tags" }));
}

#[test]
fn connections_are_listed_in_the_order_in_which_they_joined_and_by_tag() {
    let room = room("kit.ts");
    let ada = room.client("ada").query("tag", "red").connect();
    let _bob = room.client("bob").query("tag", "blue").query("tag", "red").connect();
    let _cy = room.connect("cy");
    assert_eq!(ask(&ada, "list"), json!(["ada", "bob", "cy"]));
    assert_eq!(ask(&ada, "list red"), json!(["ada", "bob"]));
    assert_eq!(ask(&ada, "list cy"), json!(["cy"]), "the id is a tag");
    assert_eq!(ask(&ada, "list green"), json!([]));
    assert_eq!(ask(&ada, "one ada"), json!([true, null]));
    assert_eq!(ask(&ada, "map"), json!([["ada", "ada"], ["bob", "bob"], ["cy", "cy"]]));
}

#[test]
fn a_broadcast_reaches_all_but_those_that_are_named() {
    let room = room("kit.ts");
    let (ada, bob) = (room.connect("ada"), room.connect("bob"));
    ada.send_text("tell");
    assert_eq!((texts(&ada), texts(&bob)), (vec!["null".to_owned()], vec!["told".to_owned()]));
    ada.send_text("tellAll");
    assert_eq!(bob.received()[0].as_bytes(), [1, 2]);
}

#[test]
fn tags_have_the_bounds_of_partyserver_in_rooms_of_both_generations() {
    for file in ["kit.ts", "served.ts"] {
        let room = room(file);
        let tagged = |tags: &[&str]| {
            let client =
                tags.iter().fold(room.client("ada"), |client, tag| client.query("tag", tag));
            let code = client.connect().closed().map(|close| close.code);
            code.map(|code| (code, room.last_error().unwrap_or_default()))
        };
        assert_eq!(tagged(&["1", "2", "3", "4", "5", "6", "7", "8", "9"]), None);
        let refused = [
            (
                &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"][..],
                "A connection can only have 10 tags",
            ),
            (&[""], "A connection tag must not be an empty string."),
            (&[&"x".repeat(257)], "A connection tag must not exceed 256 characters"),
        ];
        for (tags, text) in refused {
            let (code, error) = tagged(tags).expect("it is refused");
            assert!(code == 1011 && error.contains(text), "{code} {error}");
        }
    }
}

#[test]
fn the_first_message_is_what_on_connect_sends() {
    let room = room("kit.ts");
    let ada = room.client("ada").query("hello", "").header("x-user", "a lovelace").connect();
    assert_eq!(texts(&ada), ["hello a lovelace"]);
    let bob = room.client("bob").query("hello", "").query("turnAway", "").connect();
    assert_eq!(texts(&bob), ["hello null"]);
    let close = bob.closed().expect("it was turned away");
    assert_eq!((close.code, close.reason.as_str()), (4003, "turned away"));
}

#[test]
fn an_on_connect_that_awaits_something_outside_goes_on_while_the_client_is_there() {
    let room = room("kit.ts");
    let ada = room.client("ada").query("later", "").connect();
    assert_eq!(texts(&ada), [""; 0]);
    assert_eq!(ask(&ada, "list"), json!(["ada"]));
    room.advance(Duration::from_millis(200));
    assert_eq!(texts(&ada), ["later"]);
}

#[test]
fn an_on_connect_that_throws_closes_with_1011_and_tells_the_client_nothing_of_the_code() {
    for file in ["kit.ts", "served.ts"] {
        let room = room(file);
        let ada = room.client("ada").query("fail", "").connect();
        let close = ada.closed().expect("it failed");
        assert_eq!((texts(&ada), close.code), (vec![], 1011));
        let secret = ["not today", "a secret of the author"];
        assert!(!secret.iter().any(|text| close.reason.contains(text)), "{}", close.reason);
        assert!(
            room.last_error().is_some_and(|error| secret.iter().any(|text| error.contains(text)))
        );
    }
}

#[test]
fn a_message_arrives_as_text_or_as_an_array_buffer_also_if_it_is_empty() {
    let room = room("kit.ts");
    let ada = room.connect("ada");
    for (bytes, seen) in [(vec![7, 8], json!([true, [7, 8]])), (vec![], json!([true, []]))] {
        ada.send_binary(bytes);
        assert_eq!(ask(&ada, "last"), seen);
    }
    ada.send_text("");
    assert_eq!(ask(&ada, "last"), json!(""));
}

#[test]
fn a_message_handler_that_throws_leaves_the_connection_open() {
    let room = room("kit.ts");
    let ada = room.connect("ada");
    ada.send_text("throw");
    assert_eq!((texts(&ada), ada.closed()), (vec![], None));
    assert!(room.last_error().is_some_and(|error| error.contains("the author failed")));
    assert_eq!(ask(&ada, "one ada"), json!([true, null]));
}

#[test]
fn a_close_by_the_room_has_its_code_and_nothing_is_sent_after_it() {
    let room = room("kit.ts");
    for (question, code, reason) in [("close", 1005, ""), ("close 4001 bye", 4001, "bye")] {
        let ada = room.connect("ada");
        ada.send_text(question);
        let close = ada.closed().expect("the room closed it");
        assert_eq!((close.code, close.reason.as_str()), (code, reason), "{question}");
    }
    let (ada, bob) = (room.connect("ada"), room.connect("bob"));
    ada.send_text("closeThenSend");
    assert_eq!(ada.closed().map(|close| close.code), Some(4001));
    let seen = json!([2, "Can't call WebSocket send after close.", 1]);
    assert_eq!(ask(&bob, "last"), seen, "CLOSING, and not listed any more");
}

#[test]
fn on_close_sees_a_closed_connection_that_is_not_listed() {
    let room = room("kit.ts");
    let (ada, bob) = (room.connect("ada"), room.connect("bob"));
    ada.close(3005, "done");
    let events = ask(&bob, "events");
    assert_eq!(lines(&events).last(), Some(&"close ada 3 false"));
    let cy = room.connect("cy");
    cy.send_binary(vec![0; 2 << 20]);
    let events = ask(&bob, "events");
    let [.., error, close] = &lines(&events)[..] else { panic!("{events}") };
    assert!(error.starts_with("error cy ") && error.contains("1048576"), "{error}");
    assert_eq!((*close, cy.closed().map(|close| close.code)), ("close cy 3 false", Some(1009)));
}

#[test]
fn a_connection_whose_id_comes_again_is_closed_before_the_new_one_connects() {
    let room = room("kit.ts");
    let old = room.connect("ada");
    let new = room.connect("ada");
    assert_eq!(old.closed().map(|close| close.code), Some(4409));
    assert_eq!(ask(&new, "list"), json!(["ada"]));
    let events = ask(&new, "events");
    let order = ["tags ada", "connect ada", "close ada 3 false", "tags ada", "connect ada"];
    assert_eq!(lines(&events), [&["constructor lobby", "start"][..], &order].concat());
    // The end of the old one takes nothing from the new one.
    assert_eq!(ask(&new, "one ada"), json!([true, null]));
}

#[test]
fn a_room_that_wakes_is_made_and_started_and_does_not_connect_anybody_again() {
    let room = room("kit.ts");
    let ada = room.client("ada").query("tag", "red").connect();
    assert_eq!(ask(&ada, "state")[3], json!({ "n": 2 }));
    room.hibernate();
    let events = ask(&ada, "events");
    assert_eq!(lines(&events), ["constructor lobby", "start"]);
    assert_eq!(ask(&ada, "list red"), json!(["ada"]));
    let connection = ask(&ada, "connection");
    assert!(connection[1].as_str().is_some_and(|uri| uri.contains("tag=red")), "{connection}");
    assert_eq!(connection[4], json!(["ada", "red"]));
    assert_eq!(ask(&ada, "state")[0], json!({ "n": 2 }));
}

#[test]
fn a_request_of_any_method_and_path_below_the_room_reaches_on_request() {
    let room = room("kit.ts");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"] {
        let request = Request::new(method, "/deep/path?q=1&q=2");
        let body = if ["GET", "HEAD"].contains(&method) { "" } else { "body" };
        let response = room.request(request.with_body(body));
        let seen = format!("{method} /parties/main/lobby/deep/path?q=1&q=2 {body}");
        assert_eq!(said(&response), format!("200 {seen}"));
        assert_eq!(response.header("x-room"), Some("lobby"));
    }
}

#[test]
fn an_on_request_that_throws_chooses_its_status_by_a_code_and_keeps_its_secrets_without() {
    let room = room("kit.ts");
    let teapot = room.request(Request::get("/teapot"));
    assert_eq!(said(&teapot), "418 short and stout");
    let failed = room.request(Request::get("/fail"));
    assert_eq!(failed.status_code(), 500);
    assert!(!failed.body_text().contains("secret"), "{}", failed.body_text());
    assert!(room.last_error().is_some_and(|error| error.contains("a secret of the author")));
}

#[test]
fn a_partykit_room_without_handlers_takes_sockets_and_answers_requests_with_500() {
    let room = room("empty.ts");
    let ada = room.connect("ada");
    ada.send_text("ignored");
    assert_eq!((texts(&ada), ada.closed(), room.last_error()), (vec![], None, None));
    let response = room.request(Request::get("/"));
    assert_eq!(said(&response), "500 No onRequest handler");
}

#[test]
fn an_alarm_calls_on_alarm_where_the_room_has_its_name_and_the_other_parties() {
    let room = room("kit.ts");
    let ada = room.connect("ada");
    let at = soon(&room, 5_000);
    assert_eq!(ask(&ada, &format!("alarm {at}")), json!(at));
    room.hibernate();
    room.advance(Duration::from_millis(5_001));
    assert_eq!(texts(&ada), ["alarm"]);
    let events = ask(&ada, "events");
    let expected = ["constructor lobby", "start", "alarm lobby null true"];
    assert_eq!(lines(&events), expected, "the room is started first, and getAlarm() is null");
}

#[test]
fn blocked_events_and_background_work_of_a_room_behave_as_on_durable_objects() {
    for file in ["kit.ts", "served.ts"] {
        let room = room(file);
        let ada = room.connect("ada");
        assert_eq!(ask(&ada, "block"), json!("blocked"));
        assert_eq!(ask(&ada, "waitUntil"), json!(null));
        let line = room.logs().into_iter().find(|line| line.message.contains("in the background"));
        assert!(line.is_some(), "{:?}", room.logs());
        assert_eq!(room.last_error(), None);
    }
}

#[test]
fn a_room_asks_another_one_by_the_path_below_it() {
    bundle::bundle("compat/rooms/src/kit.ts").run_as("main");
    let mut project = TestProject::new();
    let a: TestRoom<ScriptRoom> = project.room("main", "a");
    let _b: TestRoom<ScriptRoom> = project.room("main", "b");
    let ada = a.connect("ada");
    ada.send_text("stub b");
    assert_eq!(texts(&ada), [""; 0], "the request leaves with the turn");
    project.settle();
    assert_eq!(texts(&ada), [r#"[200,"POST /parties/main/b/deep/path?q=1 hi"]"#]);
    assert_eq!(ask(&ada, "badPath"), json!("Path must start with /"));
}
