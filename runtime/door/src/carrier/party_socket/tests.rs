//! A plain WebSocket without sockets: the tests make calls, check the acts, and count time in seconds.

use super::*;
use proptest::prelude::*;

const KEY: ConnectionKey = PartySocket::KEY;

/// A carrier with the acts that it has requested so far.
struct Wire {
    carrier: PartySocket,
    begun: Instant,
    acts: Vec<CarrierAct>,
    frames: Vec<OutgoingFrame>,
}

impl Wire {
    /// Returns a connection that is pinged every ten seconds, and has three seconds for an answer and five to close.
    fn open() -> Self {
        let limits = Limits {
            ping_interval_ms: 10_000,
            pong_ms_max: 3_000,
            close_ms_max: 5_000,
            ..Limits::default()
        };
        let begun = Instant::now();
        let carrier = PartySocket::new(MessageForm::Plain, &limits, begun, None);
        Self { carrier, begun, acts: Vec::new(), frames: Vec::new() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.begun + Duration::from_secs(seconds)
    }

    /// Returns the acts that the carrier has requested since the last call.
    fn acts(&mut self) -> Vec<CarrierAct> {
        std::mem::take(&mut self.acts)
    }

    fn frames(&mut self) -> Vec<OutgoingFrame> {
        std::mem::take(&mut self.frames)
    }

    fn said(&mut self, said: OutboxItem) -> Vec<OutgoingFrame> {
        self.carrier.said(KEY, said, &mut self.frames);
        self.frames()
    }

    fn ended(&mut self, end: WireEnd, seconds: u64) -> Vec<CarrierAct> {
        let now = self.at(seconds);
        self.carrier.ended(end, now, &mut self.acts);
        self.acts()
    }

    fn written(&mut self, written: WrittenFrame, seconds: u64) -> Vec<CarrierAct> {
        let now = self.at(seconds);
        self.carrier.written(written, now, &mut self.acts);
        self.acts()
    }

    fn refused(&mut self, seconds: u64) -> Vec<CarrierAct> {
        let now = self.at(seconds);
        self.carrier.refused(KEY, now, &mut self.acts);
        self.acts()
    }

    fn tick(&mut self, seconds: u64) -> Vec<CarrierAct> {
        let now = self.at(seconds);
        self.carrier.tick(now, &mut self.acts);
        self.acts()
    }

    /// Returns when the carrier wants its next tick, in seconds.
    fn due(&self) -> Option<u64> {
        self.carrier.due().map(|due| due.duration_since(self.begun).as_secs())
    }
}

fn frame(code: u16) -> CloseFrame {
    CloseFrame::new(code, "why")
}

fn message() -> Message {
    Message::text("hi")
}

fn fault() -> WireEnd {
    WireEnd::Fault(SocketFault { frame: frame(1002), error: "bad".to_owned() })
}

fn leave(frame: CloseFrame, handshake: CloseHandshake) -> CarrierAct {
    CarrierAct::Leave(KEY, Ending { frame, handshake })
}

fn broken_off() -> CarrierAct {
    CarrierAct::Leave(KEY, Ending::broken_off())
}

/// Returns the acts that report a fault.
fn reports() -> Vec<CarrierAct> {
    vec![CarrierAct::Report(KEY, "bad".to_owned()), leave(frame(1002), CloseHandshake::Missing)]
}

#[tokio::test(start_paused = true)]
async fn messages_pass_in_both_directions() {
    let mut wire = Wire::open();
    assert_eq!(wire.carrier.heard(ClientInput::Message(message())), Some((KEY, message())));
    assert_eq!(wire.carrier.heard(ClientInput::SignOfLife), None);
    assert_eq!(wire.said(OutboxItem::Message(message())), [OutgoingFrame::Message(message())]);
    assert_eq!(wire.due(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_clients_close_is_answered_and_reported_as_clean() {
    let mut wire = Wire::open();
    let acts = wire.ended(WireEnd::Closed(frame(1001)), 1);
    let expected = [leave(frame(1001), CloseHandshake::Clean), CarrierAct::HangUp(Farewell::Reply)];
    assert_eq!(acts, expected);
    assert_eq!(wire.due(), None);
}

#[tokio::test(start_paused = true)]
async fn a_close_by_the_room_waits_for_the_clients_close_frame() {
    let mut wire = Wire::open();
    assert_eq!(wire.said(OutboxItem::Goodbye(frame(4000))), [OutgoingFrame::Close(frame(4000))]);
    assert_eq!(wire.said(OutboxItem::Message(message())), []);
    // The room receives what the client sends before it has read the goodbye.
    assert_eq!(wire.carrier.heard(ClientInput::Message(message())), Some((KEY, message())));
    assert_eq!(wire.written(WrittenFrame::Close, 1), []);
    assert_eq!(wire.due(), Some(6));
    let acts = wire.ended(WireEnd::Closed(frame(4000)), 2);
    assert_eq!(
        acts,
        [leave(frame(4000), CloseHandshake::Clean), CarrierAct::HangUp(Farewell::Reply)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_close_frame_back_is_dropped() {
    let mut wire = Wire::open();
    wire.said(OutboxItem::Goodbye(frame(4000)));
    wire.written(WrittenFrame::Close, 1);
    assert_eq!(wire.tick(5), []);
    assert_eq!(wire.tick(6), [broken_off(), CarrierAct::HangUp(Farewell::Drop)]);
}

#[tokio::test(start_paused = true)]
async fn an_outbox_at_its_bound_closes_with_1013() {
    let mut wire = Wire::open();
    let frames = wire.said(OutboxItem::Overflow);
    assert_eq!(
        frames,
        [OutgoingFrame::Close(CloseFrame::new(1013, "too slow: the outbox is full"))]
    );
}

#[tokio::test(start_paused = true)]
async fn a_protocol_error_closes_after_the_answers_to_earlier_messages() {
    let mut wire = Wire::open();
    assert_eq!(wire.ended(fault(), 1), reports());
    assert!(!wire.carrier.listens());
    assert_eq!(wire.said(OutboxItem::Message(message())), [OutgoingFrame::Message(message())]);
    // The close frame of the fault replaces the room's own.
    assert_eq!(wire.said(OutboxItem::Goodbye(frame(1011))), [OutgoingFrame::Close(frame(1002))]);
    assert_eq!(wire.written(WrittenFrame::Close, 2), [CarrierAct::HangUp(Farewell::ShutDown)]);
}

#[tokio::test(start_paused = true)]
async fn a_protocol_error_waits_once_for_answers_and_once_for_the_client() {
    let mut wire = Wire::open();
    assert_eq!(wire.ended(fault(), 1), reports());
    assert_eq!((wire.due(), wire.tick(5)), (Some(6), Vec::new()));
    assert_eq!(wire.tick(6), [CarrierAct::End(KEY, frame(1002))]);
    assert_eq!((wire.due(), wire.tick(9)), (Some(10), Vec::new()));
    assert_eq!(wire.tick(11), [CarrierAct::HangUp(Farewell::Drop)]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_room_closes_the_connection_after_pending_answers() {
    let mut wire = Wire::open();
    let busy = CloseFrame::new(1013, "the room is busy");
    let acts = wire.refused(1);
    let error = "the room did not take a message in time".to_owned();
    let left = leave(busy.clone(), CloseHandshake::Missing);
    assert_eq!(acts, [CarrierAct::Report(KEY, error), left, CarrierAct::End(KEY, busy.clone())]);
    assert_eq!(wire.said(OutboxItem::Goodbye(busy.clone())), [OutgoingFrame::Close(busy)]);
    assert_eq!(wire.due(), Some(6));
    assert_eq!(wire.tick(6), [CarrierAct::HangUp(Farewell::Drop)]);
}

#[tokio::test(start_paused = true)]
async fn a_protocol_error_after_our_close_frame_is_reported_as_1006() {
    let mut wire = Wire::open();
    wire.said(OutboxItem::Goodbye(frame(4000)));
    wire.written(WrittenFrame::Close, 1);
    assert_eq!(wire.ended(fault(), 2), [broken_off(), CarrierAct::HangUp(Farewell::ShutDown)]);
    // While the room's close frame is being written, the client receives that one, and its answer is not awaited.
    let mut wire = Wire::open();
    wire.said(OutboxItem::Goodbye(frame(4000)));
    assert_eq!(wire.ended(fault(), 2), reports());
    assert_eq!(wire.written(WrittenFrame::Close, 3), [CarrierAct::HangUp(Farewell::ShutDown)]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_client_is_reported_once() {
    let mut wire = Wire::open();
    assert_eq!(wire.ended(WireEnd::Lost, 1), [broken_off(), CarrierAct::HangUp(Farewell::Drop)]);
    assert_eq!((wire.ended(WireEnd::Lost, 2), wire.tick(100)), (Vec::new(), Vec::new()));
    let mut wire = Wire::open();
    assert_eq!(wire.ended(fault(), 1), reports());
    assert_eq!(wire.ended(WireEnd::Lost, 2), [CarrierAct::HangUp(Farewell::Drop)]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_dropped() {
    let mut wire = Wire::open();
    assert_eq!(wire.tick(10), [CarrierAct::Ping]);
    assert_eq!(wire.written(WrittenFrame::Ping, 11), []);
    assert_eq!((wire.due(), wire.tick(13)), (Some(14), Vec::new()));
    assert_eq!(wire.tick(14), [broken_off(), CarrierAct::HangUp(Farewell::Drop)]);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_sends_only_the_close_frame_when_it_is_due() {
    let mut wire = Wire::open();
    let at = wire.at(3);
    wire.carrier.stop(at);
    assert_eq!((wire.due(), wire.tick(2)), (Some(3), Vec::new()));
    let goodbye = CloseFrame::new(1012, "the server is shutting down");
    assert_eq!(wire.tick(3), [CarrierAct::Close(goodbye)]);
    assert_eq!(wire.said(OutboxItem::Message(message())), []);
    assert_eq!(wire.said(OutboxItem::Goodbye(frame(4000))), []);
    wire.written(WrittenFrame::Close, 4);
    assert_eq!(wire.due(), Some(9));
    // A connection that already ends for another reason keeps that close frame.
    let mut wire = Wire::open();
    assert_eq!(wire.ended(fault(), 1), reports());
    wire.carrier.stop(at);
    let at = wire.at(2);
    wire.carrier.stop(at);
    assert_eq!(wire.tick(2), [CarrierAct::Close(frame(1002))]);
}

/// An event of a connection.
#[derive(Clone, Debug)]
enum Happens {
    Heard,
    Refused,
    Ended(WireEnd),
    Said(OutboxItem),
    /// The waiting frames are written.
    Written,
    Stop,
    /// Time passes until the next tick is due.
    Tick,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Heard),
        1 => Just(Happens::Refused),
        1 => Just(Happens::Ended(WireEnd::Closed(frame(1000)))),
        1 => Just(Happens::Ended(fault())),
        1 => Just(Happens::Ended(WireEnd::Lost)),
        4 => Just(Happens::Said(OutboxItem::Message(message()))),
        1 => Just(Happens::Said(OutboxItem::Goodbye(frame(4000)))),
        1 => Just(Happens::Said(OutboxItem::Overflow)),
        3 => Just(Happens::Written),
        1 => Just(Happens::Stop),
        4 => Just(Happens::Tick),
    ]
}

proptest! {
    #[test]
    fn in_any_order_a_room_receives_one_end_and_a_client_nothing_after_a_close_frame(
        history in prop::collection::vec(happens(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _clock = runtime.enter();
        let (mut wire, mut now) = (Wire::open(), 0);
        let (mut waiting, mut written, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for happens in history {
            // A driver stops at the end, and reads as long as the carrier listens.
            if all.iter().any(|act| matches!(act, CarrierAct::HangUp(_))) {
                break;
            }
            let listens = wire.carrier.listens();
            let acts = match happens {
                Happens::Heard if listens => {
                    prop_assert!(wire.carrier.heard(ClientInput::Message(message())).is_some());
                    Vec::new()
                }
                Happens::Refused if listens => wire.refused(now),
                Happens::Ended(end) if listens || end == WireEnd::Lost => wire.ended(end, now),
                Happens::Heard | Happens::Refused | Happens::Ended(_) => continue,
                Happens::Said(said) => {
                    waiting.extend(wire.said(said));
                    Vec::new()
                }
                Happens::Written => {
                    let batch = std::mem::take(&mut waiting);
                    let mut acts = Vec::new();
                    for frame in batch {
                        match &frame {
                            OutgoingFrame::Ping => acts.extend(wire.written(WrittenFrame::Ping, now)),
                            OutgoingFrame::Close(_) => acts.extend(wire.written(WrittenFrame::Close, now)),
                            OutgoingFrame::Message(_)
                            | OutgoingFrame::Entry(_)
                            | OutgoingFrame::Presence(_)
                            | OutgoingFrame::Welcome(_) => {}
                        }
                        written.push(frame);
                    }
                    acts
                }
                Happens::Stop => {
                    let at = wire.at(now + 1);
                    wire.carrier.stop(at);
                    Vec::new()
                }
                Happens::Tick => {
                    now = now.max(wire.due().unwrap_or(now));
                    wire.tick(now)
                }
            };
            for act in &acts {
                match act {
                    CarrierAct::Ping => {
                        prop_assert!(!waiting.contains(&OutgoingFrame::Ping), "two pings wait");
                        waiting.insert(0, OutgoingFrame::Ping);
                    }
                    CarrierAct::Close(frame) => waiting = vec![OutgoingFrame::Close(frame.clone())],
                    _ => {}
                }
            }
            all.extend(acts);
        }
        let leaves = all.iter().filter(|act| matches!(act, CarrierAct::Leave(..))).count();
        let over = all.iter().any(|act| matches!(act, CarrierAct::HangUp(_)));
        prop_assert!(leaves <= 1, "{all:?}");
        prop_assert!(!over || leaves == 1, "the room does not hear of the end: {all:?}");
        written.extend(waiting);
        let close = written.iter().position(|frame| matches!(frame, OutgoingFrame::Close(_)));
        prop_assert!(close.is_none_or(|at| at + 1 == written.len()), "{written:?}");
    }
}
