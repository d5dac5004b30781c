//! Answers to a room's requests, and calls of other rooms. Owns what becomes of an answer whose turn failed.
//!
//! Invariant: an answer is one turn, with which its request is gone. If that turn fails, the answer is stored in place of
//! the request, so that nothing is asked again. A call is carried out once, however often it comes. It does not know how
//! a request is sent.

use super::super::RoomError;
use super::super::alarm::next_try;
use super::super::figures::FaultRecord;
use super::super::mail::{AlarmRing, ChunkMail, OutcallMail};
use super::super::outcalls::StartedOutcall;
use super::super::outcome::{OutcallOutcome, count_answer};
use super::super::outlet::{DueOutputs, Reply};
use super::super::outside::RoomCall;
use super::Actor;
use room_core::event::{CallPayload, Event};
use room_core::jobs::{
    CallId, Job, JobAccount, JobId, OutcallAnswer, OutcallFailure, UndeliveredAnswer,
};
use room_core::limits::size;
use room_core::report;
use room_guest::GuestFault;
use room_store::{AlarmRecord, Offset, StoreError};
use tokio::sync::oneshot;

/// The sender of a call's answer.
type CallReply = oneshot::Sender<Result<OutcallAnswer, RoomError>>;

impl Actor {
    /// Carries out a call of another room, unless that was done before.
    pub(super) async fn called(
        &mut self,
        call: RoomCall,
        reply: CallReply,
    ) -> Result<(), StoreError> {
        let RoomCall { id, payload, until_ms } = call;
        if let Some((_, receipt)) = self.turns.jobs.receipt(&id) {
            let answer = receipt.answer.clone();
            self.refuse(Reply::Called(DueOutputs::new(reply, Ok(answer))));
            return Ok(());
        }
        // The caller does not wait any longer: it must not be carried out after that.
        if until_ms <= self.turns.parts.clock.wall_ms() {
            self.refuse(Reply::Called(DueOutputs::new(reply, Err(RoomError::TimedOut))));
            return Ok(());
        }
        // Before the guest runs: a full room must not carry out what it cannot keep.
        let receipts = self.turns.jobs.tally(JobAccount::Receipts);
        let least = payload.interrupted(&id, until_ms);
        if least.fits(receipts, &self.turns.parts.limits).is_err() {
            self.refuse(Reply::Called(DueOutputs::new(reply, Err(RoomError::Busy))));
            return Ok(());
        }
        let asked = payload.clone();
        if matches!(payload, CallPayload::Data(_)) && !self.turns.handles_calls() {
            let message = format!("{} has no on_call", self.turns.room);
            let answer = asked.failed(OutcallFailure::new("no-on-call", message));
            self.refuse(Reply::Called(DueOutputs::new(reply, Ok(answer))));
            return Ok(());
        }
        // A failed start says nothing about the call: the caller tries again.
        if let Err(error) = self.ready().await? {
            self.refuse(Reply::Called(DueOutputs::new(reply, Err(error))));
            return Ok(());
        }
        match self.turn(&Event::Call { call: id, payload, until_ms }, None).await? {
            Ok(turn) => {
                self.turns.parts.metrics.calls_answered.increment(1);
                let answer = turn.answer.for_call().unwrap_or_else(|| {
                    asked.failed(OutcallFailure::new("failed", "the room returned nothing"))
                });
                self.turns.hold(turn, Reply::Called(DueOutputs::new(reply, Ok(answer))));
            }
            Err(RoomError::Guest(fault)) => {
                let failure = match fault {
                    GuestFault::Rejected(text) => OutcallFailure::new("refused", text),
                    fault => OutcallFailure::new("failed", fault.to_string()),
                };
                let answer = asked.failed(failure);
                self.refuse(Reply::Called(DueOutputs::new(reply, Ok(answer))));
            }
            Err(error) => self.refuse(Reply::Called(DueOutputs::new(reply, Err(error)))),
        }
        Ok(())
    }

    /// Forgets a call that will not be repeated.
    pub(super) async fn forget_call(&mut self, call: &CallId) -> Result<(), StoreError> {
        let Some((id, _)) = self.turns.jobs.receipt(call) else { return Ok(()) };
        self.turns.commit_jobs([(id, None)].into()).await.map(drop)
    }

    /// Handles the end of an attempt of a request.
    pub(super) async fn outcall_ended(&mut self, mail: OutcallMail) -> Result<(), StoreError> {
        let OutcallMail { id, outcome } = mail;
        let Some(ended) = self.turns.end_outcall(id) else { return Ok(()) };
        if !self.turns.wants(&ended) {
            // Behind the turn that gave it up: if that is lost, the request is repeated.
            let forgets = self.turns.forgets(&ended);
            self.turns.outlet.answer(None, forgets);
            return Ok(());
        }
        let answer = match outcome {
            OutcallOutcome::Answered(answer) => answer,
            OutcallOutcome::NotNow { answer, counts } => {
                let now = self.turns.parts.clock.wall_ms();
                let retried = ended.outcall.retried(counts, now, &self.turns.parts.limits);
                if let Some(next) = retried.filter(|_| ended.is_stored) {
                    self.turns.parts.metrics.outcalls_retried.increment(1);
                    let next = Job::Outcall(Box::new(next));
                    return self.turns.commit_jobs([(id, Some(next))].into()).await.map(drop);
                }
                answer
            }
        };
        count_answer(&self.turns.parts.metrics, &ended.outcall.target, &answer);
        self.answered(ended, answer).await
    }

