//! The one way out of a room. Owns the connections and the outputs that wait for them.
//!
//! Invariant: outputs leave only through the gate, in the order of the turns, and only while this node's right to run the
//! room is certain. Once an output could not leave, none leaves. It does not know guests or where commits go: it asks for
//! their outcomes.

mod presence;

use super::deliveries::DueAck;
use super::exchanges::Exchanges;
use super::figures::RoomFigures;
use super::gate::OutputGate;
use super::handle::Admission;
use super::outbound::SharedLog;
use super::presence::{PresenceChanges, RoomPresence};
use super::responses::RoomAnswer;
use super::roster::{NumberedOutputs, Roster};
use super::turns::RoomParts;
use super::{AlarmGuard, RoomError};
use crate::cluster::RoomRight;
use crate::taps::RoomTap;
use room_core::event::CloseFrame;
use room_core::id::{RequestId, Serial};
use room_core::jobs::{CallId, JobId, Outcall, OutcallAnswer, RoomAddress};
use room_core::turn::{Output, Refusal};
use room_store::{Offset, Settled, StoreError};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The gate, and the roster and the exchanges behind it.
pub(super) struct Outlet {
    pub(super) roster: Roster,
    pub(super) exchanges: Exchanges,
    /// Who is in the room; `None` if the party keeps no presence.
    pub(super) presence: Option<Box<RoomPresence>>,
    gate: OutputGate<HeldTurn>,
    /// Bytes of what the gate holds.
    held_bytes: usize,
    /// What has left the gate for other servers and rooms, and was not taken yet.
    let_out: Vec<LetOut>,
    right: RoomRight,
    /// True once an output could not leave, because another node may run the room already.
    is_displaced: bool,
    parts: Arc<RoomParts>,
}

/// A request that a turn made.
#[derive(Debug)]
pub(super) enum AskedOutcall {
    /// One of the room's jobs.
    Stored(JobId),
    /// One that nothing stores.
    Unstored(JobId, Box<Outcall>),
}

/// Something for other servers and rooms, whose turn is durable.
#[derive(Debug)]
pub(super) enum LetOut {
    /// A request may start.
    Asked(AskedOutcall),
    /// Another room may forget a call of this one.
    Forget(Box<(RoomAddress, CallId)>),
}

/// What one turn says, and what it asks.
#[derive(Default)]
pub(super) struct TurnOutputs {
    /// For the clients.
    pub(super) said: NumberedOutputs,
    /// For other servers and rooms.
    pub(super) asked: Vec<AskedOutcall>,
}

/// One turn's outputs and answer, which leave the room when the turn is durable.
struct HeldTurn {
    said: NumberedOutputs,
    /// The newest connection at the time of the turn: a broadcast does not reach later ones.
    horizon: Option<Serial>,
    /// The requests that it made.
    asked: Vec<AskedOutcall>,
    /// The users that have changed.
    presence: Option<Box<PresenceChanges>>,
    reply: Reply,
    /// When it started to wait, if it waits.
    since: Option<Instant>,
}

/// The caller that waits for a turn besides the connections.
pub(super) enum Reply {
    Nobody,
    /// A client that wants to connect. A refused client, too, must get its answer only when the commits that
    /// led to the refusal are durable.
    Joined(DueOutputs<Admission>),
    /// A connection whose end was handled. Its outbox ends here, after the earlier outputs.
    Left(Serial),
    Response(DueOutputs<RoomAnswer>),
    /// An open response ends early. If it has not begun, its client gets the error.
    Cut(RequestId, RoomError),
    Alarm(AlarmGuard),
    /// Another room, whose call was carried out.
    Called(DueOutputs<OutcallAnswer>),
    /// A call of this room whose answer was handled: the other room may forget it.
    Forget(Box<(RoomAddress, CallId)>),
    /// The source of a chunk, which waits to send the next one.
    Taken(oneshot::Sender<()>),
    /// The call of a cron.
    Cron(DueOutputs<()>),
    /// A client without a socket, whose message was handled.
    Posted(DueOutputs<()>),
    /// A client that asked what becomes of its message.
    Acked(Box<DueAck>),
    /// A change of a key. The answer says whether the key existed before.
    Edited(DueOutputs<Result<bool, Refusal>>),
}

