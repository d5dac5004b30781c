//! A session without sockets: the tests make calls, check the frames and acts, and count time in seconds.

use super::*;
use crate::carrier::{Farewell, SocketFault};
use proptest::prelude::*;
use room_core::id::{ConnectionId, ConnectionSecret};
use room_rooms::room::{ClientArrival, Welcome};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A session, with what it has asked for so far.
struct Session {
    carrier: RoomOne,
    begun: Instant,
    acts: Vec<CarrierAct>,
}

impl Session {
    /// Returns a session of at most three rooms, whose first room has greeted it.
    fn open(token_s: Option<u64>) -> Self {
        let limits = Limits {
            session_rooms_max: 3,
            token_notice_ms: 10_000,
            ping_interval_ms: 1_000_000,
            close_ms_max: 5_000,
            ..Limits::default()
        };
        let begun = Instant::now();
        let end = token_s.map(|seconds| begun + Duration::from_secs(seconds));
        let carrier = RoomOne::new(&limits, Audience::Developer, begun, end);
        let mut session = Self { carrier, begun, acts: Vec::new() };
        let first = session.said(0, welcome());
        assert_eq!((&first[0]["type"], &first[0]["channel"]), (&json!("joined"), &json!(0)));
        session
    }

    fn at(&self, seconds: u64) -> Instant {
        self.begun + Duration::from_secs(seconds)
    }

    fn hear(&mut self, frame: &Value) -> Option<SessionCommand> {
        self.carrier.hear(Message::text(frame.to_string()))
    }

    /// Returns the frames of the session itself.
    fn own(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        self.carrier.own(&mut frames);
        frames.into_iter().map(parsed).collect()
    }

    fn said(&mut self, channel: usize, said: OutboxItem) -> Vec<Value> {
        let mut frames = Vec::new();
        self.carrier.said(ConnectionKey(channel), said, &mut frames);
        frames.into_iter().map(parsed).collect()
    }

    /// Joins a room and is greeted by it. Returns its channel.
    fn join(&mut self, reference: u64) -> usize {
        let frame = json!({"type": "join", "ref": reference, "room": "den"});
        let Some(SessionCommand::Join(key, _)) = self.hear(&frame) else { panic!("no join") };
        assert_eq!(self.carrier.entered(key, None), None);
        let joined = self.said(key.0, welcome());
        assert_eq!((&joined[0]["ref"], &joined[0]["channel"]), (&json!(reference), &json!(key.0)));
        key.0
    }

    fn ended(&mut self, end: WireEnd, seconds: u64) -> Vec<CarrierAct> {
        let now = self.at(seconds);
        self.carrier.ended(end, now, &mut self.acts);
        std::mem::take(&mut self.acts)
    }

    fn tick(&mut self, seconds: u64) -> Vec<CarrierAct> {
        let now = self.at(seconds);
        self.carrier.tick(now, &mut self.acts);
        std::mem::take(&mut self.acts)
    }
}

fn parsed(frame: OutgoingFrame) -> Value {
    match frame {
        OutgoingFrame::Message(Message::Text(text)) => serde_json::from_str(text.as_str()).unwrap(),
        OutgoingFrame::Message(Message::Binary(bytes)) => json!({ "bytes": bytes.len() }),
        OutgoingFrame::Close(frame) => json!({ "close": frame.code }),
        other => panic!("{other:?}"),
    }
}

fn welcome() -> OutboxItem {
    OutboxItem::Welcome(Box::new(Welcome {
        continues: false,
        connection: ConnectionId::parse("ada", 8).unwrap(),
        secret: ConnectionSecret::random(),
        resume_ms: 0,
        at: None,
        arrival: ClientArrival::New,
    }))
}

fn goodbye(code: u16) -> OutboxItem {
    OutboxItem::Goodbye(CloseFrame::new(code, "why"))
}

