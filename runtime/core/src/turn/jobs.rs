//! The timers of a turn. Owns the rules by which a guest schedules and cancels them, and what a commit stores of that.
//!
//! Invariant: the guest sees the room's jobs with its own changes, and a turn that fails changes nothing. A timer that
//! is delivered is gone, or moved to its next time, with the last turn of its callback. It does not know who delivers it.

use super::{Refusal, TickChange, Turn};
use crate::jobs::{Job, JobId, JobTable, JobsChange, Timer};
use crate::limits::{Limits, size};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The jobs of a room, as one turn sees and changes them.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct TurnJobs {
    /// The jobs before the turn; `None` if there are none.
    table: Option<Arc<JobTable>>,
    pub(super) changes: BTreeMap<JobId, Option<Job>>,
    pub(super) carried: CarriedJobs,
    /// The number of jobs with the changes.
    pub(super) count: usize,
    /// Their bytes.
    pub(super) bytes: usize,
}

/// What the next turn of a callback continues with, after a flush.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub struct CarriedJobs {
    /// The id of the next job.
    pub(super) next: JobId,
    /// The timer that the callback handles, as it is after the callback: only the last turn stores that, so that a
    /// crash before it delivers the timer again.
    own: Option<Box<(JobId, Option<Timer>)>>,
}

/// What a guest wants at a later time.
#[derive(Clone, Debug, Default)]
pub struct TimerPlan {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The time from one delivery to the next, if it repeats.
    pub every_ms: Option<u64>,
    /// The guest's name for it.
    pub tag: String,
    /// The guest's data.
    pub data: Bytes,
}

impl TurnJobs {
    fn get(&self, id: JobId) -> Option<&Job> {
        if let Some(changed) = self.changes.get(&id) {
            return changed.as_ref();
        }
        self.table.as_ref()?.get(id)
    }

    /// Sets or removes a job.
    fn set(&mut self, id: JobId, job: Option<Job>) {
        if let Some(old) = self.get(id) {
            (self.count, self.bytes) = (self.count - 1, self.bytes - old.bytes());
        }
        if let Some(new) = &job {
            (self.count, self.bytes) = (self.count + 1, self.bytes + new.bytes());
        }
        let is_stored = self.table.as_ref().is_some_and(|table| table.get(id).is_some());
        match job {
            None if !is_stored => drop(self.changes.remove(&id)),
            job => drop(self.changes.insert(id, job)),
        }
    }

    fn admit(&self, plan: &TimerPlan, limits: &Limits) -> Result<(), Refusal> {
        let TimerPlan { every_ms, tag, data, .. } = plan;
        if every_ms.is_some_and(|every_ms| every_ms < limits.timer_every_ms_min) {
            return Err(Refusal::TooOften("timer_every_ms_min"));
        }
        if tag.len() > size(limits.timer_tag_bytes_max) {
            return Err(Refusal::UsedUp("timer_tag_bytes_max"));
        }
        if data.len() > size(limits.timer_data_bytes_max) {
            return Err(Refusal::UsedUp("timer_data_bytes_max"));
        }
        if self.count >= size(limits.timers_max) {
            return Err(Refusal::UsedUp("timers_max"));
        }
        if self.bytes + tag.len() + data.len() > size(limits.timers_bytes_max) {
            return Err(Refusal::UsedUp("timers_bytes_max"));
        }
        Ok(())
    }

    /// Returns the change to commit, if there is one.
    pub(super) fn change(&self) -> Option<JobsChange> {
        if self.changes.is_empty() {
            return None;
        }
        Some(match &self.table {
            Some(table) => table.change(&self.changes),
            None => JobTable::default().change(&self.changes),
        })
    }

    /// Removes every job. Returns the changes that this replaces.
    pub(super) fn clear(&mut self) -> BTreeMap<JobId, Option<Job>> {
        let stored = self.table.iter().flat_map(|table| table.in_order());
        let changes = stored.map(|(_, id)| (id, None)).collect();
        (self.count, self.bytes) = (0, 0);
        std::mem::replace(&mut self.changes, changes)
    }

    /// Ends a turn in the middle of a callback: leaves the callback's own timer to the next one.
    pub(super) fn part(&mut self) -> CarriedJobs {
        let carried = std::mem::take(&mut self.carried);
        if let Some(own) = &carried.own {
            let (id, after) = &**own;
            // A timer that the guest has cancelled is not stored again.
            if self.get(*id) == after.clone().map(Job::Timer).as_ref() {
                self.changes.remove(id);
            }
        }
        carried
    }
}

impl Turn {
    /// Gives the turn its room's jobs. `first` is the id of the first job that it makes.
    #[must_use]
    pub fn with_jobs(mut self, table: Option<Arc<JobTable>>, first: JobId) -> Self {
        self.jobs.carried.next = first;
        if let Some(table) = table {
            (self.jobs.count, self.jobs.bytes) = (table.len(), table.bytes());
            self.jobs.table = Some(table);
        }
        self
    }

