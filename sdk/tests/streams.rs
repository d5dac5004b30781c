//! Streams, later answers, and bodies in pieces, as their author tests them.

use std::time::Duration;

use room_sdk::BodyFault;
use room_sdk::prelude::*;
use room_sdk::test::TestRoom;

#[derive(Default)]
struct Tape {
    ends: Vec<StreamEnd>,
    bytes: usize,
}

impl Room for Tape {
    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        match request.rest() {
            "/events" => {
                let stream = ctx.open_stream()?;
                stream.event(&ServerEvent::text("first"))?;
                Ok(Response::events(&stream).with_body("retry: 5\n\n"))
            }
            "/later" => {
                ctx.storage().put("waits", &ctx.request_id())?;
                Ok(Response::later())
            }
            "/upload" if ctx.body_follows() => Ok(Response::later()),
            "/flushed" => {
                let stream = ctx.open_stream()?;
                ctx.flush()?;
                stream.write("lost")?;
                bail!("asked to fail")
            }
            "/mistaken" => {
                ctx.open_stream()?;
                Ok(Response::text("not the stream"))
            }
            "/other" => Ok(Response::stream(&ctx.stream("1-99"))),
            "/many" => {
                let stream = ctx.open_stream()?;
                let undone: Result = ctx.transaction(|ctx| {
                    ctx.stream(stream.id()).write("undone")?;
                    bail!("undone")
                });
                ensure!(undone.is_err(), "it fails");
                Ok(Response::stream(&stream).with_status(201))
            }
            _ => Ok(Response::text("whole")),
        }
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        let text = message.as_text().unwrap_or_default();
        match text.split_once(' ') {
            Some(("event", data)) => {
                for stream in ctx.streams() {
                    stream.event(&ServerEvent::text(data).named("said"))?;
                }
                ensure!(data != "fails", "asked to fail");
            }
            Some(("end", id)) => ctx.stream(id).end()?,
            Some(("abort", id)) => ctx.stream(id).abort()?,
            Some(("answer", answer)) => {
                let id: Option<String> = ctx.storage().get("waits")?;
                ctx.respond(id.unwrap_or_default(), Response::text(answer))?;
            }
            Some(("begin", _)) => {
                let id: Option<String> = ctx.storage().get("waits")?;
                let stream = ctx.stream(id.unwrap_or_default());
                ctx.respond(stream.id(), Response::stream(&stream))?;
            }
            Some(("write", id)) => ctx.stream(id).write_text("more")?,
            _ => conn.send(Message::text(format!("{:?}", self.ends)))?,
        }
        Ok(())
    }

    fn on_body(&mut self, ctx: &Context, id: &str, piece: BodyPiece) -> Result {
        match piece {
            BodyPiece::More(bytes) => {
                ensure!(bytes != b"fails", "asked to fail");
                self.bytes += bytes.len();
                Ok(())
            }
            BodyPiece::Last(bytes) => {
                ctx.respond(id, Response::text((self.bytes + bytes.len()).to_string()))
            }
            BodyPiece::Failed(_) => Ok(()),
        }
    }

    fn on_stream_close(&mut self, _: &Context, _: &str, end: StreamEnd) -> Result {
        self.ends.push(end);
        Ok(())
    }
}

fn event(name: &str, data: &str) -> (String, String) {
    (name.to_owned(), data.to_owned())
}

fn room() -> TestRoom<Tape> {
    TestRoom::new("lobby")
}

/// The ends that the room heard of.
fn ends(room: &TestRoom<Tape>) -> String {
    let client = room.connect("asks");
    client.send_text("ends");
    client.received()[0].as_text().unwrap_or_default().to_owned()
}

#[test]
fn a_stream_grows_with_later_turns_and_ends() {
    let room = room();
    let response = room.begin(Request::get("/events"));
    let head = response.head().expect("it has begun");
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(response.take_events(), [event("message", "first")]);
    let client = room.connect("a");
    client.send_text("event two words");
    assert_eq!(response.take_events(), [event("said", "two words")]);
    // A turn that fails writes nothing.
    client.send_text("event fails");
    assert_eq!(response.take_text(), "");
    assert_eq!((room.take_errors().len(), room.stream_ids()), (1, vec![response.id()]));
    room.restart();
    client.send_text(format!("end {}", response.id()));
    assert!(response.is_complete() && !response.is_broken_off());
    client.send_text(format!("write {}", response.id()));
    assert!(room.take_errors()[0].contains("no open response has this id"));
    assert_eq!(ends(&room), "[]");
}