/// An answer that is due when its turn is durable.
pub(super) struct DueOutputs<T> {
    to: oneshot::Sender<Result<T, RoomError>>,
    outcome: Result<T, RoomError>,
}

impl<T> DueOutputs<T> {
    pub(super) fn new(
        to: oneshot::Sender<Result<T, RoomError>>,
        outcome: Result<T, RoomError>,
    ) -> Self {
        Self { to, outcome }
    }

    fn send(self) {
        // If the caller has left, the dropped admission reports the end of the connection to the room.
        drop(self.to.send(self.outcome));
    }

    fn fail(self, error: &RoomError) {
        drop(self.to.send(Err(error.clone())));
    }
}

impl Reply {
    /// Answers the caller that the turn is lost.
    fn fail(self, error: &RoomError) {
        match self {
            Self::Joined(due) => due.fail(error),
            Self::Response(due) => due.fail(error),
            Self::Edited(due) => due.fail(error),
            Self::Called(due) => due.fail(error),
            Self::Cron(due) | Self::Posted(due) => due.fail(error),
            // The loss of the guard informs the sender.
            Self::Nobody
            | Self::Left(_)
            | Self::Cut(..)
            | Self::Alarm(_)
            | Self::Forget(_)
            // The client's connection ends with the room.
            | Self::Acked(_)
            | Self::Taken(_) => {}
        }
    }
}

impl HeldTurn {
    fn bytes(&self) -> usize {
        let outputs: usize = self.said.outputs.iter().map(Output::bytes).sum();
        let reply = match &self.reply {
            Reply::Response(DueOutputs { outcome: Ok(RoomAnswer::Whole(response)), .. }) => {
                response.body.len()
            }
            Reply::Called(DueOutputs { outcome: Ok(answer), .. }) => answer.bytes(),
            _ => 0,
        };
        outputs + reply + self.presence.as_ref().map_or(0, |changes| changes.bytes())
    }
}

impl Outlet {
    /// Makes an outlet without connections, which holds nothing.
    pub(super) fn new(
        (parts, right): (Arc<RoomParts>, RoomRight),
        figures: Arc<RoomFigures>,
        tap: Arc<RoomTap>,
        log: Option<Arc<SharedLog>>,
    ) -> Self {
        let roster = Roster::new(figures, tap, log, &parts.limits);
        let gate = OutputGate::default();
        let (exchanges, let_out) = (Exchanges::new(parts.clone()), Vec::new());
        Self {
            roster,
            exchanges,
            presence: None,
            gate,
            held_bytes: 0,
            let_out,
            right,
            is_displaced: false,
            parts,
        }
    }

    /// Takes a turn's outputs. `commit` is the offset at which its writes are durable, if it wrote.
    pub(super) fn hold(&mut self, commit: Option<Offset>, said: TurnOutputs, reply: Reply) {
        let TurnOutputs { mut said, asked } = said;
        let horizon = self.roster.horizon();
        // A stored log has them already: they are in the turn's commit.
        if said.entries.is_empty()
            && let Some(log) = &self.roster.log
        {
            let now_ms = self.parts.clock.wall_ms();
            said.entries = log.lock().append(said.first, &said.outputs, horizon, now_ms);
        }
        let waits = commit.is_some() || self.is_holding();
        let since = waits.then(Instant::now);
        let presence = self.presence.as_mut().and_then(|own| own.take_changes());
        let release = HeldTurn { said, horizon, asked, presence, reply, since };
        self.held_bytes += release.bytes();
        if let Some(release) = self.gate.hold(commit, release) {
            self.let_out(release);
        }
    }

