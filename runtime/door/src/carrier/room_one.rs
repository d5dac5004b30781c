//! The subprotocol `room.1`: one WebSocket, and connections to several rooms. Owns the channels of a session, and how each
//! of them ends.
//!
//! Invariant: a channel has one `joined` and after it one end, and its number is never used again. Each frame of the client
//! with a number gets at most one answer, and what is wrong with a frame ends neither its channel nor the session. How the
//! socket itself ends is that of a plain one ([`PartySocket`]), with all channels in place of the one. It does not know
//! sockets, timers, or how rooms are found.

mod frames;
mod refusal;

pub(crate) use frames::{JoinAsk, ROOM_PROTOCOL};
pub(crate) use refusal::{SessionErrorName, SessionRefusal};

use super::party_socket::{MessageForm, PartySocket};
use super::{Carrier, CarrierAct, ClientInput, OutgoingFrame, WireEnd, WrittenFrame};
use frames::{FrameBounds, SessionFrame};
use room_auth::AuthError;
use room_core::config::Audience;
use room_core::event::{CloseFrame, CloseHandshake, Ending, Message};
use room_core::limits::{Limits, ms, size};
use room_rooms::room::{
    ClientDelivery, ConnectionKey, DeliveryAck, OutboxItem, PresenceAsk, RoomError,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A session of one client.
pub(crate) struct RoomOne {
    link: PartySocket,
    /// By their keys, which are their numbers on the wire.
    channels: BTreeMap<usize, Channel>,
    next: usize,
    /// The frames of the session itself, which no room has made.
    own: Vec<Message>,
    /// The connections that ended with what their rooms said last.
    departures: Vec<(ConnectionKey, Ending)>,
    bounds: FrameBounds,
    rooms_max: usize,
    notice: Duration,
    audience: Audience,
    /// True if the client has closed, so that nothing is written any more.
    is_closed_by_client: bool,
}

/// A connection to one room, from the request for it.
struct Channel {
    /// The number of the `join` that has no answer yet.
    reference: Option<u64>,
    /// True when `joined` is written.
    is_greeted: bool,
    /// True when the driver has the connection.
    is_entered: bool,
    /// How the room ended the connection before the driver had it.
    ending: Option<Ending>,
    /// When the client's token ends.
    end: Option<Instant>,
    /// When the client gets notice of that.
    notice: Option<Instant>,
}

/// What the driver does for a frame of the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SessionCommand {
    Join(ConnectionKey, Box<JoinAsk>),
    Leave(ConnectionKey, Option<u64>),
    Send(ConnectionKey, ClientDelivery),
    Present(ConnectionKey, PresenceAsk),
    Token(Option<u64>, String),
}

impl RoomOne {
    /// The key of the room in the URL of the handshake.
    pub(crate) const FIRST: ConnectionKey = PartySocket::KEY;

    /// Starts a session whose client the room of the URL has admitted.
    pub(crate) fn new(
        limits: &Limits,
        audience: Audience,
        now: Instant,
        end: Option<Instant>,
    ) -> Self {
        let mut session = Self {
            link: PartySocket::new(MessageForm::Plain, limits, now, None),
            channels: BTreeMap::new(),
            next: Self::FIRST.0,
            own: Vec::new(),
            departures: Vec::new(),
            bounds: FrameBounds::of(limits),
            rooms_max: size(limits.session_rooms_max),
            notice: ms(limits.token_notice_ms),
            audience,
            is_closed_by_client: false,
        };
        let first = session.open(None);
        let _none_has_ended = session.entered(first, end);
        session
    }

    fn open(&mut self, reference: Option<u64>) -> ConnectionKey {
        let key = self.next;
        self.next += 1;
        let (is_greeted, is_entered, ending, end, notice) = (false, false, None, None, None);
        let channel = Channel { reference, is_greeted, is_entered, ending, end, notice };
        self.channels.insert(key, channel);
        ConnectionKey(key)
    }

