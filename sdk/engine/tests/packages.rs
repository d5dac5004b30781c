//! Packages of npm at work in rooms: each is bundled as the command line bundles, and does what it is for.

#[path = "common/bundle.rs"]
mod bundle;

use std::time::Duration;

use room_engine::ScriptRoom;
use room_sdk::prelude::*;
use room_sdk::test::{TestClient, TestRoom};
use serde_json::{Value, json};

/// A room of one of the files in `packages`.
fn room(file: &str) -> TestRoom<ScriptRoom> {
    party(file, "main")
}

fn party(file: &str, party: &str) -> TestRoom<ScriptRoom> {
    bundle::bundle(&format!("packages/{file}")).run_as(party);
    TestRoom::<ScriptRoom>::builder("lobby").party(party).build()
}

/// Says something to the room, and returns its only answer.
#[track_caller]
fn ask(room: &TestRoom<ScriptRoom>, client: &TestClient<ScriptRoom>, question: &str) -> Value {
    client.send_text(question);
    let mut answers = client.received_json();
    assert_eq!(
        answers.len(),
        1,
        "{question}: {answers:?} {:?} {:?}",
        room.last_error(),
        room.logs()
    );
    answers.remove(0)
}

#[test]
fn zod_checks_messages_and_says_what_is_wrong_with_them() {
    let room = room("zod.ts");
    let ada = room.connect("ada");
    let good = ask(&room, &ada, r#"{"type":"move","to":[1,7],"comment":" hm "}"#);
    assert_eq!(good, json!({"type":"move","to":[1,7],"comment":"hm","seen":true}));
    let joined = ask(&room, &ada, r#"{"type":"join","email":"ada@example.com","age":"36"}"#);
    assert_eq!(joined["age"], json!(36));
    let bad = ask(&room, &ada, r#"{"type":"move","to":[1,8],"comment":"too long a comment"}"#);
    assert_eq!(bad["issues"], json!(["to.1: too_big", "comment: too_big"]));
    assert!(bad["text"].as_str().is_some_and(|text| text.contains("to[1]")), "{bad}");
    let email = ask(&room, &ada, r#"{"type":"join","email":"nobody","age":-1}"#);
    assert_eq!(email["issues"], json!(["email: invalid_format", "age: too_small"]));
    let schema: Value = room.request(Request::get("/")).body_json().expect("it is JSON");
    assert_eq!(schema["required"], json!(["type", "to"]));
}

#[test]
fn nanoid_makes_ids_of_the_rooms_randomness() {
    let room = room("nanoid.ts");
    let ada = room.connect("ada");
    let (first, second) = (ask(&room, &ada, ""), ask(&room, &ada, ""));
    let text = |ids: &Value, at: usize| ids[at].as_str().expect("an id is a text").to_owned();
    let lengths: Vec<usize> = (0..4).map(|at| text(&first, at).len()).collect();
    assert_eq!((lengths, &first[4]), (vec![21, 10, 6, 21], &json!(1_000)));
    assert!(text(&first, 2).chars().all(|c| c.is_ascii_digit()), "{first}");
    assert!((0..2).all(|at| text(&first, at) != text(&second, at)), "{first} {second}");
}

#[test]
fn hono_answers_the_requests_of_a_room() {
    let room = party("hono.ts", "todos");
    let create = |body: &str| {
        let request = Request::post("/todos").with_header("content-type", "application/json");
        room.request(request.with_body(body))
    };
    let created = create(r#"{"title":"write tests"}"#);
    assert_eq!(created.status_code(), 201, "{} {:?}", created.body_text(), room.last_error());
    assert_eq!(created.header("x-steps"), Some("1"), "the middleware ran around the handler");
    let todo = json!({"id":1,"title":"write tests","room":"lobby"});
    assert_eq!(created.body_json::<Value>().ok(), Some(todo.clone()));
    let refused = create("{}");
    assert_eq!(
        (refused.status_code(), refused.body_text()),
        (422, "a todo has a title".to_owned())
    );
    let list = room.request(Request::get("/todos"));
    assert_eq!(list.body_json::<Value>().ok(), Some(json!([todo])));
    let status = |path: &str| room.request(Request::get(path)).status_code();
    assert_eq!([status("/todos/1"), status("/todos/2"), status("/todos/x")], [200, 404, 404]);
    let visit = room.request(Request::get("/visit?by=ada").with_header("cookie", "visits=41; a=b"));
    assert_eq!(visit.body_text(), "<p>visit 42 with ada</p>");
    assert_eq!(visit.header("set-cookie"), Some("visits=42; Path=/; HttpOnly"));
    assert_eq!(room.request(Request::get("/stream")).body_text(), "in pieces");
    let broken = room.request(Request::get("/broken"));
    assert_eq!((broken.status_code(), broken.body_text()), (500, "something failed".to_owned()));
}

#[test]
fn hono_party_stands_in_front_of_rooms() {
    // The party `main` answers what belongs to no room.
    bundle::bundle("packages/hono.ts").run_as("main");
    let room = party("hono.ts", "todos");
    let asked = |path: &str, authorization: &str| {
        room.request(Request::get(path).with_header("authorization", authorization))
    };
    let answer = asked("/todos", "open");
    assert_eq!((answer.status_code(), answer.body_text()), (200, "[]".to_owned()));
    let refused = asked("/todos", "closed");
    assert_eq!((refused.status_code(), refused.body_text()), (403, "no entry".to_owned()));
    for response in [&answer, &refused] {
        assert_eq!(response.header("access-control-allow-origin"), Some("*"), "{response:?}");
    }
    let about = room.fetch(Request::get("http://h/about")).expect("the app answers");
    assert_eq!(about.body_text(), "about the app");
}

#[test]
fn superjson_keeps_what_json_has_not() {
    let room = room("superjson.ts");
    let ada = room.connect("ada");
    let expected = json!([
        "1970-01-01T00:00:00.000Z",
        ["a", "b"],
        true,
        "18446744073709551616",
        true,
        true,
        "/a+/gi",
        2.5,
        true,
        true
    ]);
    assert_eq!(ask(&room, &ada, "first"), expected);
    room.restart();
    assert_eq!(ask(&room, &ada, "again"), expected, "after the room restarted");
}

#[test]
fn date_fns_counts_and_writes_dates_in_its_own_languages() {
    let room = room("dates.ts");
    let ada = room.connect("ada");
    ada.send_text("");
    assert!(ada.received().is_empty());
    let error = room.last_error().expect("an invalid date is an error");
    assert!(error.contains("Invalid time value"), "{error}");
    assert_eq!(
        ask(&room, &ada, "valid"),
        json!([
            "2024-01-31 12:30 Wednesday",
            "31. Januar 2024",
            "2024-02-29",
            30,
            "5 months",
            "2024-01-29",
            false,
            "2023/12/24",
        ])
    );
}

#[test]
fn jose_verifies_the_tokens_of_an_identity_provider_before_a_connection() {
    let fixture = std::fs::read_to_string(bundle::file("packages/tokens.json"));
    let fixture: Value =
        serde_json::from_str(&fixture.expect("it is there")).expect("the file is JSON");
    let room = room("tokens.ts");
    for (name, token) in fixture["tokens"].as_object().expect("tokens have names") {
        let token = token.as_str().expect("a token is a text");
        let client = room.client("ada").query("token", token).connect();
        let expected = match name.as_str() {
            "expired" => "\"exp\" claim timestamp check failed",
            "for another audience" => "unexpected \"aud\" claim value",
            "of a stranger" => "signature verification failed",
            "of an unknown key" => "no applicable key found in the JSON Web Key Set",
            _ => {
                let hello = client.received_json::<String>();
                assert_eq!(hello, ["hello ada"], "{name}: {:?} {:?}", client.closed(), room.logs());
                continue;
            }
        };
        let close = client.closed().expect("it is refused");
        assert_eq!((close.code, close.reason.as_str()), (4401, expected), "{name}");
    }
    assert_eq!(room.client("ada").connect().closed().map(|close| close.code), Some(4401));
}

#[test]
fn jose_signs_tokens_in_a_room() {
    let fixture = std::fs::read_to_string(bundle::file("packages/tokens.json"));
    let fixture: Value =
        serde_json::from_str(&fixture.expect("it is there")).expect("the file is JSON");
    let room = room("tokens.ts");
    let token = fixture["tokens"]["ES256"].as_str().expect("a token is a text");
    let ada = room.client("ada").query("token", token).connect();
    assert_eq!(ada.received_json::<String>(), ["hello ada"]);
    assert_eq!(
        ask(&room, &ada, "hmac"),
        json!([
            { "room": "lobby", "iat": 1_000, "sub": "ada", "exp": 2_000 },
            "ERR_JWT_EXPIRED",
            "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
            "ERR_JWS_INVALID",
            "HS256",
        ])
    );
    assert_eq!(
        ask(&room, &ada, "eddsa"),
        json!(["grace", "grace", "ERR_JWS_SIGNATURE_VERIFICATION_FAILED", "OKP"])
    );
    let thumbprint = json!(THUMBPRINT);
    assert_eq!(ask(&room, &ada, "thumbprint"), thumbprint, "of RFC 7638, as Node computes it");
}

/// That of the first key in `tokens.json`.
const THUMBPRINT: &str = "ImcgZCRNpW4epHLGTOZX3e50uj1Du9e4Z_D3XHQ1EJM";

/// An editor of a shared document, in an engine of its own, with its connection to the document's room.
struct Editor {
    engine: TestRoom<ScriptRoom>,
    wire: TestClient<ScriptRoom>,
    link: TestClient<ScriptRoom>,
}

impl Editor {
    fn open(docs: &TestRoom<ScriptRoom>, name: &str, query: &str) -> Self {
        let engine = TestRoom::<ScriptRoom>::builder(name).party("editor").build();
        let link = docs.client(name).query(query, "").connect();
        let wire = engine.connect("wire");
        Self { engine, wire, link }
    }

    fn act(&self, action: &str) {
        self.wire.send_text(action);
        assert_eq!(self.engine.last_error(), None, "{action}");
    }

    /// What the editor shows.
    fn shows(&self) -> (String, Vec<String>) {
        let seen: Value = self.engine.request(Request::get("/")).body_json().expect("it is JSON");
        let names = seen["names"].as_array().into_iter().flatten();
        let names = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
        (seen["text"].as_str().unwrap_or_default().to_owned(), names)
    }

    /// Carries what waits in both directions. Returns whether there was something.
    fn carry(&self) -> bool {
        let (up, down) = (self.wire.received(), self.link.received());
        let any = !up.is_empty() || !down.is_empty();
        up.iter().for_each(|message| self.link.send_binary(message.as_bytes()));
        down.iter().for_each(|message| self.wire.send_binary(message.as_bytes()));
        any
    }
}

/// Carries the messages of all until none is left.
fn settle(editors: &[&Editor]) {
    for _ in 0..100 {
        let carried = editors.iter().filter(|editor| editor.carry()).count();
        if carried == 0 {
            return;
        }
    }
    panic!("the editors never become quiet");
}

#[test]
fn yjs_documents_are_shared_by_the_server_of_y_partyserver() {
    bundle::bundle("packages/editor.ts").run_as("editor");
    let docs = room("docs.ts");
    let ada = Editor::open(&docs, "ada", "a");
    let bob = Editor::open(&docs, "bob", "b");
    settle(&[&ada, &bob]);
    ada.act("insert|0|shared text");
    bob.act("insert|0|A ");
    bob.act("name|0|Bob");
    settle(&[&ada, &bob]);
    // Who inserted first at one place depends on the ids of both.
    let (text, names) = ada.shows();
    assert!(["A shared text", "shared textA "].contains(&text.as_str()), "{text}");
    assert_eq!(names, ["Bob"]);
    assert_eq!(bob.shows(), (text.clone(), names));
    // A newcomer gets all of it, and one that may only read changes nothing.
    let cy = Editor::open(&docs, "cy", "readonly");
    settle(&[&ada, &bob, &cy]);
    assert_eq!(cy.shows(), (text.clone(), vec!["Bob".to_owned()]));
    cy.act("insert|0|not allowed ");
    settle(&[&ada, &bob, &cy]);
    assert_eq!(ada.shows().0, text);
    // Who leaves is not shown any more.
    bob.link.close(1000, "");
    settle(&[&ada, &cy]);
    assert_eq!(ada.shows().1, [""; 0]);
    assert_eq!(docs.last_error(), None);
    assert!(docs.logs().is_empty(), "{:?}", docs.logs());
}

#[test]
fn a_yjs_document_is_saved_after_its_pause_and_survives_its_room() {
    bundle::bundle("packages/editor.ts").run_as("editor");
    let docs = room("docs.ts");
    let ada = Editor::open(&docs, "ada", "a");
    ada.act("insert|0|to be kept");
    settle(&[&ada]);
    assert!(docs.storage().is_empty(), "the pause is not over");
    docs.advance(Duration::from_millis(1_100));
    assert_eq!(docs.storage().len(), 1);
    docs.restart();
    settle(&[&ada]);
    let seen: Value = docs.request(Request::get("/")).body_json().expect("it is JSON");
    assert_eq!(seen["text"], json!("to be kept"));
    // The room asked its editors what it missed, and takes their changes again.
    ada.act("delete|0|3");
    settle(&[&ada]);
    let late = Editor::open(&docs, "late", "a");
    settle(&[&ada, &late]);
    assert_eq!(late.shows().0, "be kept");
    ada.link.send_text("__YPS:hello");
    assert_eq!(late.link.received()[0].as_text(), Some("__YPS:ada: hello"));
}