    /// Delivers the answer to a request.
    async fn answered(
        &mut self,
        ended: StartedOutcall,
        answer: OutcallAnswer,
    ) -> Result<(), StoreError> {
        let (id, tag) = (ended.id, ended.outcall.tag.clone());
        let forgets = self.turns.forgets(&ended);
        if !self.turns.handles_answers(&answer) {
            let offset =
                self.drop_answer(id, &tag, "the room's code has no callback for it").await?;
            self.turns.outlet.answer(Some(offset), forgets);
            return Ok(());
        }
        let event = Event::Answer { id, tag: tag.clone(), answer: answer.clone() };
        let tries = match self.turn(&event, None).await? {
            Ok(turn) => {
                self.turns.hold(turn, forgets);
                return Ok(());
            }
            Err(RoomError::Guest(_)) => 1,
            Err(_) => 0,
        };
        // The guest may have given it up, and flushed that, before it failed.
        if !ended.is_stored || self.turns.jobs.outcall(id).is_none() {
            report!(
                warn,
                self.turns.log(),
                [],
                "the answer to the request {tag:?} is lost: its turn failed"
            );
            return Ok(());
        }
        let now = self.turns.parts.clock.wall_ms();
        let due_ms = now.saturating_add(self.turns.parts.limits.alarm_retry_ms_min);
        let kept = UndeliveredAnswer { tag, answer, due_ms, tries };
        let offset = match self.has_space_for(&kept) {
            true => {
                let kept = Some(Job::Answer(Box::new(kept)));
                self.turns.commit_jobs([(id, kept)].into()).await?
            }
            false => {
                let reason = "its turn failed, and outcalls_bytes_max allows no more";
                self.drop_answer(id, &kept.tag, reason).await?
            }
        };
        self.turns.outlet.answer(Some(offset), forgets);
        Ok(())
    }

    /// Returns true if the room may keep an answer: one more than the limit allows, so that the largest one fits.
    fn has_space_for(&self, kept: &UndeliveredAnswer) -> bool {
        let limits = &self.turns.parts.limits;
        let most = limits.outcalls_bytes_max.saturating_add(limits.fetch_response_bytes_max);
        self.turns.jobs.tally(JobAccount::Outcalls).bytes + kept.bytes() <= size(most)
    }

    /// Delivers an answer whose turn has failed before.
    pub(super) async fn deliver_again(
        &mut self,
        id: JobId,
        kept: UndeliveredAnswer,
        ring: AlarmRing,
    ) -> Result<(), StoreError> {
        self.turns.usage.used();
        let UndeliveredAnswer { tag, answer, due_ms, tries } = kept;
        if !self.turns.handles_answers(&answer) {
            let offset =
                self.drop_answer(id, &tag, "the room's code has no callback for it").await?;
            self.answer_ring(Some(offset), ring);
            return Ok(());
        }
        let event = Event::Answer { id, tag: tag.clone(), answer: answer.clone() };
        match self.turn(&event, None).await? {
            Ok(turn) => {
                let reply = self.reply(ring);
                self.turns.hold(turn, reply);
            }
            Err(error @ RoomError::Guest(_)) => {
                let failed = AlarmRecord { due_ms, tries };
                let now = self.turns.parts.clock.wall_ms();
                let offset = match next_try(failed, now, &self.turns.parts.limits) {
                    Some(AlarmRecord { due_ms, tries }) => {
                        report!(warn, self.turns.log(), [%error, tries],
                            "the answer to the request {tag:?} failed, try {tries}; it is tried again");
                        let kept = UndeliveredAnswer { tag, answer, due_ms, tries };
                        let kept = Some(Job::Answer(Box::new(kept)));
                        self.turns.commit_jobs([(id, kept)].into()).await?
                    }
                    None => self.drop_answer(id, &tag, "its turn failed too often").await?,
                };
                self.answer_ring(Some(offset), ring);
            }
            Err(error) => {
                report!(
                    debug,
                    self.turns.log(),
                    [],
                    "the answer to the request {tag:?} waits: {error}"
                );
            }
        }
        Ok(())
    }

    /// Drops an answer, with an error in the log.
    async fn drop_answer(
        &mut self,
        id: JobId,
        tag: &str,
        reason: &str,
    ) -> Result<Offset, StoreError> {
        let at_ms = self.turns.parts.clock.wall_ms();
        let reason = format!("the answer to the request {tag:?} is dropped: {reason}");
        self.turns.parts.metrics.answers_dropped.increment(1);
        report!(error, self.turns.log(), [], "{reason}");
        let fault = FaultRecord { at_ms, event: "answer", reason, backtrace: None };
        self.turns.tap.failed(fault.event, &fault.reason);
        self.turns.figures.note_fault(fault);
        self.turns.commit_jobs([(id, None)].into()).await
    }

    /// Delivers a part of a response. If its turn fails, the request ends with a failure.
    pub(super) async fn chunk(&mut self, mail: ChunkMail) -> Result<(), StoreError> {
        let ChunkMail { chunk, taken } = mail;
        let Some(started) = self.turns.outcalls.running(chunk.id) else { return Ok(()) };
        if started.is_stored && self.turns.jobs.outcall(chunk.id).is_none() {
            return Ok(());
        }
        if let Ok(turn) = self.turn(&Event::Chunk(chunk), None).await? {
            self.turns.hold(turn, Reply::Taken(taken));
        }
        Ok(())
    }
}
