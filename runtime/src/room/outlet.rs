//! The one way out of a room. Owns who is connected and what waits to be said to them.
//!
//! Invariant: nothing leaves but through the gate, in the order of the turns. It does not know guests
//! or where commits go: it asks what became of them.

use super::figures::Figures;
use super::gate::OutputGate;
use super::handle::Admission;
use super::roster::{NumberedOutputs, Roster};
use super::{AlarmGuard, RoomError};
use crate::event::{CloseFrame, Response};
use crate::id::Serial;
use crate::metrics::RoomMetrics;
use crate::store::{Offset, Settled, StoreError};
use crate::taps::RoomTap;
use crate::turn::{Output, Refusal};
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
    said: NumberedOutputs,
    /// The newest connection of its time: a broadcast is not for those who came later.
    horizon: Option<Serial>,
    reply: Reply,
    /// Since when it waits, if it does.
    since: Option<Instant>,
}

/// Who waits for a turn besides the connections.
pub(super) enum Reply {
    Nobody,
    /// A client that wants in. One that is not let in must not hear of it before what led to it is durable, either.
    Joined(Due<Admission>),
    /// A connection whose end was handled: its outbox ends here, behind what was said to it.
    Left(Serial),
    Response(Due<Response>),
    Alarm(AlarmGuard),
    /// A change of a key, and whether the key was there before.
    Edited(Due<Result<bool, Refusal>>),
}

/// An answer that is due when its turn is durable.
pub(super) struct Due<T> {
    to: oneshot::Sender<Result<T, RoomError>>,
    outcome: Result<T, RoomError>,
}

impl<T> Due<T> {
    pub(super) fn new(
        to: oneshot::Sender<Result<T, RoomError>>,
        outcome: Result<T, RoomError>,
    ) -> Self {
        Self { to, outcome }
    }

    fn send(self) {
        // A caller that does not wait any more has gone: an admission that is dropped tells the room so.
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
            // The loss of the guard says it.
            Self::Nobody | Self::Left(_) | Self::Alarm(_) => {}
        }
    }
}

impl Release {
    fn bytes(&self) -> usize {
        let outputs: usize = self.said.outputs.iter().map(Output::bytes).sum();
        let reply = match &self.reply {
            Reply::Response(Due { outcome: Ok(response), .. }) => response.body.len(),
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
    pub(super) fn hold(&mut self, commit: Option<Offset>, said: NumberedOutputs, reply: Reply) {
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
        self.hold(commit, NumberedOutputs::default(), reply);
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
            release.reply.fail(error);
        }
        self.roster.close_all(frame);
    }

    fn let_out(&mut self, release: Release) {
        self.held_bytes -= release.bytes();
        if let Some(since) = release.since {
            self.metrics.gate_seconds.record(since.elapsed());
        }
        if let Reply::Joined(Due { outcome: Ok(admission), .. }) = &release.reply {
            self.roster.opened(admission.serial);
        }
        self.roster.say(release.said, release.horizon);
        match release.reply {
            Reply::Nobody => {}
            Reply::Joined(due) => due.send(),
            Reply::Left(serial) => self.roster.hang_up(serial),
            Reply::Response(due) => due.send(),
            Reply::Alarm(done) => drop(done.send(())),
            Reply::Edited(due) => due.send(),
        }
    }
}
