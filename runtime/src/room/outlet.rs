//! The one way out of a room. Owns who is connected and what waits to be said to them.
//!
//! Invariant: nothing leaves but through the gate, in the order of the turns. It does not know guests
//! or where commits go: it asks what became of them.

use super::gate::OutputGate;
use super::roster::Roster;
use super::{Admission, AlarmGuard, RoomError};
use crate::event::{CloseFrame, Response};
use crate::id::Serial;
use crate::store::{Offset, Settled, StoreError};
use crate::turn::Output;
use tokio::sync::oneshot;

/// The gate with what is behind it.
#[derive(Default)]
pub(super) struct Outlet {
    pub(super) roster: Roster,
    gate: OutputGate<Release>,
}

/// What leaves a room when its turn is durable.
struct Release {
    outputs: Vec<Output>,
    /// The newest connection of its time: a broadcast is not for those who came later.
    horizon: Option<Serial>,
    reply: Reply,
}

/// Who waits for a turn besides the connections.
pub(super) enum Reply {
    Nobody,
    /// A client that is let in.
    Opened(oneshot::Sender<Result<Admission, RoomError>>, Admission),
    /// A connection whose end was handled: its outbox ends here, behind what was said to it.
    Left(Serial),
    Response(oneshot::Sender<Result<Response, RoomError>>, Response),
    Alarm(AlarmGuard),
}

impl Outlet {
    /// Takes what a turn says. `commit` is where its writes become durable, if it wrote.
    pub(super) fn hold(&mut self, commit: Option<Offset>, outputs: Vec<Output>, reply: Reply) {
        let release = Release { outputs, horizon: self.roster.horizon(), reply };
        if let Some(release) = self.gate.hold(commit, release) {
            self.let_out(release);
        }
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
                Reply::Opened(reply, _) => drop(reply.send(Err(error.clone()))),
                Reply::Response(reply, _) => drop(reply.send(Err(error.clone()))),
                Reply::Nobody | Reply::Left(_) | Reply::Alarm(_) => {}
            }
        }
        self.roster.close_all(frame);
    }

    fn let_out(&mut self, release: Release) {
        self.roster.say(release.outputs, release.horizon);
        // Who does not wait any more has gone: an admission that is dropped tells the room so.
        match release.reply {
            Reply::Nobody => {}
            Reply::Opened(reply, admission) => drop(reply.send(Ok(admission))),
            Reply::Left(serial) => self.roster.hang_up(serial),
            Reply::Response(reply, response) => drop(reply.send(Ok(response))),
            Reply::Alarm(done) => drop(done.send(())),
        }
    }
}
