//! Handlers that last for several turns: what they await decides which turn continues them.

use std::time::Duration;

use room_engine::{Script, ScriptRoom};
use room_sdk::prelude::*;
use room_sdk::test::TestRoom;

/// A room whose class has these members.
fn room(members: &str) -> TestRoom<ScriptRoom> {
    let head = "import { Server } from 'partyserver';\n";
    Script::new(format!("{head}export default class Tested extends Server {{\n{members}\n}}"))
        .run_as("main");
    TestRoom::new("tested")
}

/// The texts that a client got since it was last asked.
fn texts(client: &room_sdk::test::TestClient<ScriptRoom>) -> Vec<String> {
    client
        .received()
        .iter()
        .map(|message| message.as_text().unwrap_or("bytes").to_owned())
        .collect()
}

#[test]
fn an_await_on_another_server_ends_the_turn_and_its_answer_continues_the_handler() {
    let room = room(
        "async onMessage(connection, message) {
            connection.send('before');
            const response = await fetch('https://api.example.com/' + message);
            connection.send('after ' + response.status + ' ' + await response.text());
        }",
    );
    let ada = room.connect("ada");
    ada.send_text("weather");
    assert_eq!(texts(&ada), ["before"]);
    let [fetch] = &room.fetches()[..] else { panic!("one request waits") };
    assert_eq!(fetch.request().uri(), "https://api.example.com/weather");
    room.respond(fetch, Ok(Response::text("rain")));
    assert_eq!(texts(&ada), ["after 200 rain"]);
    assert_eq!(room.last_error(), None);
}

#[test]
fn other_messages_are_handled_while_one_waits() {
    let room = room(
        "async onMessage(connection, message) {
            if (message === 'slow') await fetch('https://api.example.com/');
            connection.send('done ' + message);
        }",
    );
    let ada = room.connect("ada");
    ada.send_text("slow");
    ada.send_text("quick");
    assert_eq!(texts(&ada), ["done quick"]);
    room.respond(&room.fetches()[0], Ok(Response::status(204)));
    assert_eq!(texts(&ada), ["done slow"]);
}

#[test]
fn a_handler_that_fails_at_once_leaves_nothing_of_its_turn() {
    let room = room(
        "async onMessage(connection) {
            await this.ctx.storage.put('n', 1);
            connection.send('never');
            throw new Error('the author failed');
        }",
    );
    let ada = room.connect("ada");
    ada.send_text("go");
    assert_eq!(texts(&ada), [""; 0]);
    assert_eq!(room.storage().get::<u32>("n"), None);
    let error = room.last_error().expect("the turn failed");
    assert!(error.contains("the author failed") && error.contains("script.js:"), "{error}");
}

#[test]
fn a_handler_that_fails_later_keeps_its_first_turn_and_loses_only_the_later_one() {
    let room = room(
        "async onMessage(connection) {
            await this.ctx.storage.put('first', 1);
            await fetch('https://api.example.com/');
            await this.ctx.storage.put('second', 2);
            connection.send('never');
            throw new Error('too late');
        }
        onRequest() { return new Response('alive'); }",
    );
    let ada = room.connect("ada");
    ada.send_text("go");
    room.respond(&room.fetches()[0], Ok(Response::status(200)));
    assert_eq!(texts(&ada), [""; 0]);
    assert_eq!(room.storage().get::<u32>("first"), Some(1));
    assert_eq!(room.storage().get::<u32>("second"), None);
    assert!(room.logs().iter().any(|line| line.message.contains("too late")), "{:?}", room.logs());
    assert!(room.fetches().is_empty(), "the request is not sent again");
    assert_eq!(room.request(Request::get("/")).body_text(), "alive");
}

