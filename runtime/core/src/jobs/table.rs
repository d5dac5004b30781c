//! The jobs of one room in memory. Owns their order in time.
//!
//! Invariant: the table has what the room's last commit left in the store, and stored entries that it cannot read are
//! counted and left alone. It does not know turns.

use super::{CallId, CallReceipt, Job, JobDamage, JobId, JobKind, JobTallies};
use super::{JobsChange, Outcall, Wake};
use crate::span::Key;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// The jobs of one room.
#[derive(Clone, Debug, Default)]
pub struct JobTable {
    jobs: BTreeMap<JobId, Job>,
    /// The timers and the undelivered answers, in the order in which they are due.
    deliveries: DueOrder,
    /// The requests, in the order in which they are due.
    attempts: DueOrder,
    /// The receipts, in the order in which they end.
    expiries: DueOrder,
    receipts: BTreeMap<CallId, JobId>,
    tallies: JobTallies,
    /// Stored entries that are not jobs.
    strange: usize,
}

type DueOrder = BTreeSet<(u64, JobId)>;

/// What an operator sees of a room's jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobsSummary {
    /// How many of each account there are, and of what size.
    pub tallies: JobTallies,
    /// When the next timer or undelivered answer is due, in milliseconds since 1970.
    pub next_ms: Option<u64>,
}

impl JobTable {
    /// Makes the table from the stored entries, and returns what is wrong with those that it cannot read.
    pub fn of(stored: Vec<(Key, Bytes)>) -> (Self, Vec<JobDamage>) {
        let (mut table, mut damages) = (Self::default(), Vec::new());
        for (key, value) in stored {
            match (JobId::of_key(&key), Job::decode(&value)) {
                (Some(id), Ok(job)) => table.set(id, Some(job)),
                (_, Err(damage)) => damages.push(damage),
                (None, Ok(_)) => damages.push(JobDamage::Damaged),
            }
        }
        table.strange = damages.len();
        (table, damages)
    }

    /// Applies a committed change.
    pub fn apply(&mut self, change: &JobsChange) {
        for (key, value) in &change.entries {
            let Some(id) = JobId::of_key(key) else { continue };
            self.set(id, value.as_ref().and_then(|value| Job::decode(value).ok()));
        }
    }

    fn set(&mut self, id: JobId, job: Option<Job>) {
        if let Some(old) = self.jobs.remove(&id) {
            self.order_of(&old).remove(&(old.due_ms(), id));
            self.tallies.take(&old);
            if let Job::Receipt(receipt) = &old {
                self.receipts.remove(&receipt.call);
            }
        }
        if let Some(job) = job {
            self.order_of(&job).insert((job.due_ms(), id));
            self.tallies.add(&job);
            if let Job::Receipt(receipt) = &job {
                self.receipts.insert(receipt.call.clone(), id);
            }
            self.jobs.insert(id, job);
        }
    }

    fn order_of(&mut self, job: &Job) -> &mut DueOrder {
        match job.kind() {
            JobKind::Delivery => &mut self.deliveries,
            JobKind::Attempt => &mut self.attempts,
            JobKind::Expiry => &mut self.expiries,
        }
    }

    /// Returns a job.
    pub fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Returns the timer or undelivered answer that is due first, if it is due now.
    pub fn due(&self, now_ms: u64) -> Option<(JobId, &Job)> {
        let (_, id) = self.deliveries.first().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        Some((*id, self.jobs.get(id)?))
    }

    /// Returns the requests that are due by then, the earliest first.
    pub fn attempts_until(&self, until_ms: u64) -> impl Iterator<Item = (JobId, &Outcall)> {
        let due = self.attempts.iter().take_while(move |(due_ms, _)| *due_ms <= until_ms);
        due.filter_map(|(_, id)| match self.jobs.get(id)? {
            Job::Outcall(outcall) => Some((*id, &**outcall)),
            _ => None,
        })
    }

    /// Returns the receipts that no caller needs any longer.
    pub fn expired(&self, now_ms: u64) -> impl Iterator<Item = JobId> {
        let due = self.expiries.iter().take_while(move |(until_ms, _)| *until_ms <= now_ms);
        due.map(|(_, id)| *id)
    }

    /// Returns the receipt of a call, if the call was carried out.
    pub fn receipt(&self, call: &CallId) -> Option<(JobId, &CallReceipt)> {
        let id = self.receipts.get(call)?;
        match self.jobs.get(id)? {
            Job::Receipt(receipt) => Some((*id, receipt)),
            _ => None,
        }
    }

    /// Returns the jobs in the order of their ids.
    pub fn jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    /// Returns how many jobs of each account there are, and of what size.
    pub fn tallies(&self) -> JobTallies {
        self.tallies
    }

