//! The timers of a turn. Owns the rules by which a guest schedules and cancels them, and what a commit stores of that.
//!
//! Invariant: the guest sees the room's jobs with its own changes, and a turn that fails changes nothing. A timer that
//! is delivered is gone, or moved to its next time, with the last turn of its callback. It does not know who delivers it.

use super::outcalls::OwnCall;
use super::{Refusal, TickChange, Turn};
use crate::jobs::{Job, JobAccount, JobId, JobTable, JobTallies, JobTally, JobsChange, Timer};
use crate::limits::{Limits, size};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The jobs of a room, as one turn sees and changes them.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct TurnJobs {
    /// The jobs before the turn; `None` if there are none.
    pub(super) table: Option<Arc<JobTable>>,
    pub(super) changes: BTreeMap<JobId, Option<Job>>,
    pub(super) carried: CarriedJobs,
    /// How many jobs there are with the changes.
    pub(super) tallies: JobTallies,
    /// The best-effort requests of earlier turns that have not ended.
    pub(super) unstored: JobTally,
}

/// What the next turn of a callback continues with, after a flush.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub struct CarriedJobs {
    /// The id of the next job.
    pub(super) next: JobId,
    /// The job that the callback handles, as it is after the callback: only the last turn stores that, so that a
    /// crash before it delivers the job again.
    own: Option<Box<(JobId, Option<Job>)>>,
    /// The call of another room that the callback carries out.
    pub(super) call: Option<Box<OwnCall>>,
    /// Whether the room ends with the callback.
    pub(super) ends: bool,
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
    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        if let Some(changed) = self.changes.get(&id) {
            return changed.as_ref();
        }
        self.table.as_ref()?.get(id)
    }

    /// Sets or removes a job.
    fn set(&mut self, id: JobId, job: Option<Job>) {
        let mut tallies = self.tallies;
        if let Some(old) = self.get(id) {
            tallies.take(old);
        }
        if let Some(new) = &job {
            tallies.add(new);
        }
        self.tallies = tallies;
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
        let timers = self.tallies.of(JobAccount::Timers);
        if timers.count >= size(limits.timers_max) {
            return Err(Refusal::UsedUp("timers_max"));
        }
        if timers.bytes + tag.len() + data.len() > size(limits.timers_bytes_max) {
            return Err(Refusal::UsedUp("timers_bytes_max"));
        }
        Ok(())
    }

    /// Returns the change to commit, if there is one.
    #[inline]
    pub(super) fn change(&self) -> Option<JobsChange> {
        (!self.changes.is_empty()).then(|| self.whole_change())
    }

    fn whole_change(&self) -> JobsChange {
        match &self.table {
            Some(table) => table.change(&self.changes),
            None => JobTable::default().change(&self.changes),
        }
    }

    /// Returns the requests that the turn makes.
    pub(super) fn asked(&self) -> Vec<JobId> {
        let is_stored = |id| self.table.as_ref().is_some_and(|table| table.get(id).is_some());
        let asks = |(id, job): (&JobId, &Option<Job>)| match job {
            Some(Job::Outcall(_)) if !is_stored(*id) => Some(*id),
            _ => None,
        };
        self.changes.iter().filter_map(asks).collect()
    }

    /// Returns the ids of all jobs, in order.
    pub(super) fn ids(&self) -> Vec<JobId> {
        let stored = self.table.iter().flat_map(|table| table.jobs()).map(|(id, _)| id);
        let stays = stored.filter(|id| !self.changes.contains_key(id));
        let set = self.changes.iter().filter(|(_, job)| job.is_some()).map(|(id, _)| *id);
        let mut ids: Vec<_> = stays.chain(set).collect();
        ids.sort_unstable();
        ids
    }

    /// Ends a turn in the middle of a callback: leaves the callback's own timer to the next one.
    pub(super) fn part(&mut self) -> CarriedJobs {
        let carried = std::mem::take(&mut self.carried);
        if let Some(own) = &carried.own {
            let (id, after) = &**own;
            // A job that the guest has cancelled is not stored again.
            if self.get(*id) == after.as_ref() {
                self.changes.remove(id);
            }
        }
        carried
    }
}

impl Turn {
    /// Gives the turn its room's jobs. `first` is the id of the first job that it makes.
    #[must_use]
    #[inline]
    pub fn with_jobs(mut self, table: Option<Arc<JobTable>>, first: JobId) -> Self {
        self.jobs.carried.next = first;
        if let Some(table) = table {
            self.jobs.tallies = table.tallies();
            self.jobs.table = Some(table);
        }
        self
    }

