//! Long polls: one request that waits for what its room says. Owns when the request is answered, and what the room learns.
//!
//! Invariant: a poll is answered once, and its room is notified of its end once: as of a client that is away, unless the answer
//! has the close. A message that no answer has stays in the room's log. It does not know HTTP or bytes.

use super::{Carrier, CarrierAct, ClientInput, Farewell, OutgoingFrame, WireEnd, WrittenFrame};
use room_auth::AuthError;
use room_core::event::{CloseFrame, CloseHandshake, Ending, Message};
use room_core::limits::{Limits, ms};
use room_rooms::room::{ClientArrival, ConnectionKey, OutboxItem, superseded};
use tokio::time::Instant;

/// One poll of a client.
pub(crate) struct PollCarrier {
    stage: PollStage,
    /// When it is answered at the latest.
    until: Instant,
    /// When the client's token ends.
    end: Option<Instant>,
}

/// The stage of a poll.
#[derive(PartialEq, Eq)]
enum PollStage {
    /// Nothing is to be told yet.
    Waiting,
    /// The answer is being made; it is complete with the batch that has the ping, or this close frame.
    Answering(Option<CloseFrame>),
    Over,
}

impl PollCarrier {
    /// The key of its one connection.
    pub(crate) const KEY: ConnectionKey = ConnectionKey(0);

    /// Starts a poll whose client a room has admitted. Its connection is closed at `end`, when the client's token ends.
    pub(crate) fn new(limits: &Limits, now: Instant, end: Option<Instant>) -> Self {
        Self { stage: PollStage::Waiting, until: now + ms(limits.poll_ms_max), end }
    }

    /// Completes the answer. A ping stands for that: to a client that hears nothing, the answer is the sign of life.
    fn complete(&mut self, frames: &mut Vec<OutgoingFrame>) {
        if self.stage == PollStage::Waiting {
            self.stage = PollStage::Answering(None);
            frames.push(OutgoingFrame::Ping);
        }
    }

    fn over(&mut self, ending: Ending, acts: &mut Vec<CarrierAct>) {
        if self.stage != PollStage::Over {
            self.stage = PollStage::Over;
            acts.push(CarrierAct::Leave(Self::KEY, ending));
            acts.push(CarrierAct::HangUp(Farewell::ShutDown));
        }
    }
}

impl Carrier for PollCarrier {
    fn heard(&mut self, _heard: ClientInput) -> Option<(ConnectionKey, Message)> {
        None
    }

    fn refused(&mut self, _key: ConnectionKey, _now: Instant, _acts: &mut Vec<CarrierAct>) {}

    fn forbidden(&mut self, _key: ConnectionKey, _now: Instant, _acts: &mut Vec<CarrierAct>) {}

    fn ended(&mut self, _end: WireEnd, _now: Instant, acts: &mut Vec<CarrierAct>) {
        self.over(Ending::broken_off(), acts);
    }

    fn listens(&self) -> bool {
        self.stage != PollStage::Over
    }

    fn said(&mut self, _key: ConnectionKey, said: OutboxItem, frames: &mut Vec<OutgoingFrame>) {
        if self.stage == PollStage::Over {
            return;
        }
        match said {
            OutboxItem::Message(message) => frames.push(OutgoingFrame::Message(message)),
            OutboxItem::Entry(entry) => frames.push(OutgoingFrame::Entry(entry)),
            OutboxItem::Presence(event) => frames.push(OutgoingFrame::Presence(event)),
            // The client has its connection, as before: nothing to tell.
            OutboxItem::Welcome(welcome) if welcome.arrival == ClientArrival::Resumed => return,
            OutboxItem::Welcome(welcome) => frames.push(OutgoingFrame::Welcome(welcome)),
            OutboxItem::Goodbye(frame) => {
                if frame == superseded() {
                    // The newer poll has them.
                    frames.clear();
                }
                self.stage = PollStage::Answering(Some(frame.clone()));
                frames.push(OutgoingFrame::Close(frame));
            }
            // The log still has what was thrown away, or says that it is gone.
            OutboxItem::Overflow => {}
            // A poll carries no messages of its client.
            OutboxItem::Ack(_) => return,
        }
        self.complete(frames);
    }

    fn written(&mut self, written: WrittenFrame, _now: Instant, acts: &mut Vec<CarrierAct>) {
        // An answer without space for all has no close: the rest and the close follow with the next poll.
        let ending = match (written, &self.stage) {
            (WrittenFrame::Close, PollStage::Answering(Some(frame))) => {
                Ending { frame: frame.clone(), handshake: CloseHandshake::Clean }
            }
            _ => Ending::broken_off(),
        };
        self.over(ending, acts);
    }

    fn stop(&mut self, at: Instant) {
        self.until = self.until.min(at);
    }

    fn due(&self) -> Option<Instant> {
        (self.stage == PollStage::Waiting)
            .then(|| self.end.map_or(self.until, |end| end.min(self.until)))
    }