    /// Makes it the turn of a timer's own event: the timer is gone, or `again` is its next time.
    #[must_use]
    pub fn for_timer(mut self, id: JobId, again: Option<Timer>) -> Self {
        self.jobs.set(id, again.clone().map(Job::Timer));
        self.jobs.carried.own = Some(Box::new((id, again)));
        self
    }

    /// Continues a callback after a flush: with its next job, and its own timer.
    #[must_use]
    pub fn continued(mut self, carried: CarriedJobs) -> Self {
        self.jobs.carried.next = carried.next;
        match carried.own {
            Some(own) if self.jobs.get(own.0).is_some() => self.for_timer(own.0, own.1),
            _ => self,
        }
    }

    /// Schedules a timer, and returns its id.
    ///
    /// # Errors
    /// [`Refusal::UsedUp`] and [`Refusal::TooOften`] name the limit; nothing is scheduled.
    pub fn schedule(&mut self, plan: TimerPlan) -> Result<JobId, Refusal> {
        self.jobs.admit(&plan, &self.limits)?;
        let id = self.jobs.carried.next;
        self.jobs.carried.next = id.next();
        let TimerPlan { at_ms, every_ms, tag, data } = plan;
        let timer = Timer { at_ms, due_ms: at_ms, every_ms, tag, data, tries: 0 };
        self.set_job(id, Some(Job::Timer(timer)));
        Ok(id)
    }

    /// Cancels a timer. Returns false if the room has no timer with this id.
    pub fn cancel(&mut self, id: &str) -> bool {
        match JobId::parse(id).filter(|id| self.jobs.get(*id).is_some()) {
            Some(id) => {
                self.set_job(id, None);
                true
            }
            None => false,
        }
    }

    fn set_job(&mut self, id: JobId, job: Option<Job>) {
        self.savepoints.note_job(id, self.jobs.changes.get(&id));
        self.jobs.set(id, job);
    }

    /// Returns the room's timers, the earliest first.
    pub fn timers(&self) -> Vec<(JobId, Timer)> {
        let table = self.jobs.table.iter().flat_map(|table| table.in_order());
        let stored = table.map(|(_, id)| id).filter(|id| !self.jobs.changes.contains_key(id));
        let ids = stored.chain(self.jobs.changes.keys().copied());
        let mut timers: Vec<_> = ids
            .filter_map(|id| {
                let Job::Timer(timer) = self.jobs.get(id)?;
                Some((id, timer.clone()))
            })
            .collect();
        timers.sort_by_key(|(id, timer)| (timer.due_ms, *id));
        timers
    }

