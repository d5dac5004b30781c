//! The mock host refuses what the runtime refuses by default, with the same error.

use std::cell::RefCell;

use room_sdk::prelude::*;
use room_sdk::test::{TestClient, TestRoom};
use room_sdk::{ConnectionError, StorageError};

type Act = Box<dyn FnOnce(&Context, &Connection) -> Result>;

thread_local! {
    /// What the room does with its next message.
    static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
    /// What it answers to its next request.
    static RESPONSE: RefCell<Option<Response>> = const { RefCell::new(None) };
    /// What the hooks decide next.
    static VERDICT: RefCell<Option<Verdict>> = const { RefCell::new(None) };
    /// The headers that the hooks add.
    static ADDED: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

/// Does what the test that runs in its thread says.
#[derive(Default)]
struct Actor;

impl Room for Actor {
    fn on_start(&mut self, ctx: &Context) -> Result {
        ensure!(ctx.storage().get::<bool>("broken")?.is_none(), "told not to start");
        Ok(())
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, _: Message) -> Result {
        match ACT.take() {
            Some(act) => act(ctx, conn),
            None => conn.send(Message::text("alive")),
        }
    }

    fn on_error(&mut self, ctx: &Context, conn: &Connection, error: &str) -> Result {
        ensure!(ctx.connection_ids().contains(&conn.id().to_owned()), "it is open until this ends");
        conn.send(Message::text("nobody reads this"))?;
        conn.set_state(error)
    }

    fn on_close(&mut self, ctx: &Context, conn: &Connection, _: Close) -> Result {
        ctx.storage().put("state", &conn.state::<String>()?)?;
        conn.set_state("gone")?;
        ensure!(conn.state::<String>()?.as_deref() == Some("gone"), "a state is seen once set");
        let again = ctx.connection(conn.id()).ok_or_else(|| anyhow!("it is still found"))?;
        ensure!(again.state::<String>()?.as_deref() == Some("gone"), "by every handle");
        ctx.flush()?;
        ensure!(again.state::<String>()?.as_deref() == Some("gone"), "and after a flush");
        conn.close(4002, "over")?;
        ctx.storage().put("closed", &true)
    }

    fn on_request(&mut self, _: &Context, _: Request) -> Result<Response> {
        RESPONSE.take().ok_or_else(|| anyhow!("no response"))
    }

    fn on_before_connect(request: Request, lobby: &Lobby) -> Result<Verdict> {
        decide(request, lobby)
    }

    fn on_before_request(request: Request, lobby: &Lobby) -> Result<Verdict> {
        decide(request, lobby)
    }
}

fn decide(request: Request, lobby: &Lobby) -> Result<Verdict> {
    ADDED.with_borrow(|added| {
        added.iter().for_each(|(name, value)| lobby.add_response_header(name, value));
    });
    ensure!(request.query("fail").is_none(), "{}", "é".repeat(100));
    assert!(request.query("panic").is_none(), "asked to panic");
    Ok(VERDICT.take().unwrap_or_else(|| Verdict::forward(request)))
}

/// Has the room do this in one turn; the error if the turn failed.
fn turn(
    room: &TestRoom<Actor>,
    client: &TestClient<Actor>,
    act: impl FnOnce(&Context, &Connection) -> Result + 'static,
) -> Option<String> {
    ACT.set(Some(Box::new(act)));
    client.send_text("");
    room.take_errors().pop()
}

/// Fails unless the error names the limit, its value, and how to raise it.
fn names(error: Option<String>, limit: &str, max: u64) {
    let error = error.unwrap_or_default();
    assert!(error.contains(&max.to_string()), "{limit}: {error}");
    assert!(error.contains(&format!("raise {limit} in room.toml [limits]")), "{limit}: {error}");
}

fn room() -> (TestRoom<Actor>, TestClient<Actor>) {
    let room = TestRoom::new("lobby");
    let client = room.connect("a");
    (room, client)
}

const MIB: usize = 1024 * 1024;

#[test]
fn an_id_is_a_tag() {
    let (room, a) = room();
    let b = room.connect("b");
    let error = turn(&room, &a, |ctx, _| {
        ctx.broadcast(Message::text("for b")).tagged("b");
        ensure!(ctx.connections_with("b").len() == 1, "b carries its id as a tag");
        ensure!(ctx.connections_with("c").is_empty(), "nobody is c");
        Ok(())
    });
    assert_eq!(error, None);
    assert_eq!((a.received(), b.received()), (vec![], vec![Message::text("for b")]));
}

#[test]
fn a_broadcast_and_a_close_count_as_one_send_each() {
    let (room, a) = room();
    let friends: Vec<_> = (0..20).map(|n| room.connect(&format!("friend-{n}"))).collect();
    let cast = |times| {
        move |ctx: &Context, _: &Connection| {
            (0..times).try_for_each(|_| ctx.broadcast(Message::text("hi")).send())
        }
    };
    assert_eq!(turn(&room, &a, cast(10_000)), None);
    assert_eq!(friends[7].received().len(), 10_000);
    names(turn(&room, &a, cast(10_001)), "turn_sends_max", 10_000);
    assert!(friends[7].received().is_empty());
    let error = turn(&room, &a, move |ctx, conn| {
        cast(9_999)(ctx, conn)?;
        ctx.connection("friend-7").ok_or_else(|| anyhow!("gone"))?.close(1000, "")?;
        let refused = conn.send(Message::text("one too many")).unwrap_err();
        let max = ConnectionError::TooManySends { limit: "turn_sends_max".to_owned(), max: 10_000 };
        ensure!(refused.downcast_ref() == Some(&max), "{refused}");
        // Nobody carries so long a tag, so nothing is sent.
        ctx.broadcast(Message::text("hi")).tagged("x".repeat(257)).send()
    });
    assert_eq!(error, None);
    assert!(friends[7].closed().is_some());
}

#[test]
fn the_bytes_of_a_turns_sends_are_bounded() {
    let (room, a) = room();
    let _friend = room.connect("b");
    let cast = |times| {
        move |ctx: &Context, _: &Connection| {
            (0..times).try_for_each(|_| ctx.broadcast(Message::binary(vec![0; MIB])).send())
        }
    };
    assert_eq!(turn(&room, &a, cast(32)), None);
    names(turn(&room, &a, cast(33)), "turn_send_bytes_max", 32 * MIB as u64);
    names(
        turn(&room, &a, |_, conn| conn.send(Message::binary(vec![0; 32 * MIB + 1]))),
        "room_message_bytes_max",
        32 * MIB as u64,
    );
    names(
        turn(&room, &a, |_, conn| conn.set_state(&"x".repeat(16 * 1024))),
        "connection_state_bytes_max",
        16 * 1024,
    );
}

#[test]
fn a_turns_writes_are_counted_by_key() {
    let (room, a) = room();
    let error = turn(&room, &a, |ctx, _| {
        // One key, written often; keys that are not there, deleted: both cost little.
        (0..10_001).try_for_each(|n| ctx.storage().put("one", &n))?;
        let absent = ctx.storage().delete_many((0..10_001).map(|n| format!("absent-{n}")))?;
        ensure!(absent == 0, "nothing was there");
        let keys: Vec<String> = (0..9_999).map(|n| format!("k{n}")).collect();
        ctx.storage().put_many(keys.iter().map(|key| (key, &0)))?;
        let refused = ctx.storage().put("one too many", &0).unwrap_err();
        let max = StorageError::TooManyWrites { limit: "turn_writes_max".to_owned(), max: 10_000 };
        ensure!(refused.downcast_ref() == Some(&max), "{refused}");
        // What the turn wrote itself is deleted without counting again, and all at once frees all.
        ensure!(ctx.storage().delete("k0")?, "it was there");
        ctx.storage().delete_all()?;
        ctx.storage().put_many(keys.iter().map(|key| (key, &1)))
    });
    assert_eq!(error, None);
    assert_eq!(room.storage().len(), 9_999);
    assert_eq!(room.storage().get("k0"), Some(1));
    names(
        turn(&room, &a, |ctx, _| {
            ctx.storage().get_many::<u8>((0..10_001).map(|n| format!("k{n}"))).map(drop)
        }),
        "turn_writes_max",
        10_000,
    );
}

#[test]
fn a_key_written_twice_in_a_turn_counts_its_bytes_once() {
    let (room, a) = room();
    let error = turn(&room, &a, |ctx, _| {
        let raw = ctx.storage().raw();
        (0..20).try_for_each(|_| raw.put("one", vec![0; MIB]))?;
        (0..6).try_for_each(|n| raw.put(format!("{n}"), vec![0; MIB]))?;
        raw.put("rest", vec![0; MIB - 100])
    });
    assert_eq!(error, None);
    let error = turn(&room, &a, |ctx, _| {
        (0..8).try_for_each(|n| ctx.storage().raw().put(format!("{n}"), vec![0; MIB]))
    });
    names(error, "turn_write_bytes_max", 8 * MIB as u64);
    let error = turn(&room, &a, |ctx, _| ctx.storage().raw().put("k", vec![0; MIB + 1]));
    names(error, "value_bytes_max", MIB as u64);
    for key in ["", &"k".repeat(2_049)] {
        let key = key.to_owned();
        let error = turn(&room, &a, move |ctx, _| ctx.storage().put(key, &0));
        names(error, "key_bytes_max", 2_048);
    }
}

#[test]
fn a_rooms_stored_bytes_are_bounded() {
    let room = TestRoom::<Actor>::builder("lobby")
        .room_bytes_max(100)
        .stored("old", &"x".repeat(45))
        .build();
    let a = room.connect("a");
    let put = |key: &'static str, bytes| {
        move |ctx: &Context, _: &Connection| ctx.storage().raw().put(key, vec![0; bytes])
    };
    // 3 bytes of key and 47 of JSON are there.
    assert_eq!(turn(&room, &a, put("new", 47)), None);
    names(turn(&room, &a, put("k", 0)), "room_bytes_max", 100);
    names(turn(&room, &a, put("new", 48)), "room_bytes_max", 100);
    assert_eq!(turn(&room, &a, put("new", 46)), None);
    assert_eq!(turn(&room, &a, put("k", 0)), None);
    // A failed turn gives back what it took, and a deleted key what it held.
    let error = turn(&room, &a, |ctx, _| {
        ctx.storage().delete_all()?;
        ctx.storage().raw().put("other", vec![0; 95])?;
        bail!("no")
    });
    assert_eq!(error.as_deref(), Some("no"));
    names(turn(&room, &a, put("k2", 0)), "room_bytes_max", 100);
    assert_eq!(turn(&room, &a, |ctx, _| ctx.storage().delete("old").map(drop)), None);
    assert_eq!(turn(&room, &a, put("k2", 48)), None);
}

