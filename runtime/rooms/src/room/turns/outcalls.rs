//! The requests that a room's turns made. Owns when each of them starts.
//!
//! Invariant: a request starts when the turn that made it is durable, and again when it is due and not under way. It
//! does not know what becomes of it.

use super::super::RoomError;
use super::super::outcalls::{OutcallRoute, RoomOutcalls, StartedOutcall};
use super::super::outlet::{AskedOutcall, LetOut, Reply, TurnOutputs};
use super::Turns;
use room_core::event::GuestAnswer;
use room_core::id::SequenceNumber;
use room_core::jobs::{Job, JobId, JobsChange};
use room_core::limits::size;
use room_core::turn::Turn;
use room_guest::GuestFault;
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
            metrics: &self.parts.metrics,
            running_max: size(self.parts.limits.outcalls_running_max),
        };
        (&mut self.outcalls, route)
    }

    /// Starts the requests that are due and not under way. They pass the gate as those of a turn do: a request is due
    /// some time after its commit, and the disk may need longer than that.
    pub(in super::super) fn start_due_outcalls(&mut self, now_ms: u64) {
        let due = self.jobs.attempts_until(now_ms).filter(|id| !self.outcalls.has(*id));
        let asked: Vec<_> = due.map(AskedOutcall::Stored).collect();
        if !asked.is_empty() {
            self.outlet.hold(None, TurnOutputs { asked, ..TurnOutputs::default() }, Reply::Nobody);
            self.send_let_out();
        }
    }

    /// Takes a request that has ended; the next one starts. Returns `None` if it was not under way.
    pub(in super::super) fn end_outcall(&mut self, id: JobId) -> Option<StartedOutcall> {
        let (outcalls, route) = self.outcalls_and_route();
        outcalls.ended(id, &route)
    }

    /// Returns true if the room still wants the answer to a request.
    pub(in super::super) fn wants(&self, started: &StartedOutcall) -> bool {
        !started.is_stored || self.jobs.outcall(started.id).is_some()
    }

    /// Removes the requests that a commit gave up from those that wait for others to end.
    pub(super) fn give_up_waiting(&mut self, change: &JobsChange) {
        let removed = change.entries.iter().filter(|(_, job)| job.is_none());
        let removed: Vec<_> = removed.filter_map(|(key, _)| JobId::of_key(key)).collect();
        self.outcalls.give_up(&removed);
    }

    /// Returns the other room of a call, with the call that it may forget.
    pub(in super::super) fn forgets(&self, ended: &StartedOutcall) -> Reply {
        let Some(to) = ended.outcall.target.room() else { return Reply::Nobody };
        let call = OutcallRoute::call_id(&self.room, ended.id);
        Reply::Forget(Box::new((to.clone(), call)))
    }

    /// Returns the answer to a publication whose event has this number.
    pub(super) fn published(number: SequenceNumber) -> GuestAnswer {
        GuestAnswer::Returned(number.to_string().into())
    }

    /// Makes the turn of a call keep its answer, so that a repetition gets the same. An error says why the call must not
    /// take effect.
    pub(super) fn receipted(
        &self,
        mut turn: Box<Turn>,
        answer: &GuestAnswer,
    ) -> Result<Box<Turn>, RoomError> {
        let Some(answer) = answer.for_call() else { return Ok(turn) };
        let (bytes, max) = (answer.bytes(), self.parts.limits.receipts_bytes_max);
        if bytes > size(max) {
            let text =
                format!("the answer to a call has {bytes} bytes, receipts_bytes_max allows {max}");
            return Err(GuestFault::Rejected(text).into());
        }
        // The caller tries again, when others have taken their answers.
        turn.keep_answer(answer).map_err(|_| RoomError::Busy)?;
        Ok(turn)
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