fn closed(channel: usize, code: u16, reason: &str) -> Value {
    json!({ "type": "closed", "channel": channel, "code": code, "reason": reason })
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_used_between_its_joined_and_its_end_and_never_again() {
    let mut session = Session::open(None);
    let send = |channel: usize| json!({"type": "send", "ref": 9, "channel": channel, "data": ""});
    let Some(SessionCommand::Join(key, _)) =
        session.hear(&json!({"type": "join", "ref": 1, "room": "den"}))
    else {
        panic!("no join")
    };
    assert_eq!((key, session.hear(&send(1))), (ConnectionKey(1), None));
    assert_eq!(session.own()[0]["code"], "unknown_channel");
    assert!(session.carrier.awaits_entry(key));
    assert_eq!(session.carrier.entered(key, None), None);
    session.said(1, welcome());
    assert!(matches!(session.hear(&send(1)), Some(SessionCommand::Send(ConnectionKey(1), _))));
    assert_eq!(session.said(1, goodbye(4000)), [closed(1, 4000, "why")]);
    let ending = Ending { frame: CloseFrame::new(4000, "why"), handshake: CloseHandshake::Clean };
    assert_eq!(session.carrier.departures(), [(ConnectionKey(1), ending)]);
    assert_eq!((session.hear(&send(1)), session.own()[0]["ref"].clone()), (None, json!(9)));
    assert_eq!(session.said(1, OutboxItem::Message(Message::text("late"))), [json!(null); 0]);
    assert_eq!(session.join(2), 2);
    // The first room is unaffected.
    assert!(session.hear(&send(0)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_session_has_as_many_rooms_as_its_limit() {
    let mut session = Session::open(None);
    session.join(1);
    let another = json!({"type": "join", "ref": 2, "room": "den"});
    let Some(SessionCommand::Join(key, _)) = session.hear(&another) else { panic!("no join") };
    let more = json!({"type": "join", "ref": 3, "room": "den"});
    assert_eq!(session.hear(&more), None);
    let full = &session.own()[0];
    assert_eq!((&full["code"], &full["ref"]), (&json!("session_full"), &json!(3)));
    // A join that fails has no place any more.
    let refusal = SessionRefusal::new(Some(2), SessionErrorName::Full, "full");
    session.carrier.join_failed(key, &refusal);
    assert_eq!(session.own()[0]["ref"], 2);
    session.join(4);
}

#[tokio::test(start_paused = true)]
async fn a_join_that_fails_after_its_greeting_ends_its_channel() {
    let mut session = Session::open(None);
    let ask = json!({"type": "join", "ref": 1, "room": "den"});
    let Some(SessionCommand::Join(key, _)) = session.hear(&ask) else { panic!("no join") };
    assert_eq!(session.said(key.0, welcome())[0]["ref"], 1);
    let late = SessionRefusal::new(Some(1), SessionErrorName::TimedOut, "late");
    session.carrier.join_failed(key, &late);
    assert_eq!(session.own(), [closed(1, 1013, "late")], "the number has its answer already");
}

#[tokio::test(start_paused = true)]
async fn an_overflow_ends_its_channel_by_name_and_no_other() {
    let mut session = Session::open(None);
    let den = session.join(1);
    let frames = session.said(den, OutboxItem::Overflow);
    assert_eq!(frames[0]["code"], "too_slow");
    assert_eq!(frames[1], closed(den, 1013, "too slow: the outbox is full"));
    let (_, ending) = session.carrier.departures().pop().unwrap();
    assert_eq!((ending.frame.code, ending.handshake), (1013, CloseHandshake::Missing));
    assert_eq!(session.said(0, OutboxItem::Message(Message::text("a")))[0]["data"], "a");
}

#[tokio::test(start_paused = true)]
async fn every_connection_ends_as_the_socket_does() {
    let mut session = Session::open(None);
    session.join(1);
    let frame = CloseFrame::new(1001, "");
    let ending = Ending { frame: frame.clone(), handshake: CloseHandshake::Clean };
    let leave = |key| CarrierAct::Leave(ConnectionKey(key), ending.clone());
    let expected = [leave(0), leave(1), CarrierAct::HangUp(Farewell::Reply)];
    assert_eq!(session.ended(WireEnd::Closed(frame), 1), expected);
    let mut lost = Session::open(None);
    let acts = lost.ended(WireEnd::Lost, 1);
    let broken = CarrierAct::Leave(ConnectionKey(0), Ending::broken_off());
    assert_eq!(acts, [broken, CarrierAct::HangUp(Farewell::Drop)]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_protocol_is_closed_when_all_rooms_have_said_goodbye() {
    let fault = |code| {
        let frame = CloseFrame::new(code, "bad");
        WireEnd::Fault(SocketFault { frame, error: "bad".to_owned() })
    };
    let mut session = Session::open(None);
    session.join(1);
    let acts = session.ended(fault(1002), 0);
    assert_eq!(acts.len(), 4, "a report and an end for each: {acts:?}");
    assert_eq!(session.said(0, OutboxItem::Message(Message::text("last")))[0]["data"], "last");
    assert_eq!(session.said(0, goodbye(1011)), [json!(null); 0]);
    let last = session.said(1, goodbye(1011));
    assert_eq!(last, [json!({ "close": 1002 })]);
    // Rooms that do not answer in time are not waited for, and a session without rooms waits for nobody.
    let mut slow = Session::open(None);
    slow.ended(fault(1007), 0);
    assert!(slow.tick(5).contains(&CarrierAct::Close(CloseFrame::new(1007, "bad"))));
    let mut bare = Session::open(None);
    bare.said(0, goodbye(4000));
    assert_eq!(bare.ended(fault(1009), 0), [CarrierAct::Close(CloseFrame::new(1009, "bad"))]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_is_announced_and_ends_its_channel_alone() {
    let mut session = Session::open(Some(60));
    let den = session.join(1);
    assert_eq!(session.carrier.due(), Some(session.at(50)));
    assert_eq!(session.tick(50), []);
    let notice = &session.own()[0];
    assert_eq!((&notice["code"], &notice["retry_ms"]), (&json!("token_expires"), &json!(10_000)));
    session.carrier.renewed(ConnectionKey(0), Some(session.at(100)));
    assert_eq!((session.tick(60), session.own()), (Vec::new(), Vec::new()));
    assert_eq!(session.carrier.due(), Some(session.at(90)));
    session.tick(95);
    assert_eq!(session.own().len(), 1);
    let frame = CloseFrame::new(4401, "the token has expired");
    let ending = Ending { frame, handshake: CloseHandshake::Missing };
    assert_eq!(session.tick(100), [CarrierAct::Part(ConnectionKey(0), ending)]);
    let own = session.own();
    assert_eq!(own[0]["code"], "token_expired");
    assert_eq!(own[1], closed(0, 4401, "the token has expired"));
    assert!(session.hear(&json!({"type": "send", "channel": den, "data": "x"})).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_closes_the_session_with_1012() {
    let mut session = Session::open(None);
    session.carrier.stop(session.at(3));
    assert_eq!(session.carrier.due(), Some(session.at(3)));
    let frame = CloseFrame::new(1012, "the server is shutting down");
    assert_eq!(session.tick(3), [CarrierAct::Close(frame)]);
    // Nothing is joined any more, and nothing is written after the close frame.
    assert_eq!(session.hear(&json!({"type": "join", "ref": 1, "room": "den"})), None);
    session.hear(&json!({"type": "ping"}));
    assert_eq!((session.carrier.waiting(), session.own()), (0, Vec::new()));
    assert!(!session.carrier.has_own());
}

#[tokio::test(start_paused = true)]
async fn a_room_that_closes_its_client_before_the_driver_has_it_leaves_nothing() {
    let mut session = Session::open(None);
    let ask = json!({"type": "join", "ref": 1, "room": "den"});
    let Some(SessionCommand::Join(key, _)) = session.hear(&ask) else { panic!("no join") };
    assert_eq!(session.said(key.0, welcome())[0]["ref"], 1);
    assert_eq!(session.said(key.0, goodbye(4000)), [closed(key.0, 4000, "why")]);
    assert_eq!(session.said(key.0, goodbye(4000)), [json!(null); 0]);
    assert_eq!(session.hear(&json!({"type": "leave", "channel": key.0})), None);
    assert_eq!(session.own()[0]["code"], "unknown_channel");
    assert_eq!(session.carrier.departures(), [], "the driver has nothing to part from");
    let ending = Ending { frame: CloseFrame::new(4000, "why"), handshake: CloseHandshake::Clean };
    assert_eq!(session.carrier.entered(key, None), Some(ending));
    assert_eq!((session.own(), session.carrier.awaits_entry(key)), (Vec::new(), false));
    assert_eq!(session.carrier.channels.len(), 1);
    // If the answer to the join does not come in time, the client knows the end already.
    let Some(SessionCommand::Join(key, _)) = session.hear(&ask) else { panic!("no join") };
    session.said(key.0, welcome());
    session.said(key.0, goodbye(4000));
    let late = SessionRefusal::new(Some(1), SessionErrorName::TimedOut, "late");
    session.carrier.join_failed(key, &late);
    assert_eq!((session.own(), session.carrier.channels.len()), (Vec::new(), 1));
}

#[tokio::test(start_paused = true)]
async fn an_overflow_before_the_greeting_refuses_the_join() {
    let ask = |reference: u64| json!({"type": "join", "ref": reference, "room": "den"});
    for is_entered_first in [false, true] {
        let mut session = Session::open(None);
        let Some(SessionCommand::Join(key, _)) = session.hear(&ask(5)) else { panic!("no join") };
        let ending = if is_entered_first {
            assert_eq!(session.carrier.entered(key, None), None);
            assert_eq!(session.said(key.0, OutboxItem::Overflow), [json!(null); 0]);
            session.carrier.departures().pop().map(|(_, ending)| ending)
        } else {
            assert_eq!(session.said(key.0, OutboxItem::Overflow), [json!(null); 0]);
            session.carrier.entered(key, None)
        };
        assert_eq!(ending.map(|ending| ending.handshake), Some(CloseHandshake::Missing));
        let own = session.own();
        assert_eq!((own.len(), &own[0]["code"]), (1, &json!("too_slow")), "{own:?}");
        assert_eq!((&own[0]["ref"], &own[0]["channel"]), (&json!(5), &Value::Null));
        assert_eq!(session.carrier.channels.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_to_a_client_that_has_closed() {
    let mut session = Session::open(None);
    session.hear(&json!({"type": "ping", "ref": 1}));
    session.carrier.client_closed();
    assert_eq!(session.carrier.waiting(), 0);
    assert_eq!(session.said(0, OutboxItem::Message(Message::text("a"))), [json!(null); 0]);
    assert_eq!(session.said(0, goodbye(4000)), [json!(null); 0]);
    assert_eq!(session.carrier.departures().len(), 1);
    assert_eq!((session.own(), session.ended(WireEnd::Lost, 0)), (Vec::new(), Vec::new()));
    let acts = session.ended(WireEnd::Closed(CloseFrame::new(1000, "")), 0);
    assert_eq!(acts, [CarrierAct::HangUp(Farewell::Reply)]);
}

/// Something that happens to a session.
#[derive(Clone, Debug)]
enum Step {
    Frame(Value),
    Raw(String),
    Bytes(Vec<u8>),
    Entered(usize),
    Failed(usize),
    Greeted(usize),
    Said(usize),
    Goodbye(usize),
    Overflow(usize),
    Tick(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    let channel = 0_usize..6;
    let frame = (0_u64..9, 0_usize..6, 0_usize..7).prop_map(|(reference, channel, kind)| {
        let kind = ["join", "leave", "send", "token", "ping", "what", ""][kind];
        let mut frame = json!({"type": kind, "channel": channel, "room": "den", "data": "x"});
        frame["token"] = "a.b.c".into();
        if reference > 0 {
            frame["ref"] = reference.into();
        }
        Step::Frame(frame)
    });
    prop_oneof![
        4 => frame,
        1 => ".{0,20}".prop_map(Step::Raw),
        1 => proptest::collection::vec(any::<u8>(), 0..24).prop_map(Step::Bytes),
        2 => channel.clone().prop_map(Step::Entered),
        1 => channel.clone().prop_map(Step::Failed),
        2 => channel.clone().prop_map(Step::Greeted),
        1 => channel.clone().prop_map(Step::Said),
        1 => channel.clone().prop_map(Step::Goodbye),
        1 => channel.prop_map(Step::Overflow),
        1 => (0_u64..100).prop_map(Step::Tick),
    ]
}

proptest! {
    #[test]
    fn any_frames_leave_a_session_that_answers_each_number_at_most_once(
        steps in proptest::collection::vec(steps(), 0..60),
    ) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let mut session = Session::open(Some(50));
        let (mut joining, mut open, mut gone) =
            (BTreeSet::new(), BTreeSet::from([0]), BTreeSet::new());
        let mut next_ref = 100;
        for step in steps {
            let mut frames = Vec::new();
            match step {
                Step::Frame(mut frame) => {
                    // Each number is used once.
                    let reference = frame.get("ref").is_some().then(|| {
                        next_ref += 1;
                        frame["ref"] = next_ref.into();
                        next_ref
                    });
                    let command = session.hear(&frame);
                    let own = session.own();
                    let answers =
                        own.iter().filter(|own| own["ref"].as_u64() == reference).count();
                    prop_assert!(answers <= usize::from(command.is_none()) || reference.is_none());
                    match command {
                        Some(SessionCommand::Join(key, _)) => {
                            prop_assert!(joining.insert(key.0) && !gone.contains(&key.0));
                        }
                        Some(SessionCommand::Leave(key, reference)) => {
                            session.carrier.leave(key, reference, &mut Vec::new());
                            open.remove(&key.0);
                            joining.remove(&key.0);
                            gone.insert(key.0);
                        }
                        Some(SessionCommand::Send(key, _) | SessionCommand::Present(key, _)) => {
                            prop_assert!(!gone.contains(&key.0));
                        }
                        Some(SessionCommand::Token(..)) | None => {}
                    }
                    prop_assert!(joining.len() + open.len() <= 4);
                }
                Step::Raw(text) => drop(session.carrier.hear(Message::text(text))),
                Step::Bytes(bytes) => {
                    drop(session.carrier.hear(Message::Binary(bytes.into())));
                }
                Step::Entered(key) if joining.remove(&key) => {
                    let ending = session.carrier.entered(ConnectionKey(key), None);
                    let set = if ending.is_some() { &mut gone } else { &mut open };
                    set.insert(key);
                }
                Step::Failed(key) if joining.remove(&key) => {
                    let refusal =
                        SessionRefusal::new(Some(1), SessionErrorName::Busy, "busy");
                    session.carrier.join_failed(ConnectionKey(key), &refusal);
                    gone.insert(key);
                }
                Step::Greeted(key) => frames = session.said(key, welcome()),
                Step::Said(key) => {
                    frames = session.said(key, OutboxItem::Message(Message::text("x")));
                }
                Step::Goodbye(key) => frames = session.said(key, goodbye(4000)),
                Step::Overflow(key) => frames = session.said(key, OutboxItem::Overflow),
                Step::Tick(seconds) => {
                    for act in session.tick(seconds) {
                        if let CarrierAct::Part(key, _) = act {
                            open.remove(&key.0);
                            gone.insert(key.0);
                        }
                    }
                }
                Step::Entered(_) | Step::Failed(_) => {}
            }
            for (key, _) in session.carrier.departures() {
                open.remove(&key.0);
                gone.insert(key.0);
            }
            frames.extend(session.own());
            for frame in frames {
                if frame["type"] == "error" {
                    let names: Vec<_> =
                        SessionErrorName::ALL.iter().map(|name| name.as_str()).collect();
                    prop_assert!(names.contains(&frame["code"].as_str().unwrap()), "{}", frame);
                }
            }
            prop_assert!(session.carrier.listens(), "nothing of this ends the session");
        }
    }
}