    /// Handles a frame of the client. Returns what only the driver can do for it.
    pub(crate) fn hear(&mut self, frame: Message) -> Option<SessionCommand> {
        drop(self.link.heard(ClientInput::SignOfLife));
        if !self.link.listens() {
            return None;
        }
        let frame = match SessionFrame::read(frame, self.bounds) {
            Ok(frame) => frame,
            Err(refusal) => {
                self.refuse(None, &refusal);
                return None;
            }
        };
        match frame {
            // The room would be left again at once.
            SessionFrame::Join(_) if !self.link.is_open() => None,
            SessionFrame::Join(ask) if self.channels.len() >= self.rooms_max => {
                let text = format!("the session has {} rooms: leave one first", self.rooms_max);
                let name = SessionErrorName::SessionFull;
                self.refuse(None, &SessionRefusal::new(Some(ask.reference), name, text));
                None
            }
            SessionFrame::Join(ask) => {
                Some(SessionCommand::Join(self.open(Some(ask.reference)), ask))
            }
            SessionFrame::Leave { reference, channel } => {
                let key = self.known(channel, reference)?;
                Some(SessionCommand::Leave(key, reference))
            }
            SessionFrame::Send { channel, delivery } => {
                let key = self.known(channel, delivery.reference)?;
                Some(SessionCommand::Send(key, delivery))
            }
            SessionFrame::Present { channel, ask } => {
                let key = self.known(channel, ask.reference)?;
                Some(SessionCommand::Present(key, ask))
            }
            SessionFrame::Token { reference, token } => {
                Some(SessionCommand::Token(reference, token))
            }
            SessionFrame::Ping { reference } => {
                self.tell(frames::answer("pong", reference, None));
                None
            }
        }
    }

    /// Returns the key of a channel that the client may use, or refuses the frame.
    fn known(&mut self, channel: usize, reference: Option<u64>) -> Option<ConnectionKey> {
        let is_usable = |channel: &Channel| channel.is_greeted && channel.ending.is_none();
        if self.channels.get(&channel).is_some_and(is_usable) {
            return Some(ConnectionKey(channel));
        }
        self.unknown(channel, reference);
        None
    }

    /// Refuses a frame for a channel that has ended, or never was.
    pub(crate) fn unknown(&mut self, channel: usize, reference: Option<u64>) {
        let text = format!("the session has no channel {channel}");
        let name = SessionErrorName::UnknownChannel;
        self.refuse(Some(channel), &SessionRefusal::new(reference, name, text));
    }

    /// Returns true if frames may be written.
    fn writes(&self) -> bool {
        self.link.writes() && !self.is_closed_by_client
    }

    /// Queues a frame of the session itself, unless nothing may be written any more.
    fn tell(&mut self, frame: Message) {
        if self.writes() {
            self.own.push(frame);
        }
    }

    /// Tells the client of an error, of one channel or of the session.
    pub(crate) fn refuse(&mut self, channel: Option<usize>, refusal: &SessionRefusal) {
        self.tell(frames::error(channel, refusal));
    }

    /// Tells the client that a frame of the session has taken effect.
    pub(crate) fn acknowledge(&mut self, reference: Option<u64>) {
        if reference.is_some() {
            self.tell(frames::answer("ack", reference, None));
        }
    }

    /// Notes that the client has closed. What it sent before may still be on its way to the rooms.
    pub(crate) fn client_closed(&mut self) {
        self.is_closed_by_client = true;
    }

    /// Returns true if the client knows a channel that the driver does not have yet, which it gets at any moment.
    pub(crate) fn awaits_entry(&self, key: ConnectionKey) -> bool {
        self.channels.get(&key.0).is_some_and(|channel| !channel.is_entered)
    }

    /// Notes that the driver has the connection of a channel. The client's token for it ends at `end`. Returns how the
    /// connection has ended, if it has: the channel is over then.
    #[must_use]
    pub(crate) fn entered(&mut self, key: ConnectionKey, end: Option<Instant>) -> Option<Ending> {
        let Some(channel) = self.channels.get_mut(&key.0) else {
            return Some(Ending::broken_off());
        };
        channel.is_entered = true;
        let Some(ending) = channel.ending.take() else {
            self.renewed(key, end);
            return None;
        };
        if let Some(channel) = self.channels.remove(&key.0) {
            self.refuse_ended(&channel, &ending.frame);
        }
        Some(ending)
    }

    /// Refuses the join of a channel that ended before its client was greeted.
    fn refuse_ended(&mut self, channel: &Channel, frame: &CloseFrame) {
        if !channel.is_greeted {
            let name = SessionErrorName::TooSlow;
            self.refuse(None, &SessionRefusal::new(channel.reference, name, &*frame.reason));
        }
    }

    /// Notes when the client's token for a channel ends.
    pub(crate) fn renewed(&mut self, key: ConnectionKey, end: Option<Instant>) {
        let notice = self.notice;
        if let Some(channel) = self.channels.get_mut(&key.0) {
            channel.end = end;
            channel.notice = end.map(|end| end.checked_sub(notice).unwrap_or(end));
        }
    }

    /// Handles that a room was not joined.
    pub(crate) fn join_failed(&mut self, key: ConnectionKey, refusal: &SessionRefusal) {
        let Some(channel) = self.channels.remove(&key.0) else { return };
        if !channel.is_greeted {
            self.refuse(None, refusal);
        } else if channel.ending.is_none() {
            let frame = CloseFrame::new(1013, &refusal.message);
            self.tell(frames::closed(key.0, &frame));
        }
    }

