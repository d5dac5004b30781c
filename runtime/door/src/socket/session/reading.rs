//! The frames of a session's client. Owns the order in which they are handled.
//!
//! Invariant: the messages to one channel reach its room in the order in which they came, and a `leave` after them. No
//! channel waits for another one: a room without space is waited for beside the reading, and what waits is bounded for the
//! session. It does not know what frames look like.

use super::channels::{ChannelTable, OpenChannel};
use super::lanes::{LaneItem, Lanes};
use super::{EnteredRoom, RenewedToken};
use crate::answer::Answers;
use crate::carrier::{
    Carrier, ClientInput, Farewell, RoomOne, SessionCommand, SessionErrorName, SessionRefusal,
    WireEnd,
};
use crate::identity::end_of;
use crate::socket::driver::{Driver, Memberships, ReadMemberships, end_by, from_wire};
use crate::upgrade::Socket;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, SplitStream};
use futures_util::{FutureExt, StreamExt};
use room_core::event::Message;
use room_core::limits::{ms, size};
use room_core::metrics::{AuthRefusal, DoorMetrics};
use room_rooms::room::{
    ClientDelivery, ConnectionKey, DeliveryAck, OfferRefused, PresenceAsk, RoomError,
};

/// The driver of a session.
type SessionDriver = Driver<RoomOne, ChannelTable>;

/// The state of reading.
struct SessionReader<'a> {
    driver: &'a SessionDriver,
    metrics: &'a DoorMetrics,
    /// What goes on beside the reading.
    work: FuturesUnordered<BoxFuture<'a, WorkDone>>,
    lanes: Lanes,
    /// True while a newer token is checked.
    is_renewing: bool,
    /// How many messages were answered without their rooms.
    answered: u64,
}

/// Something beside the reading has ended.
enum WorkDone {
    Joined(ConnectionKey, Result<EnteredRoom, SessionRefusal>),
    Sent {
        key: ConnectionKey,
        reference: Option<u64>,
        bytes: usize,
        outcome: Result<(), RoomError>,
    },
    Renewed(Option<u64>, Result<RenewedToken, SessionRefusal>),
}

impl ReadMemberships<RoomOne> for ChannelTable {
    async fn read(
        driver: &SessionDriver,
        stream: &mut SplitStream<Socket>,
        metrics: &DoorMetrics,
    ) -> Farewell {
        let permit = driver.memberships.session.door.0.rooms.bytes().permit();
        let reader = SessionReader {
            driver,
            metrics,
            work: FuturesUnordered::new(),
            lanes: Lanes::new(permit),
            is_renewing: false,
            answered: 0,
        };
        reader.read(stream).await
    }
}

impl<'a> SessionReader<'a> {
    /// Reads until the socket ends.
    async fn read(mut self, stream: &mut SplitStream<Socket>) -> Farewell {
        let driver = self.driver;
        loop {
            let is_unread = self.is_unread();
            let heard = tokio::select! {
                // In order: what a frame refers to has been taken note of before.
                biased;
                Some(done) = self.work.next(), if !self.work.is_empty() => {
                    self.finish(done);
                    continue;
                }
                () = driver.memberships.parted.notified() => {
                    self.lanes.sweep(|key| driver.memberships.get(key).is_some());
                    continue;
                }
                () = driver.memberships.drained.notified(), if is_unread => continue,
                heard = stream.next(), if !is_unread => heard,
            };
            let heard = match heard {
                Some(Ok(frame)) => from_wire(frame),
                Some(Err(error)) => Err(end_by(&error, &self.driver.limits)),
                None => Err(WireEnd::Lost),
            };
            match heard {
                Ok(ClientInput::Message(frame)) => {
                    self.metrics.messages_received.increment(1);
                    self.hear(frame).await;
                }
                Ok(ClientInput::SignOfLife) => {
                    self.driver.driven().carrier.heard(ClientInput::SignOfLife);
                }
                Err(end) => {
                    self.pass_on_rest(&end).await;
                    return self.driver.end(end).await;
                }
            }
        }
    }

    /// Passes on what still waits for space, for a time, if it was the client's will to end the socket, or its fault.
    async fn pass_on_rest(&mut self, end: &WireEnd) {
        match end {
            WireEnd::Lost => return,
            WireEnd::Closed(_) => self.driver.driven().carrier.client_closed(),
            WireEnd::Fault(_) => {}
        }
        let patience = ms(self.driver.limits.close_ms_max);
        let rest = async {
            while !self.lanes.are_idle() {
                match self.work.next().await {
                    Some(done) => self.finish(done),
                    None => return,
                }
            }
        };
        // What no room has taken by then is lost.
        drop(tokio::time::timeout(patience, rest).await);
    }