#[test]
fn a_stream_that_its_room_gives_up_is_broken_off_and_the_room_is_not_told() {
    let room = room();
    let response = room.begin(Request::get("/events"));
    let client = room.connect("a");
    client.send_text(format!("abort {}", response.id()));
    assert_eq!(response.take_events(), [event("message", "first")]);
    assert!(response.is_broken_off() && !response.is_complete());
    assert_eq!((ends(&room).as_str(), room.stream_ids().len()), ("[]", 0));
    client.send_text(format!("abort {}", response.id()));
    assert!(room.take_errors()[0].contains("no open response has this id"));
}

#[test]
fn a_later_turn_answers_or_the_client_gets_504() {
    let room = room();
    let client = room.connect("a");
    let waits = room.begin(Request::get("/later"));
    assert_eq!(waits.head(), None);
    client.send_text("answer at last");
    assert_eq!((waits.status(), waits.take_text()), (Some(200), "at last".to_owned()));
    client.send_text("answer twice");
    assert!(room.take_errors()[0].contains("no open response"));

    let begun = room.begin(Request::get("/later"));
    client.send_text(format!("write {}", begun.id()));
    client.send_text("begin it");
    assert_eq!((begun.take_text(), begun.is_complete()), ("more".to_owned(), false));
    client.send_text("answer again");
    assert!(room.take_errors()[0].contains("has begun"));
    begun.leave();
    assert!(begun.is_broken_off());

    let late = room.begin(Request::get("/later"));
    room.advance(Duration::from_secs(59));
    assert_eq!(late.status(), None);
    room.advance(Duration::from_secs(1));
    assert_eq!((late.status(), late.is_complete()), (Some(504), true));
    assert_eq!(ends(&room), "[Left, Late]");
}

#[test]
fn a_stream_that_nobody_writes_to_or_reads_is_cut() {
    let room = room();
    let idle = room.begin(Request::get("/events"));
    room.advance(Duration::from_secs(3_600));
    let slow = room.begin(Request::get("/events"));
    assert!(idle.is_broken_off() && !slow.is_broken_off());
    slow.cut(StreamEnd::Slow);
    slow.cut(StreamEnd::Left);
    assert_eq!(ends(&room), "[Idle, Slow]");
}

#[test]
fn mistakes_with_streams_are_named() {
    let room = room();
    for (rest, why) in [("/mistaken", "Response::stream(&stream)"), ("/other", "another request")] {
        assert_eq!(room.request(Request::get(rest)).status_code(), 500);
        assert!(room.take_errors()[0].contains(why), "{rest}");
    }
    assert!(room.stream_ids().is_empty());
    assert_eq!(room.request(Request::get("/")).body_text(), "whole");
    assert_eq!(room.request(Request::get("/many")).status_code(), 201);
    // A flush left it open, and the rest of the callback failed.
    let failed = room.begin(Request::get("/flushed"));
    assert_eq!((failed.status(), failed.take_text()), (Some(500), "the room failed".to_owned()));
    assert_eq!(ends(&room), "[Failed]");
    for _ in room.stream_ids().len()..1_000 {
        assert_eq!(room.request(Request::get("/events")).status_code(), 200);
    }
    room.take_errors();
    assert_eq!(room.request(Request::get("/events")).status_code(), 500);
    assert!(room.take_errors()[0].contains("streams_max = 1000"));
}

#[test]
fn a_body_comes_in_pieces() {
    let room = room();
    let upload = room.upload(Request::post("/upload"));
    upload.send_piece("hello");
    upload.send_piece(" ");
    assert_eq!(upload.status(), None);
    upload.send_last("world");
    assert_eq!((upload.status(), upload.take_text()), (Some(200), "11".to_owned()));
    // Nothing follows the last piece.
    upload.send_piece("more");
    let failed = room.upload(Request::post("/upload"));
    failed.send_piece("fails");
    assert_eq!(failed.status(), Some(500));
    failed.send_last("more");
    for (fault, status) in [
        (BodyFault::TooLarge, Some(413)),
        (BodyFault::Stalled, Some(408)),
        (BodyFault::Aborted, Some(408)),
    ] {
        let broken = room.upload(Request::post("/upload"));
        broken.fail_body(fault);
        assert_eq!(broken.status(), status, "{fault:?}");
    }
    assert_eq!(ends(&room), "[Failed, Failed, Failed, Failed]");
}
