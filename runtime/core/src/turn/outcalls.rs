//! The requests of a turn to other servers and rooms. Owns the rules by which a guest makes and cancels them, and the
//! receipt of the call that a turn carries out.
//!
//! Invariant: a request is committed with its turn, or the turn made none. A call leaves a receipt with the first commit of
//! its callback, so that no crash carries out any part of it twice. It does not know who sends it.

use super::{Refusal, Turn};
use crate::id::PartyName;
use crate::jobs::{
    CallReceipt, Job, JobAccount, JobId, JobTally, Outcall, OutcallAnswer, OutcallTarget,
};
use crate::limits::{Limits, size};

/// The time from a request's commit until the room has to be awake for it, in milliseconds. The room itself starts a
/// request as soon as its turn is durable; the time passes only where the node ends before that.
const START_MS: u64 = 2_000;

/// What a guest asks of another server or room.
#[derive(Clone, Debug)]
pub struct OutcallPlan {
    /// The guest's name for it.
    pub tag: String,
    /// What is asked, and whom.
    pub target: OutcallTarget,
    /// The time now, in milliseconds since 1970.
    pub now_ms: u64,
    /// Whether it is kept nowhere, so that a crash loses it.
    pub best_effort: bool,
}

/// The call of another room that a callback carries out.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct OwnCall {
    /// What a repetition gets if the callback did not end.
    interrupted: CallReceipt,
    /// The receipt, once a flush has committed a part of the callback.
    kept: Option<JobId>,
}

impl Turn {
    /// Gives the turn the sum of its room's best-effort requests that have not ended.
    #[must_use]
    #[inline]
    pub fn with_unstored(mut self, unstored: JobTally) -> Self {
        self.jobs.unstored = unstored;
        self
    }

    /// Makes it the turn of a call. If a crash interrupts the callback behind a flush, a repetition of the call gets this
    /// receipt's answer.
    #[must_use]
    pub fn for_call(mut self, interrupted: CallReceipt) -> Self {
        self.jobs.carried.call = Some(Box::new(OwnCall { interrupted, kept: None }));
        self
    }

    /// Makes a request, and returns its id.
    ///
    /// # Errors
    /// [`Refusal::UsedUp`] names the limit, [`Refusal::Invalid`] says why the request is invalid; nothing is asked.
    pub fn ask(&mut self, plan: OutcallPlan) -> Result<JobId, Refusal> {
        self.check_stays("ask another server or room")?;
        let OutcallPlan { tag, target, now_ms, best_effort } = plan;
        let patience_ms = match &target {
            OutcallTarget::Fetch { .. } => self.limits.fetch_retry_total_ms_max,
            OutcallTarget::Call { .. } | OutcallTarget::Request { .. } => self.limits.call_ms_max,
        };
        let (due_ms, deadline_ms) =
            (now_ms.saturating_add(START_MS), now_ms.saturating_add(patience_ms));
        let outcall = Outcall { tag, target, due_ms, tries: 0, deadline_ms };
        self.admit_outcall(&outcall)?;
        if best_effort {
            let id = self.jobs.carried.next;
            self.jobs.carried.next = id.next();
            self.effects.unstored.push((id, outcall));
            return Ok(id);
        }
        Ok(self.add_job(Job::Outcall(Box::new(outcall))))
    }

    fn admit_outcall(&self, outcall: &Outcall) -> Result<(), Refusal> {
        let limits: &Limits = &self.limits;
        if outcall.tag.len() > size(limits.outcall_tag_bytes_max) {
            return Err(Refusal::UsedUp("outcall_tag_bytes_max"));
        }
        if let OutcallTarget::Call { data, .. } = &outcall.target
            && data.len() > size(limits.call_data_bytes_max)
        {
            return Err(Refusal::UsedUp("call_data_bytes_max"));
        }
        let tally = self.jobs.tallies.of(JobAccount::Outcalls);
        let under_way = self.jobs.unstored;
        let count = tally.count + under_way.count + self.effects.unstored.len();
        if count >= size(limits.outcalls_max) {
            return Err(Refusal::UsedUp("outcalls_max"));
        }
        let unstored: usize =
            self.effects.unstored.iter().map(|(_, outcall)| outcall.bytes()).sum();
        let bytes = tally.bytes + under_way.bytes + unstored;
        if bytes + outcall.bytes() > size(limits.outcalls_bytes_max) {
            return Err(Refusal::UsedUp("outcalls_bytes_max"));
        }
        Ok(())
    }

    /// Gives up a request: its answer gets no turn. Returns false if the room waits for no request with this id.
    pub fn cancel_outcall(&mut self, id: &str) -> bool {
        self.cancel_if(id, |job| matches!(job, Job::Outcall(_) | Job::Answer(_)))
    }

    /// Returns the requests that wait for an answer, in the order in which they were made.
    pub fn outcalls(&self) -> Vec<(JobId, Outcall)> {
        let outcall = |id| match self.jobs.get(id)? {
            Job::Outcall(outcall) => Some((id, (**outcall).clone())),
            _ => None,
        };
        self.jobs.ids().into_iter().filter_map(outcall).collect()
    }

    /// Returns the names of a party's rooms that store something, in order, behind this one, and at most so many or as many
    /// as [`Limits::list_page_entries_max`]; and whether there may be more.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] if the party's name is; [`Refusal::Unavailable`].
    pub fn rooms(
        &mut self,
        party: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<(Vec<String>, bool), Refusal> {
        let party = PartyName::parse(party).map_err(|error| Refusal::Invalid(error.to_string()))?;
        let page = max.min(size(self.limits.list_page_entries_max));
        let names = self.view.rooms(&party, after, page);
        let names = names.map_err(|error| self.unavailable(error))?;
        let more = names.len() == page && page < max;
        Ok((names, more))
    }

    /// Keeps the answer to the call that this turn carries out, so that a repetition gets the same.
    ///
    /// # Errors
    /// [`Refusal::UsedUp`] names the limit: the call must not take effect.
    pub fn keep_answer(&mut self, answer: OutcallAnswer) -> Result<(), Refusal> {
        let Some(own) = self.jobs.carried.call.take() else { return Ok(()) };
        self.keep_receipt(own.kept, CallReceipt { answer, ..own.interrupted })
    }

    /// Keeps that the callback of a call did not end, before a part of it is committed.
    pub(super) fn keep_interrupted(&mut self) {
        let Some(own) = self.jobs.carried.call.take() else { return };
        let OwnCall { interrupted, kept } = *own;
        let kept = kept.or_else(|| {
            let id = self.jobs.carried.next;
            // The room had space for it when the call began.
            self.keep_receipt(None, interrupted.clone()).is_ok().then_some(id)
        });
        self.jobs.carried.call = Some(Box::new(OwnCall { interrupted, kept }));
    }

    /// Keeps a receipt, in place of the one with this id if there is one.
    fn keep_receipt(&mut self, kept: Option<JobId>, receipt: CallReceipt) -> Result<(), Refusal> {
        let JobTally { count, bytes } = self.jobs.tallies.of(JobAccount::Receipts);
        let old = kept.and_then(|id| self.jobs.get(id)).map(Job::bytes);
        let count = count - usize::from(old.is_some());
        let tally = JobTally { count, bytes: bytes - old.unwrap_or_default() };
        receipt.fits(tally, &self.limits).map_err(Refusal::UsedUp)?;
        let receipt = Job::Receipt(Box::new(receipt));
        match kept {
            Some(id) => self.set_job(id, Some(receipt)),
            None => drop(self.add_job(receipt)),
        }
        Ok(())
    }
}