#[test]
fn the_state_of_an_ended_connection_is_dropped() {
    let (room, a) = room();
    a.lose();
    assert_eq!(room.take_errors(), Vec::<String>::new());
    assert_eq!(room.storage().get("closed"), Some(true));
    assert_eq!(room.storage().get::<Option<String>>("state"), Some(None));
    let b = room.connect("b");
    b.send_binary(vec![0; MIB + 1]);
    assert_eq!(room.take_errors(), Vec::<String>::new());
    assert_eq!(b.closed().map(|close| close.code), Some(1009));
    assert!(b.received().is_empty());
    let state: Option<String> = room.storage().get("state");
    assert_eq!(state.as_deref(), Some("a message is larger than 1048576 bytes"));
}

#[test]
fn only_close_codes_that_a_room_may_send_are_accepted() {
    let (room, a) = room();
    for (code, reason, words) in [
        (999, String::new(), "not 999"),
        (1004, String::new(), "not 1004"),
        (1005, String::new(), "call close_without_code"),
        (1006, String::new(), "not 1006"),
        (1015, String::new(), "not 1015"),
        (5000, String::new(), "not 5000"),
        (4000, "x".repeat(124), "at most 123 bytes, this one has 124"),
    ] {
        let error = turn(&room, &a, move |_, conn| conn.close(code, &reason));
        assert!(error.as_ref().is_some_and(|error| error.contains(words)), "{words}: {error:?}");
    }
    assert!(a.closed().is_none());
}