    /// Ends a channel because its client leaves the room.
    pub(crate) fn leave(
        &mut self,
        key: ConnectionKey,
        reference: Option<u64>,
        acts: &mut Vec<CarrierAct>,
    ) {
        if self.channels.remove(&key.0).is_none() {
            self.unknown(key.0, reference);
            return;
        }
        let ending = Ending { frame: CloseFrame::new(1000, ""), handshake: CloseHandshake::Clean };
        acts.push(CarrierAct::Part(key, ending));
        self.tell(frames::answer("left", reference, Some(key.0)));
    }

    /// Returns how many frames of the session itself wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        if self.writes() { self.own.len() } else { 0 }
    }

    /// Ends a channel with what its room said last.
    fn depart(
        &mut self,
        key: ConnectionKey,
        (frame, handshake): (CloseFrame, CloseHandshake),
        out: &mut Vec<OutgoingFrame>,
    ) {
        let Some(channel) = self.channels.get_mut(&key.0) else { return };
        // At the end of the session its close frame speaks for all channels.
        if channel.is_greeted && self.link.is_open() && !self.is_closed_by_client {
            out.push(OutgoingFrame::Message(frames::closed(key.0, &frame)));
        }
        let ending = Ending { frame: frame.clone(), handshake };
        if !channel.is_entered {
            // The driver learns of it with the answer to the join.
            channel.ending = Some(ending);
            return;
        }
        self.departures.push((key, ending));
        if let Some(channel) = self.channels.remove(&key.0) {
            self.refuse_ended(&channel, &frame);
        }
        let has_others = self.channels.values().any(|channel| channel.is_entered);
        if !has_others && self.link.is_failing() {
            self.link.said(PartySocket::KEY, OutboxItem::Goodbye(frame), out);
        }
    }

    /// Passes on what the end of the socket means for the rooms.
    fn pass_on(&mut self, acts: Vec<CarrierAct>, all: &mut Vec<CarrierAct>) {
        let entered = self.channels.iter().filter(|(_, channel)| channel.is_entered);
        let keys: Vec<_> = entered.map(|(key, _)| ConnectionKey(*key)).collect();
        for act in acts {
            match act {
                CarrierAct::Report(_, error) => {
                    all.extend(keys.iter().map(|key| CarrierAct::Report(*key, error.clone())));
                }
                CarrierAct::Leave(_, ending) => {
                    all.extend(keys.iter().map(|key| CarrierAct::Leave(*key, ending.clone())));
                }
                CarrierAct::End(_, frame) => self.close(frame, all),
                act => all.push(act),
            }
        }
        if keys.is_empty() && self.link.is_failing() {
            self.close(CloseFrame::new(1002, ""), all);
        }
    }

    /// Closes a socket whose client broke the protocol: no room has anything left to say.
    fn close(&mut self, frame: CloseFrame, all: &mut Vec<CarrierAct>) {
        let mut frames = Vec::new();
        self.link.said(PartySocket::KEY, OutboxItem::Goodbye(frame), &mut frames);
        for frame in frames {
            if let OutgoingFrame::Close(frame) = frame {
                all.push(CarrierAct::Close(frame));
            }
        }
    }

    /// Gives notice of tokens that end soon, and ends the channels of those that have ended.
    fn check_tokens(&mut self, now: Instant, acts: &mut Vec<CarrierAct>) {
        let (mut ended, mut notices) = (Vec::new(), Vec::new());
        for (key, channel) in &mut self.channels {
            let Some(end) = channel.end.filter(|_| channel.is_entered) else { continue };
            if now >= end {
                ended.push((*key, channel.reference));
            } else if channel.notice.is_some_and(|notice| now >= notice) {
                channel.notice = None;
                let text = "the token ends soon: show a newer one";
                let mut refusal = SessionRefusal::new(None, SessionErrorName::TokenExpires, text);
                refusal.retry_ms = u64::try_from((end - now).as_millis()).ok();
                notices.push(frames::error(Some(*key), &refusal));
            }
        }
        notices.into_iter().for_each(|notice| self.tell(notice));
        for (key, reference) in ended {
            self.channels.remove(&key);
            let text = AuthError::Expired.to_string();
            let frame = CloseFrame::new(4401, &text);
            let refusal = SessionRefusal::new(reference, SessionErrorName::TokenExpired, text);
            self.refuse(Some(key), &refusal);
            self.tell(frames::closed(key, &frame));
            let ending = Ending { frame, handshake: CloseHandshake::Missing };
            acts.push(CarrierAct::Part(ConnectionKey(key), ending));
        }
    }

    fn acked(&self, key: ConnectionKey, ack: DeliveryAck) -> Message {
        let DeliveryAck { reference, outcome } = ack;
        match outcome {
            Ok(()) => frames::answer("ack", Some(reference), Some(key.0)),
            Err(error) => {
                let refusal = SessionRefusal::of_room(Some(reference), error, self.audience);
                frames::error(Some(key.0), &refusal)
            }
        }
    }
}