    /// Returns true if the client does not read the answers to its frames, so that its further frames are not read.
    fn is_unread(&self) -> bool {
        let waiting = self.driver.driven().carrier.waiting();
        waiting >= size(self.driver.limits.socket_batch_frames_max)
    }

    /// Handles a frame of the client.
    async fn hear(&mut self, frame: Message) {
        let command = self.driver.driven().carrier.hear(frame);
        match command {
            Some(SessionCommand::Join(key, ask)) => {
                let channels = &self.driver.memberships;
                self.work.push(
                    async move {
                        let to = (channels.outboxes(), key);
                        WorkDone::Joined(key, channels.session.join(to, *ask).await)
                    }
                    .boxed(),
                );
            }
            Some(SessionCommand::Leave(key, reference)) => {
                self.entered(key).await;
                match self.lanes.get(key).filter(|lane| lane.is_waiting) {
                    Some(lane) if lane.is_leaving => {
                        self.driver.driven().carrier.unknown(key.0, reference);
                    }
                    Some(lane) => {
                        lane.is_leaving = true;
                        lane.queue.push_back(LaneItem::Leave(reference));
                    }
                    None => self.leave(key, reference),
                }
            }
            Some(SessionCommand::Send(key, delivery)) => {
                self.entered(key).await;
                self.send(key, delivery);
                if self.answered >= self.driver.limits.socket_batch_frames_max {
                    // No room slows this client down, so this side yields to the writing side here.
                    self.answered = 0;
                    tokio::task::yield_now().await;
                }
            }
            Some(SessionCommand::Present(key, ask)) => {
                self.entered(key).await;
                self.present(key, ask);
            }
            Some(SessionCommand::Token(reference, token)) => self.renew(reference, token),
            None => {}
        }
        self.flush();
    }

    /// Wakes the writing side if the session itself has something to say.
    fn flush(&self) {
        if self.driver.driven().carrier.waiting() > 0 {
            self.driver.memberships.outboxes().wake();
        }
    }

    /// Waits until the driver has a connection that its client knows already: the room's answer is on its way.
    async fn entered(&mut self, key: ConnectionKey) {
        while self.driver.driven().carrier.awaits_entry(key) {
            match self.work.next().await {
                Some(done) => self.finish(done),
                None => return,
            }
        }
    }

    /// Passes on a message, or refuses it.
    fn send(&mut self, key: ConnectionKey, delivery: ClientDelivery) {
        let Some(channel) = self.driver.memberships.get(key) else {
            self.driver.driven().carrier.unknown(key.0, delivery.reference);
            return;
        };
        let reference = delivery.reference;
        let lane = self.lanes.of(key, || Answers::new(channel.joined.answers.clone()));
        if lane.is_leaving {
            self.driver.driven().carrier.unknown(key.0, reference);
            return;
        }
        if let Some(answer) = lane.answers.to(&delivery.message) {
            channel.joined.outbox.answer(&answer);
            if let Some(reference) = reference {
                channel.joined.outbox.acknowledge(DeliveryAck { reference, outcome: Ok(()) });
            }
            self.answered += 1;
            return;
        }
        if !channel.may_send() {
            self.metrics.auth_refusals.count(AuthRefusal::Forbidden);
            return self.refuse(key, reference, RoomError::ReadOnly);
        }
        let bytes = delivery.message.len();
        if let Err(error) = channel.joined.meter(bytes) {
            return self.refuse(key, reference, error);
        }
        if lane.is_waiting {
            if !self.lanes.take(bytes, &self.driver.limits) {
                return self.refuse(key, reference, RoomError::Busy);
            }
            if let Some(lane) = self.lanes.get(key) {
                lane.queue.push_back(LaneItem::Send(delivery));
            }
            return;
        }
        match channel.joined.offer(delivery) {
            // A room that is gone has ended the channel: the client reads of that next.
            Ok(()) | Err(OfferRefused::Gone) => {}
            Err(OfferRefused::Full(delivery)) => {
                match self.lanes.take(bytes, &self.driver.limits) {
                    true => self.wait(key, channel, delivery),
                    false => self.refuse(key, reference, RoomError::Busy),
                }
            }
        }
    }