#[test]
fn closing_a_closed_connection_changes_nothing_and_is_not_an_error() {
    for code in [1000, 1001, 1016, 2999, 3000, 4999] {
        let (room, a) = room();
        let error = turn(&room, &a, move |_, conn| {
            conn.close(code, "first")?;
            conn.close(4001, "again")?;
            conn.close_without_code()
        });
        assert_eq!(error, None);
        let close = a.closed().expect("it is closed");
        assert_eq!((close.code, close.reason.as_str()), (code, "first"));
        // `on_close` of this room closes again.
        assert_eq!(room.take_errors(), Vec::<String>::new());
        assert_eq!(room.storage().get("closed"), Some(true));
    }
}

#[test]
fn a_room_closes_without_a_code() {
    let (room, a) = room();
    assert_eq!(turn(&room, &a, |_, conn| conn.close_without_code()), None);
    let close = a.closed().expect("it is closed");
    assert_eq!((close.code, close.reason.as_str(), close.clean), (1005, "", true));
}

#[test]
fn a_hook_refuses_with_4000_to_4999_and_a_reason_that_fits() {
    let room = TestRoom::<Actor>::new("lobby");
    for code in [1000, 3999, 5000] {
        VERDICT.set(Some(Verdict::refuse(code, "no")));
        assert_eq!(room.connect("a").closed().map(|close| close.code), Some(1011));
        VERDICT.set(Some(Verdict::refuse(code, "no")));
        assert_eq!(room.request(Request::get("/")).status_code(), 500);
        let words = format!("a hook may refuse with 4000 to 4999, not {code}");
        assert_eq!(room.take_errors(), [words.clone(), words]);
    }
    for code in [4000, 4429, 4999] {
        VERDICT.set(Some(Verdict::refuse(code, "é".repeat(100))));
        let close = room.connect("a").closed();
        assert_eq!(close.map(|close| (close.code, close.reason.len())), Some((code, 122)));
    }
    VERDICT.set(Some(Verdict::refuse(4429, "later")));
    assert_eq!(room.request(Request::get("/")).status_code(), 429);
    VERDICT.set(Some(Verdict::refuse(4999, "no")));
    assert_eq!(room.request(Request::get("/")).status_code(), 403);
}