#[test]
fn a_request_that_waits_is_answered_by_a_later_turn() {
    let room = room(
        "async onRequest(request) {
            const upstream = await fetch('https://api.example.com/');
            if (upstream.status !== 200) throw new Error('upstream failed');
            return Response.json({ got: await upstream.text() }, { status: 201 });
        }",
    );
    let answer = room.begin(Request::get("/"));
    assert_eq!(answer.status(), None);
    room.respond(&room.fetches()[0], Ok(Response::text("data")));
    assert_eq!((answer.status(), answer.take_text()), (Some(201), r#"{"got":"data"}"#.to_owned()));
    // A later failure is a 500 to the client that waits.
    let answer = room.begin(Request::get("/"));
    room.respond(&room.fetches()[0], Ok(Response::status(503)));
    assert_eq!(answer.status(), Some(500));
}

#[test]
fn events_wait_for_a_start_that_waits_and_run_in_order() {
    let room = room(
        "async onStart() { this.data = await (await fetch('https://api.example.com/')).text(); }
        onConnect(connection) { connection.send('hello ' + this.data); }
        onMessage(connection, message) {
            if (message === 'fail') throw new Error('only this one');
            connection.send(message + ' ' + this.data);
        }",
    );
    let ada = room.connect("ada");
    ada.send_text("1");
    ada.send_text("fail");
    ada.send_text("2");
    assert_eq!(texts(&ada), [""; 0]);
    room.respond(&room.fetches()[0], Ok(Response::text("ready")));
    assert_eq!(texts(&ada), ["hello ready", "1 ready", "2 ready"]);
}

#[test]
fn timers_in_memory_run_when_they_are_due_and_not_before() {
    let room = room(
        "async onMessage(connection) {
            await new Promise((resolve) => setTimeout(resolve, 500));
            connection.send('half a second later');
        }",
    );
    let ada = room.connect("ada");
    ada.send_text("go");
    room.advance(Duration::from_millis(400));
    assert_eq!(texts(&ada), [""; 0]);
    room.advance(Duration::from_millis(200));
    assert_eq!(texts(&ada), ["half a second later"]);
    assert_eq!(room.ticks(), None, "nothing ticks when no timer waits");
}

#[test]
fn an_answer_whose_handler_is_gone_reaches_on_response_and_breaks_nothing() {
    let room = room(
        "async onMessage(connection) {
            await fetch('https://api.example.com/', { room: { tag: 'weather' } });
            connection.send('continued');
        }
        async onResponse(tag, response) { this.broadcast(tag + ': ' + await response.text()); }",
    );
    let ada = room.connect("ada");
    ada.send_text("go");
    room.restart();
    let ada = room.connect("ada");
    room.respond(&room.fetches()[0], Ok(Response::text("rain")));
    assert_eq!(texts(&ada), ["weather: rain"]);
}

#[test]
fn a_rejection_that_nobody_handles_fails_the_turn() {
    let room = room(
        "onMessage(connection) {
            connection.send('never');
            Promise.reject(new Error('forgotten'));
        }",
    );
    let ada = room.connect("ada");
    ada.send_text("go");
    assert_eq!(texts(&ada), [""; 0]);
    assert!(
        room.last_error().is_some_and(|error| error.contains("forgotten")),
        "{:?}",
        room.last_error()
    );
}

#[test]
fn storage_holds_what_structured_clone_holds_and_shows_json_as_json() {
    let room = room(
        "async onMessage(connection) {
            await this.ctx.storage.put({ plain: { a: [1, 'x', null] }, rich: new Map([['d', new Date(5)]]) });
            const rich = await this.ctx.storage.get('rich');
            connection.send(String(rich instanceof Map && rich.get('d').getTime() === 5));
        }",
    );
    let ada = room.connect("ada");
    ada.send_text("go");
    assert_eq!(texts(&ada), ["true"]);
    assert_eq!(
        room.storage().get::<serde_json::Value>("plain"),
        Some(serde_json::json!({ "a": [1, "x", null] }))
    );
}

#[test]
fn deep_recursion_and_endless_values_are_errors_of_their_turn() {
    let room = room(
        "onMessage(connection, message) {
            if (message === 'deep') { const down = () => down() + 1; down(); }
            if (message === 'long') 'x'.repeat(2 ** 31);
            connection.send('alive');
        }",
    );
    let ada = room.connect("ada");
    for (message, error) in [("deep", "stack"), ("long", "")] {
        ada.send_text(message);
        assert_eq!(texts(&ada), [""; 0], "{message}");
        let said = room.last_error().expect("the turn failed").to_lowercase();
        assert!(said.contains(error), "{message}: {said}");
    }
    ada.send_text("and now");
    assert_eq!(texts(&ada), ["alive"]);
}

/// The text with which a script is refused.
fn refusal(source: &str) -> String {
    room_engine::check(Script::new(source)).expect_err("the script is refused").to_string()
}

