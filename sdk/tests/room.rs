//! What the mock host promises, through the SDK as a room's author uses it.
//!
//! One room does whatever a test sends it, so that each test reads as a conversation.

use std::time::Duration;

use room_sdk::prelude::*;
use room_sdk::test::TestRoom;
use room_sdk::{ConnectionError, StorageError};
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Puppet {
    alarms: u32,
}

/// What the puppet does with a message: each action in turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Do {
    Put(String, u32),
    PutBytes(usize),
    PutMany(u32),
    DeleteAll,
    Send(String, String),
    SendBytes(usize),
    Cast(String, Option<String>, Vec<String>),
    CastBytes(usize),
    Close(String, u16),
    State(String, u32),
    Alarm(u64),
    Flush,
    Fail,
    Panic,
}

impl Puppet {
    fn act(&mut self, ctx: &Context, conn: &Connection, action: Do) -> Result {
        match action {
            Do::Put(key, value) => ctx.storage().put(key, &value)?,
            Do::PutBytes(bytes) => ctx.storage().raw().put("big", vec![0; bytes])?,
            Do::PutMany(n) => {
                let keys: Vec<String> = (0..n).map(|i| format!("k{i:05}")).collect();
                ctx.storage().put_many(keys.iter().map(|key| (key, &0)))?;
            }
            Do::DeleteAll => ctx.storage().delete_all()?,
            Do::Send(id, text) => {
                let to = ctx.connection(&id).ok_or_else(|| anyhow!("nobody is {id}"))?;
                to.send(&text)?;
            }
            Do::SendBytes(bytes) => conn.send(Message::binary(vec![0; bytes]))?,
            Do::Cast(text, tag, without) => {
                let mut cast = ctx.broadcast(&text);
                for id in without {
                    cast = cast.except(id);
                }
                if let Some(tag) = tag {
                    cast = cast.tagged(tag);
                }
                drop(cast);
            }
            Do::CastBytes(bytes) => drop(ctx.broadcast(Message::binary(vec![0; bytes]))),
            Do::Close(id, code) => {
                ctx.connection(&id).ok_or_else(|| anyhow!("nobody is {id}"))?.close(code, "bye")?;
            }
            Do::State(id, state) => {
                let held = ctx.connection(&id).ok_or_else(|| anyhow!("nobody is {id}"))?;
                ctx.connection(&id).ok_or_else(|| anyhow!("gone"))?.set_state(&state)?;
                assert_eq!(held.state()?, Some(state), "every handle sees the new state");
            }
            Do::Alarm(seconds) => ctx.alarm().set_in(Duration::from_secs(seconds)),
            Do::Flush => ctx.flush()?,
            Do::Fail => bail!("asked to fail"),
            Do::Panic => panic!("asked to panic"),
        }
        Ok(())
    }
}

impl Room for Puppet {
    fn on_start(&mut self, ctx: &Context) -> Result {
        log::info!(party = ctx.party(); "started {}", ctx.name());
        ensure!(ctx.var("BROKEN").is_none(), "told not to start");
        Ok(())
    }

    fn tags(&mut self, _: &Context, conn: &Connection, _: &Request) -> Result<Vec<String>> {
        Ok(conn.query("tag").into_iter().collect())
    }

    fn on_connect(&mut self, ctx: &Context, conn: &Connection, request: &Request) -> Result {
        ensure!(conn.query("tag").as_deref() != Some("unwelcome"), "not you");
        ensure!(ctx.connection(conn.id()).is_some(), "a connecting client is found");
        conn.send(&format!("hello {} {:?}", conn.id(), request.header("X-User")))
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        for action in message.json::<Vec<Do>>()? {
            self.act(ctx, conn, action)?;
        }
        Ok(())
    }