#[test]
fn a_hooks_error_refuses_the_client_and_its_panic_is_a_fault() {
    let room = TestRoom::<Actor>::new("lobby");
    let close = room.client("a").query("fail", "").connect().closed();
    assert_eq!(close.map(|close| (close.code, close.reason.len())), Some((4401, 122)));
    assert_eq!(room.request(Request::get("/?fail")).status_code(), 401);
    assert_eq!(room.take_errors(), Vec::<String>::new());
    let close = room.client("a").query("panic", "").connect().closed();
    assert_eq!(close.map(|close| close.code), Some(1011));
    assert_eq!(room.request(Request::get("/?panic")).status_code(), 500);
    assert_eq!(room.take_errors(), ["panicked: asked to panic", "panicked: asked to panic"]);
}

#[test]
fn a_response_is_checked_from_hooks_and_from_rooms() {
    let room = TestRoom::<Actor>::new("lobby");
    let plain = || Response::text("hi");
    let many = (0..256).fold(plain(), |all, n| all.with_header(&format!("x-{n}"), ""));
    for (response, words) in [
        (plain().with_status(199), "199"),
        (plain().with_status(600), "600"),
        (plain().with_header("", "x"), "not a valid name"),
        (plain().with_header("a b", "x"), "not a valid name"),
        (plain().with_header("ä", "x"), "not a valid name"),
        (plain().with_header("Content-Length", "2"), "cannot set"),
        (plain().with_header("Keep-Alive", "1"), "cannot set"),
        (plain().with_header("TE", "x"), "cannot set"),
        (plain().with_header("trailer", "x"), "cannot set"),
        (plain().with_header("x-evil", "a\r\nb: c"), "control characters"),
        (plain().with_header("x-evil", "\u{7f}"), "control characters"),
        (plain().with_body(vec![0; 16 * MIB + 1]), "response_bytes_max"),
        (many, "257 headers"),
    ] {
        RESPONSE.set(Some(response.clone()));
        assert_eq!(room.request(Request::get("/")).status_code(), 500, "{words}");
        VERDICT.set(Some(Verdict::respond(response.clone())));
        assert_eq!(room.request(Request::get("/")).status_code(), 500, "{words}");
        VERDICT.set(Some(Verdict::respond(response)));
        assert_eq!(room.connect("a").closed().map(|close| close.code), Some(1011), "{words}");
        let errors = room.take_errors();
        assert_eq!(errors.len(), 3);
        assert!(errors.iter().all(|error| error.contains(words)), "{words}: {errors:?}");
    }
    let fine = plain()
        .with_status(599)
        .with_header("x-a!#$%&'*+-.^_`|~", "a\tb")
        .with_body(vec![0; 16 * MIB]);
    RESPONSE.set(Some(fine.clone()));
    assert_eq!(room.request(Request::get("/")), fine);
}

