//! The jobs of a room in memory. Owns that they agree with the store.
//!
//! Invariant: a change is applied here when it is committed, and the table that a turn reads does not change during the turn.
//! It does not know what jobs do.

use super::turns::Turns;
use bytes::Bytes;
use room_core::jobs::{Job, JobDamage, JobId, JobTable, JobsChange, Timer, TimersSummary};
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

    /// Returns the earliest timer that is due now.
    pub(super) fn due(&self, now_ms: u64) -> Option<(JobId, &Timer)> {
        self.0.as_ref()?.due(now_ms)
    }

    /// Returns a timer.
    pub(super) fn timer(&self, id: JobId) -> Option<&Timer> {
        let Job::Timer(timer) = self.0.as_ref()?.get(id)?;
        Some(timer)
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

    /// Returns what an operator sees.
    pub(super) fn summary(&self) -> TimersSummary {
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