    /// Makes it the turn of a job's own event: the job is gone, or `after` takes its place.
    #[must_use]
    pub fn for_job(mut self, id: JobId, after: Option<Job>) -> Self {
        self.jobs.set(id, after.clone());
        self.jobs.carried.own = Some(Box::new((id, after)));
        self
    }

    /// Makes it the last turn of a room that ends: it makes no job, as nobody would handle it.
    #[must_use]
    pub fn for_end(mut self) -> Self {
        self.jobs.carried.ends = true;
        self
    }

    /// Checks that the room is there when a job of this kind is done.
    pub(super) fn check_stays(&self, what: &str) -> Result<(), Refusal> {
        match self.jobs.carried.ends {
            true => Err(Refusal::Invalid(format!(
                "on_expire cannot {what}: the room is deleted with this turn; do it in an earlier callback, such as \
                 on_close"
            ))),
            false => Ok(()),
        }
    }

    /// Continues a callback after a flush: with its next job, and its own.
    #[must_use]
    pub fn continued(mut self, carried: CarriedJobs) -> Self {
        self.jobs.carried.next = carried.next;
        self.jobs.carried.call = carried.call;
        self.jobs.carried.ends = carried.ends;
        match carried.own {
            Some(own) if self.jobs.get(own.0).is_some() => self.for_job(own.0, own.1),
            _ => self,
        }
    }

    /// Schedules a timer, and returns its id.
    ///
    /// # Errors
    /// [`Refusal::UsedUp`] and [`Refusal::TooOften`] name the limit; [`Refusal::Invalid`]: the room ends with the turn.
    /// Nothing is scheduled.
    pub fn schedule(&mut self, plan: TimerPlan) -> Result<JobId, Refusal> {
        self.check_stays("schedule a timer")?;
        self.jobs.admit(&plan, &self.limits)?;
        let TimerPlan { at_ms, every_ms, tag, data } = plan;
        let timer = Timer { at_ms, due_ms: at_ms, every_ms, tag, data, tries: 0 };
        Ok(self.add_job(Job::Timer(timer)))
    }

    /// Cancels a timer. Returns false if the room has no timer with this id.
    pub fn cancel(&mut self, id: &str) -> bool {
        self.cancel_if(id, |job| matches!(job, Job::Timer(_)))
    }

    pub(super) fn cancel_if(&mut self, id: &str, is_it: impl Fn(&Job) -> bool) -> bool {
        let found = JobId::parse(id).filter(|id| self.jobs.get(*id).is_some_and(is_it));
        if let Some(id) = found {
            self.set_job(id, None);
        }
        found.is_some()
    }

    /// Removes every job but the receipts: a call that was carried out stays so.
    pub(super) fn clear_jobs(&mut self) {
        for id in self.jobs.ids() {
            if !matches!(self.jobs.get(id), Some(Job::Receipt(_))) {
                self.set_job(id, None);
            }
        }
    }

    /// Makes a job, and returns its id.
    pub(super) fn add_job(&mut self, job: Job) -> JobId {
        let id = self.jobs.carried.next;
        self.jobs.carried.next = id.next();
        self.set_job(id, Some(job));
        id
    }

    pub(super) fn set_job(&mut self, id: JobId, job: Option<Job>) {
        self.savepoints.note_job(id, self.jobs.changes.get(&id));
        self.jobs.set(id, job);
    }

    /// Returns the room's timers, the earliest first.
    pub fn timers(&self) -> Vec<(JobId, Timer)> {
        let timer = |id| match self.jobs.get(id)? {
            Job::Timer(timer) => Some((id, timer.clone())),
            _ => None,
        };
        let mut timers: Vec<_> = self.jobs.ids().into_iter().filter_map(timer).collect();
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
    use super::super::{EmptyView, OutcallPlan};
    use super::*;
    use crate::id::SequenceNumber;
    use crate::jobs::Wake;
    use crate::jobs::{CallId, CallReceipt, OutcallAnswer, OutcallTarget, RoomAddress};

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
            _ => None,
        };

        // The flush of the first part keeps the timer; the last part removes it.
        let mut turn = on(&table, 2).for_job(once, None);
        assert!(turn.timers().iter().all(|(id, _)| *id != once) && !turn.cancel(&once.to_string()));
        turn.schedule(plan(90, "")).unwrap();
        let (effects, carried) = turn.finish_part().unwrap();
        table.apply(&effects.writes.jobs.unwrap());
        assert!(table.get(once).is_some());
        let mut turn = on(&table, 9).continued(carried);
        let later = turn.schedule(plan(91, "")).unwrap();
        assert_eq!((later.number, later.index), (first(2).number, 1));
        commit(&mut table, turn);
        assert_eq!((table.get(once), table.jobs().count()), (None, 3));