#[test]
fn a_script_that_cannot_become_a_room_is_refused_with_its_reason() {
    for (source, part) in [
        ("export default class { onMessage( }", "script.js:1"),
        ("import x from 'left-pad'; export default class {}", "npm install"),
        ("import x from 'https://example.com/x.js'; export default class {}", "from the network"),
        ("await new Promise(() => {}); export default class {}", "does not settle"),
        ("export const room = 1;", "export"),
        ("crypto.randomUUID(); export default class {}", "top level"),
        ("throw new Error('at the top'); export default class {}", "at the top"),
        (
            "Promise.reject(new Error('loose')); export default class {}",
            "loose\n    at <anonymous> (script.js:1",
        ),
        ("fetch('https://example.com/'); export default class {}", "while the module is evaluated"),
    ] {
        let said = refusal(source);
        assert!(said.contains(part), "{source}: {said}");
    }
}

#[test]
fn a_date_is_that_of_the_rooms_clock_and_0_at_the_top_level() {
    let head =
        "import { Server } from 'partyserver';\nconst top = [Date.now(), new Date().getTime()];\n";
    let class = "export default class Tested extends Server {
        onMessage(connection) { connection.send(JSON.stringify([...top, Date.now(), +new Date()])); }
    }";
    Script::new(format!("{head}{class}")).run_as("main");
    let room = TestRoom::<ScriptRoom>::new("tested");
    let ada = room.connect("ada");
    room.advance(Duration::from_secs(3_600));
    ada.send_text("go");
    let now = room.now().as_millis();
    assert_eq!(texts(&ada), [format!("[0,0,{now},{now}]")]);
}

#[test]
fn whatever_a_handler_throws_is_named_in_the_log_and_breaks_its_turn_alone() {
    let room = room(
        "onMessage(connection, message) {
            if (message === 'hello') return connection.send('hello');
            throw {
                null: null,
                undefined: undefined,
                text: 'a text',
                number: -0.5,
                object: { code: 5, text: 'why' },
                long: ['x'.repeat(1_000)],
                symbol: Symbol('s'),
                function: () => {},
                circle: (() => { const circle = {}; circle.circle = circle; return circle; })(),
                proxy: new Proxy({}, { get() { throw new Error('a trap'); }, getPrototypeOf() { throw new Error('a trap'); } }),
                getter: Object.defineProperties(new TypeError('unread'), {
                    message: { get() { throw new Error('a getter'); } },
                    stack: { get() { throw new Error('a getter'); } },
                }),
                empty: new RangeError(),
            }[message];
        }",
    );
    let ada = room.connect("ada");
    let value = |text: &str| format!("the script threw {text}, which is not an Error");
    for (message, error) in [
        ("null", value("null")),
        ("undefined", value("undefined")),
        ("text", value("\"a text\"")),
        ("number", value("-0.5")),
        ("object", value(r#"{"code":5,"text":"why"}"#)),
        ("symbol", value("a symbol")),
        ("function", value("a function")),
        ("circle", value("an object that cannot be read")),
        ("proxy", value("an object that cannot be read")),
        ("getter", "TypeError: its message cannot be read".to_owned()),
        ("empty", "RangeError\n".to_owned()),
    ] {
        ada.send_text(message);
        let said = room.last_error().expect("the turn failed");
        assert!(said.starts_with(&error), "{message}: {said}");
        ada.send_text("hello");
        assert_eq!(texts(&ada), ["hello"], "{message}");
    }
    ada.send_text("long");
    assert!(room.last_error().is_some_and(|error| error.len() < 300 && error.contains("xxx…")));
}

#[test]
fn a_stream_that_fails_after_its_head_breaks_off_and_its_error_is_in_the_log() {
    let room = room(
        "onRequest() {
            let at = 0;
            return new Response(new ReadableStream({
                async pull(controller) {
                    at += 1;
                    await new Promise((resolve) => setTimeout(resolve, 50));
                    if (at === 2) throw new Error('the source dried up');
                    controller.enqueue(new TextEncoder().encode('first '));
                },
            }));
        }",
    );
    let answer = room.begin(Request::get("/"));
    room.advance(Duration::from_millis(60));
    assert_eq!((answer.status(), answer.take_text()), (Some(200), "first ".to_owned()));
    assert!(!answer.is_complete());
    room.advance(Duration::from_millis(60));
    assert!(answer.is_broken_off());
    let logged = |text: &str| room.logs().iter().any(|line| line.message.contains(text));
    assert!(logged("the stream of a response failed: Error: the source dried up"));
}