    /// Passes on a wish for the client's own presence, or refuses it. It does not wait for space.
    fn present(&mut self, key: ConnectionKey, ask: PresenceAsk) {
        let reference = ask.reference;
        let is_leaving = self.lanes.get(key).is_some_and(|lane| lane.is_leaving);
        let channel = self.driver.memberships.get(key);
        let Some(channel) = channel.filter(|_| !is_leaving) else {
            self.driver.driven().carrier.unknown(key.0, reference);
            return;
        };
        match channel.joined.present(ask) {
            // A room that is gone has ended the channel.
            Ok(()) | Err(RoomError::Gone) => {}
            Err(error) => self.refuse(key, reference, error),
        }
    }

    /// Waits for space for a message, beside the reading.
    fn wait(&mut self, key: ConnectionKey, channel: OpenChannel, delivery: ClientDelivery) {
        if let Some(lane) = self.lanes.get(key) {
            lane.is_waiting = true;
        }
        let (reference, bytes) = (delivery.reference, delivery.message.len());
        self.work.push(
            async move {
                let outcome = channel.joined.deliver(delivery).await;
                WorkDone::Sent { key, reference, bytes, outcome }
            }
            .boxed(),
        );
    }

    fn refuse(&self, key: ConnectionKey, reference: Option<u64>, error: RoomError) {
        let audience = self.driver.memberships.session.door.0.audience;
        let refusal = SessionRefusal::of_room(reference, error, audience);
        self.driver.driven().carrier.refuse(Some(key.0), &refusal);
    }

    fn leave(&mut self, key: ConnectionKey, reference: Option<u64>) {
        // A session goes on without rooms.
        self.driver.act(|carrier, acts| carrier.leave(key, reference, acts));
        self.lanes.end(key);
    }

    /// Checks a newer token, beside the reading.
    fn renew(&mut self, reference: Option<u64>, token: String) {
        if std::mem::replace(&mut self.is_renewing, true) {
            let text = "the token before is still being checked";
            let refusal = SessionRefusal::new(reference, SessionErrorName::Busy, text);
            self.driver.driven().carrier.refuse(None, &refusal);
            return;
        }
        let channels = &self.driver.memberships;
        self.work.push(
            async move {
                let renewed = channels.session.renew(channels.all(), reference, token).await;
                WorkDone::Renewed(reference, renewed)
            }
            .boxed(),
        );
    }

    /// Handles the end of something that went on beside the reading.
    fn finish(&mut self, done: WorkDone) {
        match done {
            WorkDone::Joined(key, Ok(entered)) => {
                let end = self.end_of(entered.joined.ends_ms);
                let mut ending = None;
                self.driver.act(|carrier, _| ending = carrier.entered(key, end));
                match ending {
                    // The room has said goodbye already, so there is no channel for it.
                    Some(ending) => entered.joined.ended(ending),
                    None => self.driver.memberships.open(key, entered),
                }
            }
            WorkDone::Joined(key, Err(refusal)) => {
                self.driver.driven().carrier.join_failed(key, &refusal);
            }
            WorkDone::Sent { key, reference, bytes, outcome } => {
                self.lanes.give_back(bytes);
                // A room that is gone has ended the channel.
                if let Err(error @ RoomError::Busy) = outcome {
                    self.refuse(key, reference, error);
                }
                self.go_on(key);
            }
            WorkDone::Renewed(reference, renewed) => {
                self.is_renewing = false;
                self.renewed(reference, renewed);
            }
        }
        self.flush();
    }

    /// Passes on what waited behind a message.
    fn go_on(&mut self, key: ConnectionKey) {
        let Some(channel) = self.driver.memberships.get(key) else { return self.lanes.end(key) };
        let Some(lane) = self.lanes.get(key) else { return };
        lane.is_waiting = false;
        match lane.queue.pop_front() {
            // It counts among those that wait already.
            Some(LaneItem::Send(delivery)) => self.wait(key, channel, delivery),
            Some(LaneItem::Leave(reference)) => self.leave(key, reference),
            None => {}
        }
    }

    fn renewed(&mut self, reference: Option<u64>, renewed: Result<RenewedToken, SessionRefusal>) {
        let RenewedToken { taken, missed } = match renewed {
            Ok(renewed) => renewed,
            Err(refusal) => {
                self.driver.driven().carrier.refuse(None, &refusal);
                return;
            }
        };
        for (key, identity) in taken {
            let end = self.end_of(identity.ends_ms());
            self.driver.memberships.renew(key, identity);
            self.driver.act(|carrier, _| carrier.renewed(key, end));
        }
        for (key, error) in missed {
            self.refuse(key, None, error);
        }
        self.driver.driven().carrier.acknowledge(reference);
    }

    fn end_of(&self, ends_ms: Option<u64>) -> Option<tokio::time::Instant> {
        end_of(ends_ms, self.driver.memberships.session.door.0.clock)
    }
}
