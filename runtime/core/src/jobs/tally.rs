//! How many jobs a room has, and of what size. Owns the sums that the limits bound.
//!
//! Invariant: the sums are those of the jobs that were added and not taken. It does not know the limits.

use super::{Job, JobAccount};

/// The jobs of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobTally {
    /// How many there are.
    pub count: usize,
    /// Their size, in bytes.
    pub bytes: usize,
}

/// The jobs of each account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobTallies {
    timers: JobTally,
    outcalls: JobTally,
    receipts: JobTally,
}

impl JobTallies {
    /// Returns the sums of one account.
    pub fn of(&self, account: JobAccount) -> JobTally {
        match account {
            JobAccount::Timers => self.timers,
            JobAccount::Outcalls => self.outcalls,
            JobAccount::Receipts => self.receipts,
        }
    }

    fn account(&mut self, job: &Job) -> &mut JobTally {
        match job.account() {
            JobAccount::Timers => &mut self.timers,
            JobAccount::Outcalls => &mut self.outcalls,
            JobAccount::Receipts => &mut self.receipts,
        }
    }

    /// Adds a job.
    pub fn add(&mut self, job: &Job) {
        let tally = self.account(job);
        (tally.count, tally.bytes) = (tally.count + 1, tally.bytes + job.bytes());
    }

    /// Takes a job that was added.
    pub fn take(&mut self, job: &Job) {
        let tally = self.account(job);
        (tally.count, tally.bytes) = (tally.count - 1, tally.bytes - job.bytes());
    }
}