impl Carrier for RoomOne {
    const IS_SHARED: bool = true;

    fn heard(&mut self, heard: ClientInput) -> Option<(ConnectionKey, Message)> {
        // Its driver hands the frames of the client to `hear`.
        self.link.heard(heard);
        None
    }

    fn refused(&mut self, key: ConnectionKey, _now: Instant, _acts: &mut Vec<CarrierAct>) {
        let error = RoomError::Busy;
        self.refuse(Some(key.0), &SessionRefusal::of_room(None, error, self.audience));
    }

    fn forbidden(&mut self, key: ConnectionKey, _now: Instant, _acts: &mut Vec<CarrierAct>) {
        let error = RoomError::ReadOnly;
        self.refuse(Some(key.0), &SessionRefusal::of_room(None, error, self.audience));
    }

    fn ended(&mut self, end: WireEnd, now: Instant, acts: &mut Vec<CarrierAct>) {
        // A client that has closed takes no further frames, and the reading side is about to report its close.
        if self.is_closed_by_client && end == WireEnd::Lost {
            return;
        }
        let mut own = Vec::new();
        self.link.ended(end, now, &mut own);
        self.pass_on(own, acts);
    }

    fn listens(&self) -> bool {
        self.link.listens()
    }

    fn said(&mut self, key: ConnectionKey, said: OutboxItem, out: &mut Vec<OutgoingFrame>) {
        let writes = self.writes();
        let Some(channel) = self.channels.get_mut(&key.0) else { return };
        if channel.ending.is_some() {
            return;
        }
        let frame = match said {
            OutboxItem::Message(message) => frames::message(key.0, None, &message),
            OutboxItem::Entry(entry) => {
                frames::message(key.0, Some(entry.number()), entry.message())
            }
            OutboxItem::Presence(event) => frames::presence(key.0, &event),
            OutboxItem::Welcome(welcome) => {
                channel.is_greeted = true;
                frames::joined(key.0, channel.reference.take(), &welcome)
            }
            OutboxItem::Ack(ack) => self.acked(key, *ack),
            OutboxItem::Goodbye(frame) => {
                return self.depart(key, (frame, CloseHandshake::Clean), out);
            }
            OutboxItem::Overflow => {
                let text = "too slow: the outbox is full";
                let refusal = SessionRefusal::new(None, SessionErrorName::TooSlow, text);
                if channel.is_greeted && writes {
                    out.push(OutgoingFrame::Message(frames::error(Some(key.0), &refusal)));
                }
                let frame = CloseFrame::new(1013, text);
                return self.depart(key, (frame, CloseHandshake::Missing), out);
            }
        };
        if writes {
            out.push(OutgoingFrame::Message(frame));
        }
    }

    fn own(&mut self, frames: &mut Vec<OutgoingFrame>) {
        let own = std::mem::take(&mut self.own);
        if self.writes() {
            frames.extend(own.into_iter().map(OutgoingFrame::Message));
        }
    }

    fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    fn departures(&mut self) -> Vec<(ConnectionKey, Ending)> {
        std::mem::take(&mut self.departures)
    }

    fn written(&mut self, written: WrittenFrame, now: Instant, acts: &mut Vec<CarrierAct>) {
        let mut own = Vec::new();
        self.link.written(written, now, &mut own);
        self.pass_on(own, acts);
    }

    fn stop(&mut self, at: Instant) {
        self.link.stop(at);
    }

    fn due(&self) -> Option<Instant> {
        let link = self.link.due();
        if !self.link.is_open() {
            return link;
        }
        let entered = self.channels.values().filter(|channel| channel.is_entered);
        let times = entered.flat_map(|channel| [channel.notice, channel.end]).flatten();
        times.chain(link).min()
    }

    fn tick(&mut self, now: Instant, acts: &mut Vec<CarrierAct>) {
        if self.link.is_open() {
            self.check_tokens(now, acts);
        }
        let mut own = Vec::new();
        self.link.tick(now, &mut own);
        self.pass_on(own, acts);
    }
}

#[cfg(test)]
mod tests;
