//! The one way out of a room. Owns who is connected and what waits to be said to them.
//!
//! Invariant: nothing leaves but through the gate, in the order of the turns. It does not know guests
//! or where commits go: it asks what became of them.

use super::figures::Figures;
use super::gate::OutputGate;
use super::roster::{Roster, Said};
use super::{Admission, AlarmGuard, EditReply, RoomError};
use crate::event::{CloseFrame, Response};
use crate::id::Serial;
use crate::metrics::RoomMetrics;
use crate::store::{Offset, Settled, StoreError};
use crate::taps::RoomTap;
use crate::turn::Output;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The gate with what is behind it.
pub(super) struct Outlet {
    pub(super) roster: Roster,
    gate: OutputGate<Release>,
    /// Bytes of what the gate holds.
    held_bytes: usize,
    metrics: Arc<RoomMetrics>,
}

/// What leaves a room when its turn is durable.
struct Release {
    said: Said,
    /// The newest connection of its time: a broadcast is not for those who came later.
    horizon: Option<Serial>,
    reply: Reply,
    /// Since when it waits, if it does.
    since: Option<Instant>,
}

/// Who waits for a turn besides the connections.
pub(super) enum Reply {
    Nobody,
    /// A client that is let in.
    Opened(oneshot::Sender<Result<Admission, RoomError>>, Admission),
    /// A connection whose end was handled: its outbox ends here, behind what was said to it.
    Left(Serial),
    /// A client that is not let in: it must not hear of a failure before what led to it is durable.
    NotOpened(oneshot::Sender<Result<Admission, RoomError>>, RoomError),
    Response(oneshot::Sender<Result<Response, RoomError>>, Response),
    /// A request that failed.
    NoResponse(oneshot::Sender<Result<Response, RoomError>>, RoomError),
    Alarm(AlarmGuard),
    /// A change of a key, and whether the key was there before.
    Edited(EditReply, bool),
}

impl Release {
    fn bytes(&self) -> usize {
        let outputs: usize = self.said.outputs.iter().map(Output::bytes).sum();
        let reply = match &self.reply {
            Reply::Response(_, response) => response.body.len(),
            _ => 0,
        };
        outputs + reply
    }
}

impl Outlet {
    /// Nobody is connected, and nothing waits.
    pub(super) fn new(metrics: Arc<RoomMetrics>, figures: Arc<Figures>, tap: Arc<RoomTap>) -> Self {
        let (roster, gate) = (Roster::new(figures, tap), OutputGate::default());
        Self { roster, gate, held_bytes: 0, metrics }
    }

    /// Takes what a turn says. `commit` is where its writes become durable, if it wrote.
    pub(super) fn hold(&mut self, commit: Option<Offset>, said: Said, reply: Reply) {
        let waits = commit.is_some() || self.is_holding();
        let since = waits.then(Instant::now);
        let release = Release { said, horizon: self.roster.horizon(), reply, since };
        self.held_bytes += release.bytes();
        if let Some(release) = self.gate.hold(commit, release) {
            self.let_out(release);
        }
    }

    /// Takes an answer to who waits for it, where nothing is said besides. `commit` is what it waits for.
    pub(super) fn answer(&mut self, commit: Option<Offset>, reply: Reply) {
        self.hold(commit, Said::default(), reply);
    }

    /// Bytes that are said and not durable.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Lets out everything that has become durable.
    ///
    /// # Errors
    /// The error by which a commit was lost: nothing that is held may ever leave.
    pub(super) fn release(
        &mut self,
        settled: impl Fn(Offset) -> Settled,
    ) -> Result<(), StoreError> {
        while let Some(release) = self.gate.release(&settled)? {
            self.let_out(release);
        }
        Ok(())
    }

    /// True if something waits to become durable.
    pub(super) fn is_holding(&self) -> bool {
        !self.gate.is_empty()
    }

    /// Throws away what is held, and tells those who wait, and everybody connected, that it is over.
    pub(super) fn abandon(&mut self, error: &RoomError, frame: &CloseFrame) {
        for release in self.gate.abandon() {
            match release.reply {
                Reply::Opened(reply, _) | Reply::NotOpened(reply, _) => {
                    drop(reply.send(Err(error.clone())));
                }
                Reply::Response(reply, _) => drop(reply.send(Err(error.clone()))),
                Reply::NoResponse(reply, _) => drop(reply.send(Err(error.clone()))),
                Reply::Edited(reply, _) => drop(reply.send(Err(error.clone()))),
                Reply::Nobody | Reply::Left(_) | Reply::Alarm(_) => {}
            }
        }
        self.roster.close_all(frame);
    }

    fn let_out(&mut self, release: Release) {
        self.held_bytes -= release.bytes();
        if let Some(since) = release.since {
            self.metrics.gate_seconds.record(since.elapsed());
        }
        if let Reply::Opened(_, admission) = &release.reply {
            self.roster.opened(admission.serial);
        }
        self.roster.say(release.said, release.horizon);
        // Who does not wait any more has gone: an admission that is dropped tells the room so.
        match release.reply {
            Reply::Nobody => {}
            Reply::Opened(reply, admission) => drop(reply.send(Ok(admission))),
            Reply::Left(serial) => self.roster.hang_up(serial),
            Reply::NotOpened(reply, error) => drop(reply.send(Err(error))),
            Reply::Response(reply, response) => drop(reply.send(Ok(response))),
            Reply::NoResponse(reply, error) => drop(reply.send(Err(error))),
            Reply::Alarm(done) => drop(done.send(())),
            Reply::Edited(reply, was_there) => drop(reply.send(Ok(Ok(was_there)))),
        }
    }
}