    /// Returns true if there are no jobs, and no entries that cannot be read.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.strange == 0
    }

    /// Returns what a commit stores so that these jobs are set or removed, with the time to wake after it.
    pub fn change(&self, jobs: &BTreeMap<JobId, Option<Job>>) -> JobsChange {
        let entry = |(id, job): (&JobId, &Option<Job>)| (id.key(), job.as_ref().map(Job::encode));
        let entries = jobs.iter().map(entry).collect();
        let stays = self.first_due(|id| !jobs.contains_key(id));
        let changed = jobs.values().flatten().map(Job::due_ms);
        JobsChange { entries, wake: Some(self.wake_at(changed.chain(stays).min())) }
    }

    fn first_due(&self, stays: impl Fn(&JobId) -> bool) -> Option<u64> {
        let orders = [&self.deliveries, &self.attempts, &self.expiries];
        let first = |order: &DueOrder| order.iter().find(|(_, id)| stays(id)).map(|(due, _)| *due);
        orders.into_iter().filter_map(first).min()
    }

    fn wake_at(&self, next_ms: Option<u64>) -> Wake {
        match next_ms {
            Some(due_ms) => Wake::At(due_ms),
            None if self.strange > 0 => Wake::Idle,
            None => Wake::NoJobs,
        }
    }

    /// Returns when the room has to be awake.
    pub fn wake(&self) -> Wake {
        self.wake_at(self.first_due(|_| true))
    }

    /// Returns what an operator sees.
    pub fn summary(&self) -> JobsSummary {
        let next_ms = self.deliveries.first().map(|(due_ms, _)| *due_ms);
        JobsSummary { tallies: self.tallies, next_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{JobAccount, JobTally, OutcallAnswer, RoomAddress, Timer};
    use super::*;
    use crate::id::SequenceNumber;

    fn id(index: u32) -> JobId {
        JobId { number: SequenceNumber { epoch: 1, seq: 1 }, index }
    }

    fn timer(due_ms: u64) -> Bytes {
        let (tag, data) = ("four".to_owned(), Bytes::from_static(b"six..."));
        Job::Timer(Timer { at_ms: due_ms, due_ms, every_ms: None, tag, data, tries: 0 }).encode()
    }

    #[test]
    fn the_earliest_job_wakes_the_room() {
        let stored = vec![(id(0).key(), timer(20)), (id(1).key(), timer(10))];
        let (mut table, damages) = JobTable::of(stored);
        let timers = |table: &JobTable| table.tallies().of(JobAccount::Timers);
        assert_eq!((damages, table.wake()), (vec![], Wake::At(10)));
        assert_eq!(timers(&table), JobTally { count: 2, bytes: 20 });
        assert_eq!(table.due(9), None);
        assert_eq!(table.due(30).map(|(id, _)| id), Some(id(1)));
        let entries = [(id(1).key(), None), (id(0).key(), Some(timer(40)))];
        table.apply(&JobsChange { entries: entries.into(), wake: None });
        assert_eq!(table.summary().next_ms, Some(40));
        assert_eq!(timers(&table), JobTally { count: 1, bytes: 10 });
        table.apply(&JobsChange { entries: [(id(0).key(), None)].into(), wake: None });
        assert_eq!((table.wake(), table.is_empty()), (Wake::NoJobs, true));
        assert_eq!(table.tallies(), JobTallies::default());
    }

    #[test]
    fn a_receipt_is_found_by_its_call_until_it_is_removed() {
        let from = RoomAddress { party: "main".to_owned(), room: "a".to_owned() };
        let call = CallId { from, job: id(7) };
        let answer = OutcallAnswer::Returned(Bytes::from_static(b"yes"));
        let receipt = CallReceipt { call: call.clone(), answer, until_ms: 50 };
        let job = Job::Receipt(Box::new(receipt.clone()));
        let (mut table, _) = JobTable::of(vec![(id(0).key(), job.encode())]);
        assert_eq!(table.receipt(&call), Some((id(0), &receipt)));
        // It is no turn, and wakes the room only to be removed.
        assert_eq!((table.due(99), table.wake()), (None, Wake::At(50)));
        assert_eq!((table.expired(49).count(), table.expired(50).next()), (0, Some(id(0))));
        table.apply(&JobsChange { entries: [(id(0).key(), None)].into(), wake: None });
        assert_eq!((table.receipt(&call), table.is_empty()), (None, true));
    }

    #[test]
    fn entries_that_cannot_be_read_are_counted_and_left_alone() {
        let stored = vec![
            (id(0).key(), Bytes::from_static(b"\x09newer")),
            (b"short".to_vec(), timer(1)),
            (id(1).key(), timer(5)),
        ];
        let (mut table, damages) = JobTable::of(stored);
        assert_eq!(damages, [JobDamage::Version(9), JobDamage::Damaged]);
        assert_eq!(table.wake(), Wake::At(5));
        table.apply(&JobsChange { entries: [(id(1).key(), None)].into(), wake: None });
        // The store still has the others, so the room has jobs.
        assert_eq!((table.wake(), table.is_empty()), (Wake::Idle, false));
    }
}