    fn tick(&mut self, now: Instant, acts: &mut Vec<CarrierAct>) {
        if self.stage != PollStage::Waiting {
            return;
        }
        if self.end.is_some_and(|end| now >= end) {
            let frame = CloseFrame::new(4401, &AuthError::Expired.to_string());
            self.stage = PollStage::Answering(Some(frame.clone()));
            acts.push(CarrierAct::Close(frame));
        } else if now >= self.until {
            self.stage = PollStage::Answering(None);
            acts.push(CarrierAct::Ping);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::id::{ConnectionId, ConnectionSecret};
    use room_rooms::room::Welcome;
    use std::time::Duration;

    /// Returns a poll that began at the returned time.
    fn poll() -> (PollCarrier, Instant) {
        let now = Instant::now();
        (PollCarrier::new(&Limits::default(), now, None), now)
    }

    fn acts(of: impl FnOnce(&mut Vec<CarrierAct>)) -> Vec<CarrierAct> {
        let mut acts = Vec::new();
        of(&mut acts);
        acts
    }

    fn said(
        poll: &mut PollCarrier,
        items: impl IntoIterator<Item = OutboxItem>,
    ) -> Vec<OutgoingFrame> {
        let mut frames = Vec::new();
        items.into_iter().for_each(|item| poll.said(PollCarrier::KEY, item, &mut frames));
        frames
    }

    fn welcome(arrival: ClientArrival) -> OutboxItem {
        OutboxItem::Welcome(Box::new(Welcome {
            continues: false,
            connection: ConnectionId::parse("ada", 9).unwrap(),
            secret: ConnectionSecret::random(),
            resume_ms: 1,
            at: None,
            arrival,
        }))
    }

    fn away() -> [CarrierAct; 2] {
        [
            CarrierAct::Leave(PollCarrier::KEY, Ending::broken_off()),
            CarrierAct::HangUp(Farewell::ShutDown),
        ]
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_continues_waits_and_one_that_is_new_is_answered_at_once() {
        let (mut poll, begun) = poll();
        assert_eq!(said(&mut poll, [welcome(ClientArrival::Resumed)]), []);
        let until = begun + ms(Limits::default().poll_ms_max);
        assert_eq!(poll.due(), Some(until));
        assert_eq!(acts(|acts| poll.tick(until - Duration::from_millis(1), acts)), []);
        assert_eq!(acts(|acts| poll.tick(until, acts)), [CarrierAct::Ping]);
        assert_eq!((poll.due(), acts(|acts| poll.tick(until, acts))), (None, vec![]));
        assert_eq!(acts(|acts| poll.written(WrittenFrame::Ping, until, acts)), away());
        let (mut poll, _) = super::tests::poll();
        let frames = said(&mut poll, [welcome(ClientArrival::New)]);
        assert!(matches!(&frames[..], [OutgoingFrame::Welcome(_), OutgoingFrame::Ping]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_all_messages_that_wait_and_its_end_is_reported_once() {
        let (mut poll, now) = poll();
        let (one, two) = (Message::text("one"), Message::text("two"));
        let items = [OutboxItem::Message(one.clone()), OutboxItem::Message(two.clone())];
        let frames =
            [OutgoingFrame::Message(one), OutgoingFrame::Ping, OutgoingFrame::Message(two)];
        assert_eq!(said(&mut poll, items), frames);
        assert_eq!(acts(|acts| poll.written(WrittenFrame::Ping, now, acts)), away());
        assert_eq!(acts(|acts| poll.written(WrittenFrame::Ping, now, acts)), []);
        assert_eq!(acts(|acts| poll.ended(WireEnd::Lost, now, acts)), []);
        assert_eq!(said(&mut poll, [OutboxItem::Overflow]), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_ends_the_connection_only_with_the_answer_that_has_it() {
        let bye = CloseFrame::new(4001, "bye");
        for (has_space, ending) in [
            (true, Ending { frame: bye.clone(), handshake: CloseHandshake::Clean }),
            (false, Ending::broken_off()),
        ] {
            let (mut poll, now) = poll();
            let last = Message::text("last");
            let items = [OutboxItem::Message(last.clone()), OutboxItem::Goodbye(bye.clone())];
            let frames = said(&mut poll, items);
            let close = OutgoingFrame::Close(bye.clone());
            assert_eq!(frames, [OutgoingFrame::Message(last), OutgoingFrame::Ping, close]);
            let written = if has_space { WrittenFrame::Close } else { WrittenFrame::Ping };
            let told = acts(|acts| poll.written(written, now, acts));
            assert_eq!(told[0], CarrierAct::Leave(PollCarrier::KEY, ending));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_poll_takes_the_messages_of_the_older_one() {
        let (mut poll, _) = poll();
        let items = [OutboxItem::Message(Message::text("late")), OutboxItem::Goodbye(superseded())];
        assert_eq!(said(&mut poll, items), [OutgoingFrame::Close(superseded())]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_ends_with_the_clients_token_and_with_the_node() {
        let (_, now) = poll();
        let end = now + Duration::from_secs(1);
        let mut poll = PollCarrier::new(&Limits::default(), now, Some(end));
        assert_eq!(poll.due(), Some(end));
        let closed = acts(|acts| poll.tick(end, acts));
        assert!(
            matches!(&closed[..], [CarrierAct::Close(frame)] if frame.code == 4401),
            "{closed:?}"
        );
        let mut poll = PollCarrier::new(&Limits::default(), now, None);
        poll.stop(end);
        assert_eq!(
            (poll.due(), acts(|acts| poll.tick(end, acts))),
            (Some(end), vec![CarrierAct::Ping])
        );
    }
}
