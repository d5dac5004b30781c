//! Server-sent events: one connection to one room, whose client sends nothing on it. Owns how such a connection ends.
//!
//! Invariant: the end is reported to the room once, whichever side ends the connection. Nothing is written after a close.
//! A client that is gone without a word is noticed by the signs of life that it does not take. It does not know bytes, or by
//! which way the client's own messages come.

use super::{Carrier, CarrierAct, ClientInput, Farewell, OutgoingFrame, WireEnd, WrittenFrame};
use room_auth::AuthError;
use room_core::event::{CloseFrame, CloseHandshake, Ending, Message};
use room_core::limits::{Limits, ms};
use room_rooms::room::{ConnectionKey, OutboxItem};
use std::time::Duration;
use tokio::time::Instant;

/// The connection of an event stream.
pub(crate) struct SseCarrier {
    stage: StreamStage,
    /// When the next sign of life is due; `None` while one is being written.
    next: Option<Instant>,
    interval: Duration,
    stop_at: Option<Instant>,
    /// When the client's token ends.
    end: Option<Instant>,
}

/// The stage of a stream.
enum StreamStage {
    Open,
    /// This close frame is being written.
    Closing(CloseFrame),
    Over,
}

impl SseCarrier {
    /// The key of its one connection.
    pub(crate) const KEY: ConnectionKey = ConnectionKey(0);

    /// Starts a stream whose client a room has admitted. It is closed at `end`, when the client's token ends.
    pub(crate) fn new(limits: &Limits, now: Instant, end: Option<Instant>) -> Self {
        let interval = ms(limits.stream_keep_alive_ms);
        let (stage, next) = (StreamStage::Open, Some(now + interval));
        Self { stage, next, interval, stop_at: None, end }
    }

    /// Returns the close frame to write, or `None` if the stream is closing already.
    fn close(&mut self, frame: CloseFrame) -> Option<CloseFrame> {
        if !matches!(self.stage, StreamStage::Open) {
            return None;
        }
        self.stage = StreamStage::Closing(frame.clone());
        Some(frame)
    }
}

impl Carrier for SseCarrier {
    fn heard(&mut self, _heard: ClientInput) -> Option<(ConnectionKey, Message)> {
        None
    }

    fn refused(&mut self, _key: ConnectionKey, _now: Instant, _acts: &mut Vec<CarrierAct>) {}

    fn forbidden(&mut self, _key: ConnectionKey, _now: Instant, _acts: &mut Vec<CarrierAct>) {}

    fn ended(&mut self, _end: WireEnd, _now: Instant, acts: &mut Vec<CarrierAct>) {
        if matches!(self.stage, StreamStage::Over) {
            return;
        }
        self.stage = StreamStage::Over;
        acts.push(CarrierAct::Leave(Self::KEY, Ending::broken_off()));
        acts.push(CarrierAct::HangUp(Farewell::Drop));
    }

    fn listens(&self) -> bool {
        !matches!(self.stage, StreamStage::Over)
    }

    fn said(&mut self, _key: ConnectionKey, said: OutboxItem, frames: &mut Vec<OutgoingFrame>) {
        let last = match said {
            OutboxItem::Message(message) => Ok(OutgoingFrame::Message(message)),
            OutboxItem::Entry(entry) => Ok(OutgoingFrame::Entry(entry)),
            OutboxItem::Presence(event) => Ok(OutgoingFrame::Presence(event)),
            OutboxItem::Welcome(welcome) => Ok(OutgoingFrame::Welcome(welcome)),
            // Its client is answered where it posts.
            OutboxItem::Ack(_) => return,
            OutboxItem::Goodbye(frame) => Err(frame),
            OutboxItem::Overflow => Err(CloseFrame::new(1013, "too slow: the outbox is full")),
        };
        let last = match last {
            Ok(frame) => {
                if matches!(self.stage, StreamStage::Open) {
                    frames.push(frame);
                }
                return;
            }
            Err(last) => last,
        };
        frames.extend(self.close(last).map(OutgoingFrame::Close));
    }

    fn written(&mut self, written: WrittenFrame, now: Instant, acts: &mut Vec<CarrierAct>) {
        match (written, std::mem::replace(&mut self.stage, StreamStage::Over)) {
            (WrittenFrame::Close, StreamStage::Closing(frame)) => {
                // No answer of the client follows: it has what the room said last.
                let ending = Ending { frame, handshake: CloseHandshake::Clean };
                acts.push(CarrierAct::Leave(Self::KEY, ending));
                acts.push(CarrierAct::HangUp(Farewell::ShutDown));
            }
            (WrittenFrame::Ping, stage) => {
                self.stage = stage;
                self.next = Some(now + self.interval);
            }
            (WrittenFrame::Close, stage) => self.stage = stage,
        }
    }

    fn stop(&mut self, at: Instant) {
        self.stop_at = Some(at);
    }