    /// Starts the room's ticks in place of those before, or ends them.
    ///
    /// # Errors
    /// [`Refusal::TooOften`] names the limit; nothing changes.
    pub fn tick(&mut self, every_ms: Option<u64>) -> Result<(), Refusal> {
        if every_ms.is_some_and(|every_ms| every_ms < self.limits.tick_every_ms_min) {
            return Err(Refusal::TooOften("tick_every_ms_min"));
        }
        self.effects.ticks = Some(every_ms.map_or(TickChange::Stop, TickChange::Every));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::EmptyView;
    use super::*;
    use crate::id::SequenceNumber;
    use crate::jobs::Wake;

    fn limits() -> Arc<Limits> {
        Arc::new(Limits {
            timers_max: 3,
            timers_bytes_max: 20,
            timer_tag_bytes_max: 3,
            timer_data_bytes_max: 10,
            timer_every_ms_min: 5,
            tick_every_ms_min: 10,
            ..Limits::default()
        })
    }

    fn first(seq: u64) -> JobId {
        JobId::first_of(SequenceNumber { epoch: 1, seq })
    }

    fn turn() -> Turn {
        Turn::new(Arc::new(EmptyView), Arc::default(), None, limits())
    }

    fn plan(at_ms: u64, data: &'static str) -> TimerPlan {
        TimerPlan { at_ms, data: Bytes::from_static(data.as_bytes()), ..TimerPlan::default() }
    }

    /// Commits a turn's jobs to a table.
    fn commit(table: &mut JobTable, turn: Turn) -> Option<Wake> {
        let change = turn.finish().unwrap().writes.jobs?;
        table.apply(&change);
        assert_eq!(change.wake, Some(table.wake()));
        change.wake
    }

    fn on(table: &JobTable, seq: u64) -> Turn {
        turn().with_jobs(Some(Arc::new(table.clone())), first(seq))
    }

    #[test]
    fn timers_are_bounded_by_count_size_sum_and_frequency() {
        let mut turn = turn();
        let tag = || TimerPlan { tag: "long".to_owned(), ..plan(1, "") };
        assert_eq!(turn.schedule(tag()), Err(Refusal::UsedUp("timer_tag_bytes_max")));
        let eleven = plan(1, "eleven byte");
        assert_eq!(turn.schedule(eleven), Err(Refusal::UsedUp("timer_data_bytes_max")));
        for every_ms in [0, 4] {
            let often = TimerPlan { every_ms: Some(every_ms), ..plan(1, "") };
            assert_eq!(turn.schedule(often), Err(Refusal::TooOften("timer_every_ms_min")));
        }
        assert!(turn.schedule(plan(1, "0123456789")).is_ok());
        assert!(turn.schedule(plan(1, "012345678")).is_ok());
        assert_eq!(turn.schedule(plan(1, "01")), Err(Refusal::UsedUp("timers_bytes_max")));
        let last = turn.schedule(plan(1, "0")).unwrap();
        assert_eq!(turn.schedule(plan(1, "")), Err(Refusal::UsedUp("timers_max")));
        // A cancelled timer makes space.
        assert!(turn.cancel(&last.to_string()) && !turn.cancel(&last.to_string()));
        let next = turn.schedule(plan(1, "0")).unwrap();
        assert_ne!(last, next);
        assert_eq!(turn.finish().unwrap().writes.jobs.unwrap().entries.len(), 3);
    }

    #[test]
    fn a_turn_sees_its_own_timers_and_those_before_in_order() {
        let mut table = JobTable::default();
        let mut one = turn().with_jobs(None, first(1));
        let late = one.schedule(plan(30, "late")).unwrap();
        let soon = one.schedule(plan(10, "soon")).unwrap();
        assert_eq!(late.to_string(), "1-1-0");
        assert_eq!(commit(&mut table, one), Some(Wake::At(10)));
        let mut two = on(&table, 2);
        let middle = two.schedule(plan(20, "mid")).unwrap();
        assert!(two.cancel(&soon.to_string()));
        assert!(!two.cancel("1-1-9") && !two.cancel("nonsense"));
        let ids: Vec<_> = two.timers().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [middle, late]);
        assert_eq!(commit(&mut table, two), Some(Wake::At(20)));
        // A turn that leaves the timers alone writes nothing of them.
        let idle = on(&table, 3);
        assert_eq!(commit(&mut table, idle), None);
        let mut last = on(&table, 4);
        last.delete_all();
        assert_eq!(last.timers(), []);
        assert_eq!(commit(&mut table, last), Some(Wake::NoJobs));
    }

    #[test]
    fn a_delivered_timer_is_gone_or_moved_and_a_flush_does_not_lose_it() {
        let mut table = JobTable::default();
        let mut one = turn().with_jobs(None, first(1));
        let once = one.schedule(plan(10, "once")).unwrap();
        let often = one.schedule(TimerPlan { every_ms: Some(5), ..plan(10, "often") }).unwrap();
        commit(&mut table, one);
        let moved = |table: &JobTable| match table.get(often) {
            Some(Job::Timer(timer)) => timer.again(12),
            None => None,
        };

        // The flush of the first part keeps the timer; the last part removes it.
        let mut turn = on(&table, 2).for_timer(once, None);
        assert!(turn.timers().iter().all(|(id, _)| *id != once) && !turn.cancel(&once.to_string()));
        turn.schedule(plan(90, "")).unwrap();
        let (effects, carried) = turn.finish_part().unwrap();
        table.apply(&effects.writes.jobs.unwrap());
        assert!(table.get(once).is_some());
        let mut turn = on(&table, 9).continued(carried);
        let later = turn.schedule(plan(91, "")).unwrap();
        assert_eq!((later.number, later.index), (first(2).number, 1));
        commit(&mut table, turn);
        assert_eq!((table.get(once), table.len()), (None, 3));

        // A repeating timer that its own callback cancels, and flushes that, does not come back.
        let again = moved(&table);
        assert_eq!(again.as_ref().map(|timer| timer.at_ms), Some(15));
        let mut turn = on(&table, 3).for_timer(often, again.clone());
        assert!(turn.cancel(&often.to_string()));
        let (effects, carried) = turn.finish_part().unwrap();
        table.apply(&effects.writes.jobs.unwrap());
        let turn = on(&table, 9).continued(carried);
        assert_eq!(commit(&mut table, turn), None);
        assert_eq!(table.get(often), None);
    }

    #[test]
    fn ticks_have_a_shortest_time() {
        let mut turn = turn();
        assert_eq!(turn.tick(Some(9)), Err(Refusal::TooOften("tick_every_ms_min")));
        assert_eq!((turn.tick(Some(10)), turn.tick(None)), (Ok(()), Ok(())));
        assert_eq!(turn.finish().unwrap().ticks, Some(TickChange::Stop));
    }
}