    /// Takes an answer to a caller, without outputs. `commit` is the offset that the answer waits for.
    pub(super) fn answer(&mut self, commit: Option<Offset>, reply: Reply) {
        self.hold(commit, TurnOutputs::default(), reply);
    }

    /// Returns true if a client is connected, or waits for the rest of a response.
    pub(super) fn has_clients(&self) -> bool {
        !self.roster.is_empty() || !self.exchanges.is_empty()
    }

    /// Returns the bytes of outputs whose turns are not durable yet.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Releases everything that has become durable.
    ///
    /// # Errors
    /// The error by which a commit was lost, or [`StoreError::Displaced`]: nothing that the gate holds may ever leave.
    pub(super) fn release(
        &mut self,
        settled: impl Fn(Offset) -> Settled,
    ) -> Result<(), StoreError> {
        while let Some(release) = self.gate.release(&settled)? {
            self.let_out(release);
        }
        if self.is_displaced { Err(StoreError::Displaced) } else { Ok(()) }
    }

    /// Returns true if something waits to become durable.
    pub(super) fn is_holding(&self) -> bool {
        !self.gate.is_empty()
    }

    /// Throws away what the gate holds, answers the waiting callers with the error, and closes all
    /// connections.
    pub(super) fn abandon(&mut self, error: &RoomError, frame: &CloseFrame) {
        for release in self.gate.abandon() {
            release.reply.fail(error);
        }
        self.close_all(frame, error);
    }

    /// Ends all connections with this frame, and all open responses with this error.
    pub(super) fn close_all(&mut self, frame: &CloseFrame, error: &RoomError) {
        self.roster.close_all(frame);
        self.exchanges.cut_all(error);
    }

    fn let_out(&mut self, release: HeldTurn) {
        self.held_bytes -= release.bytes();
        if self.is_displaced || !self.right.holds() {
            // The room ends when it next asks what may leave.
            self.is_displaced = true;
            release.reply.fail(&RoomError::Moved);
            return;
        }
        if let Some(since) = release.since {
            self.parts.metrics.gate_seconds.record(since.elapsed());
        }
        if let Reply::Joined(DueOutputs { outcome: Ok(admission), .. }) = &release.reply
            && admission.is_new()
        {
            self.roster.opened(admission.serial);
            self.roster.greet(admission.serial, self.parts.clock);
            if let Some(own) = &self.presence {
                self.roster.follow(admission.serial, own.shared());
            }
        }
        if let (Some(changes), Some(own)) = (release.presence, &mut self.presence) {
            own.let_out(*changes);
        }
        if let (Some(newest), Some(log)) = (release.said.entries.last(), &self.roster.log) {
            log.lock().release(newest.number(), self.parts.clock.wall_ms());
        }
        self.roster.say(release.said, release.horizon, &mut self.exchanges);
        self.let_out.extend(release.asked.into_iter().map(LetOut::Asked));
        match release.reply {
            Reply::Nobody => {}
            Reply::Joined(due) => due.send(),
            Reply::Left(serial) => self.roster.hang_up(serial),
            Reply::Response(due) => due.send(),
            Reply::Cut(id, error) => self.exchanges.cut(id, &error),
            Reply::Alarm(done) => drop(done.send(())),
            Reply::Edited(due) => due.send(),
            Reply::Called(due) => due.send(),
            Reply::Forget(call) => self.let_out.push(LetOut::Forget(call)),
            // A source that has ended waits for nothing.
            Reply::Taken(taken) => drop(taken.send(())),
            Reply::Cron(due) | Reply::Posted(due) => due.send(),
            Reply::Acked(due) => self.roster.acknowledge(*due),
        }
    }

    /// Returns what has left for other servers and rooms since the last call.
    pub(super) fn take_let_out(&mut self) -> Vec<LetOut> {
        std::mem::take(&mut self.let_out)
    }

    /// Returns true if something has left for other servers and rooms.
    pub(super) fn has_let_out(&self) -> bool {
        !self.let_out.is_empty()
    }
}