    fn due(&self) -> Option<Instant> {
        match self.stage {
            StreamStage::Open => [self.next, self.stop_at, self.end].into_iter().flatten().min(),
            StreamStage::Closing(_) | StreamStage::Over => None,
        }
    }

    fn tick(&mut self, now: Instant, acts: &mut Vec<CarrierAct>) {
        if !matches!(self.stage, StreamStage::Open) {
            return;
        }
        if self.stop_at.is_some_and(|at| now >= at) {
            self.stop_at = None;
            let frame = CloseFrame::new(1012, "the server is shutting down");
            acts.extend(self.close(frame).map(CarrierAct::Close));
            return;
        }
        if self.end.is_some_and(|at| now >= at) {
            self.end = None;
            let frame = CloseFrame::new(4401, &AuthError::Expired.to_string());
            acts.extend(self.close(frame).map(CarrierAct::Close));
            return;
        }
        if self.next.is_some_and(|next| now >= next) {
            self.next = None;
            acts.push(CarrierAct::Ping);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a stream that began at the returned time.
    fn stream() -> (SseCarrier, Instant) {
        let now = Instant::now();
        (SseCarrier::new(&Limits::default(), now, None), now)
    }

    fn acts(of: impl FnOnce(&mut Vec<CarrierAct>)) -> Vec<CarrierAct> {
        let mut acts = Vec::new();
        of(&mut acts);
        acts
    }

    fn said(stream: &mut SseCarrier, item: OutboxItem) -> Vec<OutgoingFrame> {
        let mut frames = Vec::new();
        stream.said(SseCarrier::KEY, item, &mut frames);
        frames
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_follows_a_close_and_the_room_hears_of_it_once() {
        let (mut stream, now) = stream();
        let bye = CloseFrame::new(4001, "bye");
        let frames = said(&mut stream, OutboxItem::Goodbye(bye.clone()));
        assert_eq!(frames, [OutgoingFrame::Close(bye.clone())]);
        for late in [
            OutboxItem::Message(Message::text("late")),
            OutboxItem::Goodbye(bye.clone()),
            OutboxItem::Overflow,
        ] {
            assert_eq!(said(&mut stream, late), []);
        }
        let ending = Ending { frame: bye, handshake: CloseHandshake::Clean };
        assert_eq!(
            acts(|acts| stream.written(WrittenFrame::Close, now, acts)),
            [CarrierAct::Leave(SseCarrier::KEY, ending), CarrierAct::HangUp(Farewell::ShutDown)]
        );
        assert_eq!(acts(|acts| stream.ended(WireEnd::Lost, now, acts)), []);
        assert_eq!((stream.due(), stream.listens()), (None, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_is_reported_also_while_a_close_is_written() {
        for closing in [false, true] {
            let (mut stream, now) = stream();
            if closing {
                said(&mut stream, OutboxItem::Overflow);
            }
            let left = [
                CarrierAct::Leave(SseCarrier::KEY, Ending::broken_off()),
                CarrierAct::HangUp(Farewell::Drop),
            ];
            assert_eq!(acts(|acts| stream.ended(WireEnd::Lost, now, acts)), left);
            assert_eq!(acts(|acts| stream.written(WrittenFrame::Close, now, acts)), []);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_sign_of_life_is_due_when_the_last_one_is_written() {
        let (mut stream, begun) = stream();
        let interval = ms(Limits::default().stream_keep_alive_ms);
        assert_eq!(stream.due(), Some(begun + interval));
        assert_eq!(acts(|acts| stream.tick(begun + interval, acts)), [CarrierAct::Ping]);
        assert_eq!(stream.due(), None);
        assert_eq!(acts(|acts| stream.tick(begun + 9 * interval, acts)), []);
        let later = begun + 10 * interval;
        assert_eq!(acts(|acts| stream.written(WrittenFrame::Ping, later, acts)), []);
        assert_eq!(stream.due(), Some(later + interval));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_closed_when_the_clients_token_ends() {
        let now = Instant::now();
        let end = now + Duration::from_secs(1);
        let mut stream = SseCarrier::new(&Limits::default(), now, Some(end));
        assert_eq!(stream.due(), Some(end));
        assert_eq!(acts(|acts| stream.tick(now, acts)), []);
        let closed = acts(|acts| stream.tick(end, acts));
        assert!(
            matches!(&closed[..], [CarrierAct::Close(frame)] if frame.code == 4401),
            "{closed:?}"
        );
        assert_eq!(acts(|acts| stream.tick(end, acts)), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_stops_closes_the_stream_at_its_time() {
        let (mut stream, begun) = stream();
        let at = begun + Duration::from_secs(3);
        stream.stop(at);
        assert_eq!(stream.due(), Some(at));
        let frame = CloseFrame::new(1012, "the server is shutting down");
        assert_eq!(acts(|acts| stream.tick(at, acts)), [CarrierAct::Close(frame)]);
        assert_eq!(acts(|acts| stream.tick(at, acts)), []);
    }
}
