//! The jobs of a room in memory. Owns that they agree with the store.
//!
//! Invariant: a change is applied here when it is committed, and the table that a turn reads does not change during the turn.
//! It does not know what jobs do.

use super::turns::Turns;
use bytes::Bytes;
use room_core::jobs::{
    CallId, CallReceipt, Job, JobAccount, JobDamage, JobId, JobTable, JobTally, JobsChange,
    JobsSummary, Outcall, OutcallSummary, Timer, Wake,
};
use room_core::span::Key;
use room_core::turn::Writes;
use room_store::{Offset, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The jobs of one room. A room without any holds nothing.
#[derive(Debug, Default)]
pub(super) struct RoomJobs(Option<Arc<JobTable>>);

impl RoomJobs {
    /// Takes the stored jobs, and returns what is wrong with those that cannot be read.
    pub(super) fn of(stored: Vec<(Key, Bytes)>) -> (Self, Vec<JobDamage>) {
        if stored.is_empty() {
            return (Self::default(), Vec::new());
        }
        let (table, damages) = JobTable::of(stored);
        (Self(Some(Arc::new(table))), damages)
    }

    /// Returns the table for a turn to read.
    pub(super) fn table(&self) -> Option<Arc<JobTable>> {
        self.0.clone()
    }

    /// Returns the timer or undelivered answer that is due first, if it is due now.
    pub(super) fn due(&self, now_ms: u64) -> Option<(JobId, &Job)> {
        self.0.as_ref()?.due(now_ms)
    }

    /// Returns a timer.
    pub(super) fn timer(&self, id: JobId) -> Option<&Timer> {
        match self.0.as_ref()?.get(id)? {
            Job::Timer(timer) => Some(timer),
            _ => None,
        }
    }

    /// Returns a request that waits for its answer.
    pub(super) fn outcall(&self, id: JobId) -> Option<&Outcall> {
        match self.0.as_ref()?.get(id)? {
            Job::Outcall(outcall) => Some(outcall),
            _ => None,
        }
    }

    /// Returns the requests that are due by then.
    pub(super) fn attempts_until(&self, until_ms: u64) -> impl Iterator<Item = JobId> {
        let due = self.0.iter().flat_map(move |table| table.attempts_until(until_ms));
        due.map(|(id, _)| id)
    }

    /// Returns the number and the size of the jobs of one account.
    pub(super) fn tally(&self, account: JobAccount) -> JobTally {
        self.0.as_ref().map(|table| table.tallies().of(account)).unwrap_or_default()
    }

    /// Returns true if other servers or rooms rely on what is stored here: a request has no answer, or a caller may repeat
    /// its call.
    pub(super) fn owes(&self) -> bool {
        let count = |account| self.tally(account).count;
        count(JobAccount::Outcalls) + count(JobAccount::Receipts) > 0
    }

    /// Returns the receipts that no caller needs any longer.
    pub(super) fn expired(&self, now_ms: u64) -> Vec<JobId> {
        self.0.iter().flat_map(|table| table.expired(now_ms)).collect()
    }

    /// Returns the receipt of a call, if the call was carried out.
    pub(super) fn receipt(&self, call: &CallId) -> Option<(JobId, &CallReceipt)> {
        self.0.as_ref()?.receipt(call)
    }

    /// Returns when the room has to be awake.
    pub(super) fn wake(&self) -> Wake {
        self.0.as_ref().map_or(Wake::NoJobs, |table| table.wake())
    }

    /// Applies a committed change.
    pub(super) fn apply(&mut self, change: &JobsChange) {
        // The turn that read the table is over, so this copies nothing.
        let table = Arc::make_mut(self.0.get_or_insert_default());
        table.apply(change);
        if table.is_empty() {
            self.0 = None;
        }
    }

    /// Returns the change that sets or removes these jobs.
    pub(super) fn change(&self, jobs: &BTreeMap<JobId, Option<Job>>) -> JobsChange {
        match &self.0 {
            Some(table) => table.change(jobs),
            None => JobTable::default().change(jobs),
        }
    }

    /// Forgets all of them, because the room was deleted.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// Returns the oldest requests that wait for an answer, for an operator.
    pub(super) fn oldest_outcalls(&self, count: usize) -> Vec<OutcallSummary> {
        let jobs = self.0.iter().flat_map(|table| table.jobs());
        let shown = |(id, job): (JobId, &Job)| match job {
            Job::Outcall(outcall) => Some(outcall.summary(id)),
            _ => None,
        };
        jobs.filter_map(shown).take(count).collect()
    }

    /// Returns what an operator sees.
    pub(super) fn summary(&self) -> JobsSummary {
        self.0.as_ref().map(|table| table.summary()).unwrap_or_default()
    }
}

impl Turns {
    /// Sets or removes jobs, and when the room has to be awake for them.
    pub(super) async fn commit_jobs(
        &mut self,
        jobs: BTreeMap<JobId, Option<Job>>,
    ) -> Result<Offset, StoreError> {
        let jobs = Some(self.jobs.change(&jobs));
        self.commit_writes(Writes { jobs, ..Writes::default() }).await
    }
}