        // A repeating timer that its own callback cancels, and flushes that, does not come back.
        let again = moved(&table);
        assert_eq!(again.as_ref().map(|timer| timer.at_ms), Some(15));
        let mut turn = on(&table, 3).for_job(often, again.clone().map(Job::Timer));
        assert!(turn.cancel(&often.to_string()));
        let (effects, carried) = turn.finish_part().unwrap();
        table.apply(&effects.writes.jobs.unwrap());
        let turn = on(&table, 9).continued(carried);
        assert_eq!(commit(&mut table, turn), None);
        assert_eq!(table.get(often), None);
    }

    fn ask(tag: &str, data: &'static str) -> OutcallPlan {
        let to = RoomAddress { party: "main".to_owned(), room: "b".to_owned() };
        let target = OutcallTarget::Call { to, data: Bytes::from_static(data.as_bytes()) };
        OutcallPlan { tag: tag.to_owned(), target, now_ms: 100, best_effort: false }
    }

    #[test]
    fn requests_are_bounded_and_do_not_count_as_timers() {
        let limits = Limits {
            outcalls_max: 2,
            outcalls_bytes_max: 20,
            outcall_tag_bytes_max: 3,
            call_data_bytes_max: 9,
            timers_max: 1,
            ..Limits::default()
        };
        let mut turn = Turn::new(Arc::new(EmptyView), Arc::default(), None, Arc::new(limits));
        assert_eq!(turn.ask(ask("long", "")), Err(Refusal::UsedUp("outcall_tag_bytes_max")));
        assert_eq!(turn.ask(ask("", "0123456789")), Err(Refusal::UsedUp("call_data_bytes_max")));
        let first = turn.ask(ask("a", "0123456")).unwrap();
        assert_eq!(turn.ask(ask("b", "01234567")), Err(Refusal::UsedUp("outcalls_bytes_max")));
        assert!(turn.ask(ask("b", "")).is_ok() && turn.schedule(plan(1, "")).is_ok());
        assert_eq!(turn.ask(ask("c", "")), Err(Refusal::UsedUp("outcalls_max")));
        let one = OutcallPlan { best_effort: true, ..ask("c", "") };
        assert_eq!(turn.ask(one), Err(Refusal::UsedUp("outcalls_max")));
        // One kind is not cancelled as the other.
        assert!(!turn.cancel(&first.to_string()) && turn.cancel_outcall(&first.to_string()));
        let effects = turn.finish().unwrap();
        assert_eq!((effects.asked.len(), effects.unstored.len()), (1, 0));
    }

    #[test]
    fn a_turn_asks_only_what_is_new_and_a_rollback_asks_nothing() {
        let mut table = JobTable::default();
        let mut one = turn().with_jobs(None, first(1));
        let stored = one.ask(ask("a", "")).unwrap();
        commit(&mut table, one);
        let mut two = on(&table, 2);
        let savepoint = two.savepoint().unwrap();
        two.ask(ask("b", "")).unwrap();
        two.ask(OutcallPlan { best_effort: true, ..ask("b", "") }).unwrap();
        two.roll_back(savepoint).unwrap();
        let new = two.ask(ask("c", "")).unwrap();
        let waiting: Vec<_> = two.outcalls().into_iter().map(|(id, _)| id).collect();
        assert_eq!(waiting, [stored, new]);
        let effects = two.finish().unwrap();
        assert_eq!((effects.asked, effects.unstored.len()), (vec![new], 0));
    }

    #[test]
    fn a_receipt_outlives_delete_all() {
        let mut table = JobTable::default();
        let mut one = turn().with_jobs(None, first(1));
        let from = RoomAddress { party: "main".to_owned(), room: "a".to_owned() };
        let call = CallId { from, job: first(9) };
        let answer = OutcallAnswer::Returned(Bytes::new());
        let receipt = CallReceipt { call: call.clone(), answer: answer.clone(), until_ms: 9 };
        one = one.for_call(receipt);
        one.keep_answer(answer).unwrap();
        one.ask(ask("a", "")).unwrap();
        commit(&mut table, one);
        let mut two = on(&table, 2);
        two.delete_all();
        commit(&mut table, two);
        assert!(table.receipt(&call).is_some() && table.jobs().count() == 1);
    }

    #[test]
    fn ticks_have_a_shortest_time() {
        let mut turn = turn();
        assert_eq!(turn.tick(Some(9)), Err(Refusal::TooOften("tick_every_ms_min")));
        assert_eq!((turn.tick(Some(10)), turn.tick(None)), (Ok(()), Ok(())));
        assert_eq!(turn.finish().unwrap().ticks, Some(TickChange::Stop));
    }
}
