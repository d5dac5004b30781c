//! The requests that a room's turns made. Owns when each of them starts.
//!
//! Invariant: a request starts when the turn that made it is durable, and again when it is due and not under way. It
//! does not know what becomes of it.

use super::super::outcalls::{OutcallRoute, RoomOutcalls, StartedOutcall};
use super::super::outlet::{AskedOutcall, LetOut, Reply};
use super::Turns;
use room_core::jobs::{Job, JobId};
use room_core::limits::size;
use std::collections::BTreeMap;

/// The number of receipts that one commit removes, at most.
const EXPIRED_BATCH: usize = 256;

impl Turns {
    /// Starts what has left the gate.
    pub(super) fn start_let_out(&mut self) {
        for let_out in self.outlet.take_let_out() {
            match let_out {
                LetOut::Asked(AskedOutcall::Stored(id)) => {
                    // The guest may have given it up since.
                    if let Some(outcall) = self.jobs.outcall(id).cloned() {
                        self.start_outcall(StartedOutcall { id, outcall, is_stored: true });
                    }
                }
                LetOut::Asked(AskedOutcall::Unstored(id, outcall)) => {
                    let outcall = *outcall;
                    self.start_outcall(StartedOutcall { id, outcall, is_stored: false });
                }
                LetOut::Forget(call) => self.parts.outside.forget(&call.0, call.1),
            }
        }
    }

    fn start_outcall(&mut self, started: StartedOutcall) {
        let (outcalls, route) = self.outcalls_and_route();
        outcalls.start(started, &route);
    }

    fn outcalls_and_route(&mut self) -> (&mut RoomOutcalls, OutcallRoute<'_>) {
        let route = OutcallRoute {
            outside: &self.parts.outside,
            mailbox: &self.mailbox,
            room: &self.room,
            running_max: size(self.parts.limits.outcalls_running_max),
        };
        (&mut self.outcalls, route)
    }

    /// Starts the requests that are due and not under way.
    pub(in super::super) fn start_due_outcalls(&mut self, now_ms: u64) {
        let is_started = |id| self.outcalls.has(id);
        for (id, outcall) in self.jobs.attempts_until(now_ms, is_started) {
            self.start_outcall(StartedOutcall { id, outcall, is_stored: true });
        }
    }

    /// Takes a request that has ended; the next one starts. Returns `None` if the room has given it up.
    pub(in super::super) fn end_outcall(&mut self, id: JobId) -> Option<StartedOutcall> {
        let (outcalls, route) = self.outcalls_and_route();
        let ended = outcalls.ended(id, &route)?;
        let is_wanted = !ended.is_stored || self.jobs.outcall(id).is_some();
        is_wanted.then_some(ended)
    }

    /// Returns the other room of a call, with the call that it may forget.
    pub(in super::super) fn forgets(&self, ended: &StartedOutcall) -> Reply {
        let Some(to) = ended.outcall.target.room() else { return Reply::Nobody };
        let call = OutcallRoute::call_id(&self.room, ended.id);
        Reply::Forget(Box::new((to.clone(), call)))
    }

    /// Returns the change that removes receipts that no caller needs any longer; `None` if there are none.
    pub(in super::super) fn expired_receipts(
        &self,
        now_ms: u64,
    ) -> Option<BTreeMap<JobId, Option<Job>>> {
        let expired: BTreeMap<_, _> = self
            .jobs
            .expired(now_ms)
            .into_iter()
            .take(EXPIRED_BATCH)
            .map(|id| (id, None))
            .collect();
        (!expired.is_empty()).then_some(expired)
    }
}