    fn on_close(&mut self, ctx: &Context, conn: &Connection, close: Close) -> Result {
        assert!(conn.send("too late").is_err());
        let state = conn.state::<u32>()?;
        log::info!(
            "{} left: {} {:?} {} {state:?}",
            conn.id(),
            close.code,
            close.reason,
            close.clean
        );
        ctx.broadcast(&format!("{} left", conn.id()));
        Ok(())
    }

    fn on_error(&mut self, _: &Context, conn: &Connection, error: &str) -> Result {
        log::warn!("{} failed: {error}", conn.id());
        Ok(())
    }

    fn on_alarm(&mut self, ctx: &Context) -> Result {
        self.alarms += 1;
        ensure!(ctx.storage().get::<u32>("alarm fails")?.is_none(), "alarm asked to fail");
        ctx.broadcast(&format!("alarm {} in {}", self.alarms, ctx.name()));
        Ok(())
    }

    fn on_before_connect(request: Request, lobby: &Lobby) -> Result<Verdict> {
        Ok(match request.query("token").as_deref() {
            None => Verdict::forward(request),
            Some("bad") => bail!("bad token"),
            Some("old") => Verdict::refuse(4403, "token expired"),
            Some("teapot") => Verdict::respond(Response::status(418)),
            Some(name) => {
                let user = format!("{name}@{}", lobby.room());
                Verdict::forward(request.with_header("X-User", &user))
            }
        })
    }
}