#[test]
fn a_restart_that_fails_keeps_the_old_instance() {
    let (room, a) = room();
    let breaks = |ctx: &Context, _: &Connection| ctx.storage().put("broken", &true);
    assert_eq!(turn(&room, &a, breaks), None);
    room.restart();
    assert_eq!(room.take_errors(), ["told not to start"]);
    a.send_text("");
    assert_eq!(a.received(), [Message::text("alive")]);
    // What leaves memory has nothing to fall back on.
    room.hibernate();
    a.send_text("");
    assert_eq!(room.take_errors(), ["told not to start"]);
    assert!(a.received().is_empty());
}

/// Has the hooks add these headers from now on.
fn add(headers: &[(&str, &str)]) {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    ADDED.set(headers.iter().map(owned).collect());
}

#[test]
fn a_hook_adds_headers_to_what_its_client_gets() {
    let (room, _) = room();
    add(&[("Set-Cookie", "a=1"), ("set-cookie", "b=2")]);
    let cookies = ["a=1", "b=2"];
    assert_eq!(room.connect("b").header_all("set-cookie"), cookies);
    RESPONSE.set(Some(Response::text("hi").with_header("set-cookie", "own=1")));
    let response = room.request(Request::get("/"));
    assert_eq!(response.header_all("set-cookie").collect::<Vec<_>>(), ["own=1", "a=1", "b=2"]);
    VERDICT.set(Some(Verdict::refuse(4403, "no")));
    let refused = room.connect("c");
    assert_eq!(refused.closed().map(|close| close.code), Some(4403));
    assert_eq!(refused.header_all("set-cookie"), cookies);
    for verdict in [Verdict::refuse(4403, "no"), Verdict::respond(Response::status(418))] {
        VERDICT.set(Some(verdict));
        let response = room.request(Request::get("/"));
        assert_eq!(response.header_all("set-cookie").collect::<Vec<_>>(), cookies);
    }
    VERDICT.set(Some(Verdict::respond(Response::status(418))));
    let answered = room.connect("c").response().expect("it is answered");
    assert_eq!(answered.header_all("set-cookie").collect::<Vec<_>>(), cookies);
    // What the server says of a failure has none.
    let refused = room.client("c").query("fail", "").connect();
    assert_eq!(refused.header_all("set-cookie"), Vec::<String>::new());
    assert_eq!(room.request(Request::get("/")).header("set-cookie"), None, "the room failed");
}

#[test]
fn a_header_that_a_hook_may_not_add_is_a_fault() {
    let (room, _) = room();
    let large = "x".repeat(16 * 1024);
    for (headers, words) in [
        (vec![("connection", "close")], "cannot set"),
        (vec![("Sec-WebSocket-Protocol", "v1")], "cannot add"),
        (vec![("a b", "x")], "not a valid name"),
        (vec![("x-evil", "a\r\nb: c")], "control characters"),
        (vec![("x", "1"); 65], "added_headers_max"),
        (vec![("x", large.as_str())], "added_headers_bytes_max"),
    ] {
        add(&headers);
        assert_eq!(room.connect("b").closed().map(|close| close.code), Some(1011), "{words}");
        assert_eq!(room.request(Request::get("/")).status_code(), 500, "{words}");
        let errors = room.take_errors();
        assert_eq!(errors.len(), 2);
        assert!(errors.iter().all(|error| error.contains(words)), "{words}: {errors:?}");
    }
    add(&[("x", "1"); 64]);
    assert_eq!(room.connect("b").header_all("x").len(), 64);
}
