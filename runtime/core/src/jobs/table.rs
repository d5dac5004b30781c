//! The jobs of one room in memory. Owns their order in time.
//!
//! Invariant: the table has what the room's last commit left in the store, and stored entries that it cannot read are
//! counted and left alone. It does not know turns.

use super::{Job, JobDamage, JobId, JobsChange, Timer, Wake};
use crate::span::Key;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// The jobs of one room.
#[derive(Clone, Debug, Default)]
pub struct JobTable {
    jobs: BTreeMap<JobId, Job>,
    /// The same jobs, in the order in which they are due.
    order: BTreeSet<(u64, JobId)>,
    bytes: usize,
    /// Stored entries that are not jobs.
    strange: usize,
}

/// What an operator sees of a room's timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimersSummary {
    /// The number of pending timers.
    pub count: usize,
    /// The bytes of their tags and data.
    pub bytes: usize,
    /// When the next one is due, in milliseconds since 1970.
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
            self.order.remove(&(old.due_ms(), id));
            self.bytes -= old.bytes();
        }
        if let Some(job) = job {
            self.order.insert((job.due_ms(), id));
            self.bytes += job.bytes();
            self.jobs.insert(id, job);
        }
    }

    /// Returns a job.
    pub fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Returns the earliest timer that is due now.
    pub fn due(&self, now_ms: u64) -> Option<(JobId, &Timer)> {
        let (_, id) = self.order.first().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        let Job::Timer(timer) = self.jobs.get(id)?;
        Some((*id, timer))
    }

    /// Returns the jobs with their due times, the earliest first.
    pub fn in_order(&self) -> impl Iterator<Item = (u64, JobId)> + '_ {
        self.order.iter().copied()
    }

    /// Returns the number of jobs.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Returns true if there are no jobs, and no entries that cannot be read.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.strange == 0
    }

    /// Returns the bytes of the jobs' tags and data.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns what a commit stores so that these jobs are set or removed, with the time to wake after it.
    pub fn change(&self, jobs: &BTreeMap<JobId, Option<Job>>) -> JobsChange {
        let entry = |(id, job): (&JobId, &Option<Job>)| (id.key(), job.as_ref().map(Job::encode));
        let entries = jobs.iter().map(entry).collect();
        let stays = self.order.iter().find(|(_, id)| !jobs.contains_key(id));
        let changed = jobs.values().flatten().map(Job::due_ms);
        let next_ms = changed.chain(stays.map(|(due_ms, _)| *due_ms)).min();
        JobsChange { entries, wake: Some(self.wake_at(next_ms)) }
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
        self.wake_at(self.order.first().map(|(due_ms, _)| *due_ms))
    }

    /// Returns what an operator sees.
    pub fn summary(&self) -> TimersSummary {
        TimersSummary { count: self.len(), bytes: self.bytes, next_ms: self.wake().due_ms() }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!((damages, table.wake(), table.bytes()), (vec![], Wake::At(10), 20));
        assert_eq!(table.due(9), None);
        assert_eq!(table.due(30).map(|(id, _)| id), Some(id(1)));
        let entries = [(id(1).key(), None), (id(0).key(), Some(timer(40)))];
        table.apply(&JobsChange { entries: entries.into(), wake: None });
        let next_ms = Some(40);
        assert_eq!(table.summary(), TimersSummary { count: 1, bytes: 10, next_ms });
        table.apply(&JobsChange { entries: [(id(0).key(), None)].into(), wake: None });
        assert_eq!((table.wake(), table.is_empty(), table.bytes()), (Wake::NoJobs, true, 0));
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