fn room() -> TestRoom<Puppet> {
    TestRoom::new("lobby")
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn logged(room: &TestRoom<Puppet>, part: &str) -> bool {
    room.logs().iter().any(|line| line.message.contains(part))
}

#[test]
fn a_failed_turn_leaves_no_trace() {
    let room = room();
    let (a, b) = (room.connect("a"), room.connect("b"));
    a.send(&[Do::Put(text("k"), 1), Do::State(text("b"), 1), Do::Alarm(60)]);
    let alarm = room.alarm();
    for end in [Do::Fail, Do::Panic] {
        a.received();
        b.received();
        let doomed = [
            Do::Put(text("k"), 2),
            Do::Put(text("new"), 2),
            Do::DeleteAll,
            Do::Put(text("newer"), 2),
            Do::State(text("b"), 2),
            Do::Alarm(5),
            Do::Send(text("b"), text("never")),
            Do::Close(text("b"), 4000),
            end,
        ];
        a.send(&doomed);
        assert_eq!(room.storage().list::<u32>(""), [(text("k"), 1)]);
        assert_eq!(room.alarm(), alarm);
        assert_eq!((a.received(), b.received()), (vec![], vec![]));
        assert!(b.closed().is_none());
    }
    assert_eq!(room.take_errors(), ["asked to fail", "panicked: asked to panic"]);
    b.close(1000, "");
    assert!(logged(&room, "b left: 1000 \"\" true Some(1)"));
}

#[test]
fn a_returned_error_keeps_the_instance_and_a_panic_does_not() {
    let room = room();
    let a = room.connect("a");
    let starts = || room.logs().iter().filter(|line| line.message == "started lobby").count();
    a.send(&[Do::Fail]);
    a.send(&[Do::Flush]);
    assert_eq!(starts(), 1);
    a.send(&[Do::Panic]);
    a.send(&[Do::Flush]);
    assert_eq!(starts(), 2);
    assert_eq!(room.logs()[0].fields, [(text("party"), text("main"))]);
}

#[test]
fn flushed_effects_stay_after_a_failed_turn() {
    let room = room();
    let a = room.connect("a");
    a.received();
    a.send(&[
        Do::Put(text("k"), 1),
        Do::Cast(text("one"), None, vec![]),
        Do::Flush,
        Do::Put(text("k"), 2),
        Do::Fail,
    ]);
    assert_eq!(room.storage().get::<u32>("k"), Some(1));
    assert_eq!(a.received_json::<String>(), ["one"]);
}

#[test]
fn a_broadcast_reaches_whom_it_names() {
    let room = room();
    let red = room.client("r").query("tag", "red team").connect();
    let (b, c) = (room.connect("b"), room.connect("c"));
    for client in [&red, &b, &c] {
        client.received();
    }
    b.send(&[
        Do::Cast(text("all"), None, vec![]),
        Do::Cast(text("others"), None, vec![text("b"), text("c")]),
        Do::Cast(text("red"), Some(text("red team")), vec![]),
    ]);
    assert_eq!(red.received_json::<String>(), ["all", "others", "red"]);
    assert_eq!(b.received_json::<String>(), ["all"]);
    assert_eq!(c.received_json::<String>(), ["all"]);
}

#[test]
fn a_dropped_broadcast_that_is_refused_fails_the_turn() {
    let room = room();
    let a = room.connect("a");
    a.send(&[Do::Put(text("k"), 1), Do::CastBytes(32 * 1024 * 1024 + 1)]);
    assert!(room.last_error().is_some_and(|error| error.contains("room_message_bytes_max")));
    assert!(room.storage().is_empty());
    a.send(&[Do::CastBytes(32 * 1024 * 1024)]);
    assert_eq!(room.take_errors().len(), 1);
}

#[test]
fn every_limit_is_named() {
    let room = room();
    let a = room.connect("a");
    let mib = 1024 * 1024;
    for (action, limit) in [
        (vec![Do::SendBytes(32 * mib + 1)], "room_message_bytes_max"),
        (vec![Do::PutBytes(mib + 1)], "value_bytes_max"),
        (vec![Do::Put(text(""), 1)], "key_bytes_max"),
        (vec![Do::Put("k".repeat(2049), 1)], "key_bytes_max"),
        (vec![Do::PutMany(10_001)], "turn_writes_max"),
        (vec![Do::SendBytes(1); 10_001], "turn_sends_max"),
        (vec![Do::Close(text("a"), 1006)], "1006"),
    ] {
        a.send(&action);
        let error = room.take_errors().pop().unwrap_or_default();
        assert!(error.contains(limit), "{limit}: {error}");
    }
    assert!(room.storage().is_empty());
    let error = Error::from(StorageError::InvalidKey(2048)).context("outer");
    assert!(error.downcast_ref::<StorageError>().is_some());
    assert_eq!(ConnectionError::NotFound.to_string(), "no open connection has this id");
}

#[test]
fn a_closed_client_receives_earlier_messages_first() {
    let room = room();
    let (a, b) = (room.connect("a"), room.connect("b"));
    b.received();
    a.received();
    a.send(&[Do::Send(text("b"), text("last words")), Do::Close(text("b"), 4000)]);
    assert_eq!(b.received_json::<String>(), ["last words"]);
    assert_eq!(b.closed().map(|close| (close.code, close.reason)), Some((4000, text("bye"))));
    assert_eq!(a.received_json::<String>(), ["b left"]);
    a.send(&[Do::Send(text("b"), text("anyone?"))]);
    assert_eq!(room.last_error().as_deref(), Some("nobody is b"));
}

#[test]
fn a_second_connection_with_an_id_replaces_the_first() {
    let room = room();
    let first = room.connect("a");
    first.received();
    let second = room.connect("a");
    assert_eq!(first.closed().map(|close| close.code), Some(4409));
    assert!(first.received().is_empty());
    assert_eq!(second.received_json::<String>(), ["hello a None"]);
    assert_eq!(room.connection_ids(), ["a"]);
    assert!(logged(&room, "a left: 4409 \"replaced by a newer connection with the same id\""));
}

#[test]
fn connections_that_replace_each_other_too_often_are_refused_until_the_window_ends() {
    let room = room();
    let mut last = room.connect("a");
    for _ in 0..10 {
        let next = room.connect("a");
        assert_eq!(last.closed().map(|close| close.code), Some(4409));
        last = next;
    }
    last.received();
    let heard = room.logs().len();
    let reason =
        "connections with this id replace each other too often: an id belongs to one connection";
    for _ in 0..2 {
        let refused = room.connect("a");
        let closed = refused.closed().map(|close| (close.code, close.reason));
        assert_eq!(closed, Some((1013, text(reason))));
    }
    // The room gets no event of either, and its log names the id once.
    assert_eq!(room.logs().len(), heard + 1);
    assert!(room.logs()[heard].message.contains("the id \"a\" replaced each other 10 times"));
    assert_eq!((last.closed(), room.connection_ids()), (None, vec![text("a")]));
    assert!(room.connect("b").closed().is_none());
    room.advance(Duration::from_secs(60));
    assert!(room.connect("a").closed().is_none());
    assert_eq!(last.closed().map(|close| close.code), Some(4409));
}

#[test]
fn the_hook_decides_before_the_room_receives_an_event() {
    let room = room();
    let closed = |token: &str| {
        let client = room.client("a").query("token", token).connect();
        (client.closed().map(|close| (close.code, close.reason)), client.response())
    };
    assert_eq!(closed("bad").0, Some((4401, text("bad token"))));
    assert_eq!(closed("old").0, Some((4403, text("token expired"))));
    assert_eq!(closed("teapot").1.map(|response| response.status_code()), Some(418));
    assert!(room.logs().is_empty(), "the room was not even started");
    let ada = room.client("a").query("token", "ada").header("x-user", "forged").connect();
    assert_eq!(ada.received_json::<String>(), ["hello a Some(\"ada@lobby\")"]);
}

#[test]
fn a_connection_refused_by_on_connect_never_opens() {
    let room = room();
    let a = room.connect("a");
    a.received();
    let b = room.client("b").query("tag", "unwelcome").connect();
    assert_eq!(b.closed().map(|close| close.code), Some(1011));
    assert!(a.received().is_empty(), "no on_close for a connection that was not opened");
    assert_eq!(room.connection_ids(), ["a"]);
}

#[test]
fn a_room_that_does_not_start_reports_the_reason() {
    let room = TestRoom::<Puppet>::builder("lobby").var("BROKEN", "1").build();
    assert_eq!(room.request(Request::get("/")).status_code(), 500);
    assert_eq!(room.connect("a").closed().map(|close| close.code), Some(1011));
    assert_eq!(room.take_errors(), ["told not to start", "told not to start"]);
}

#[test]
fn alarms_fire_on_time_and_failed_ones_are_retried_six_times() {
    let room = room();
    let a = room.connect("a");
    a.received();
    a.send(&[Do::Alarm(10)]);
    room.hibernate();
    room.advance(Duration::from_secs(10));
    assert_eq!(a.received_json::<String>(), ["alarm 1 in lobby"]);
    assert_eq!(room.alarm(), None);

    a.send(&[Do::Put(text("alarm fails"), 1), Do::Alarm(0)]);
    assert_eq!(room.take_errors().len(), 1, "an alarm set to now fires at once");
    room.advance(Duration::from_millis(1_999));
    assert_eq!(room.take_errors().len(), 0);
    room.advance(Duration::from_millis(1));
    assert_eq!(room.take_errors().len(), 1);
    room.advance(Duration::from_secs(4 + 8 + 16 + 32));
    assert_eq!(room.take_errors().len(), 4);
    room.advance(Duration::from_secs(64));
    assert_eq!(room.take_errors().len(), 2, "the last failure, and that the alarm is dropped");
    assert_eq!(room.alarm(), None);
}

#[test]
fn a_message_that_is_too_large_closes_its_connection() {
    let room = room();
    let a = room.connect("a");
    a.send_binary(vec![0; 1024 * 1024 + 1]);
    assert_eq!(a.closed().map(|close| close.code), Some(1009));
    assert!(logged(&room, "a failed: a message is larger"));
    assert!(logged(&room, "a left: 1009"));
}
