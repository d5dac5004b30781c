//! Due alarms and timers. Owns which of them is next, and what becomes of one whose turn failed.
//!
//! Invariant: one turn handles the alarm or one timer, and other mails have their turn between two of them. What failed
//! is kept for its next try, or dropped with an error in the log after the last one; what is not handled now stays in
//! the store. It does not know how the search finds rooms.

use super::super::RoomError;
use super::super::alarm::next_try;
use super::super::figures::FaultRecord;
use super::super::mail::AlarmRing;
use super::super::outlet::Reply;
use super::Actor;
use room_core::event::Event;
use room_core::jobs::{Job, JobId, Timer};
use room_core::report;
use room_store::{AlarmRecord, Offset, StoreError};
use std::collections::BTreeMap;

impl Actor {
    /// Handles a report that the alarm or timers are due: the earliest of them.
    pub(super) async fn ring(&mut self, ring: AlarmRing) -> Result<(), StoreError> {
        let now = self.turns.parts.clock.wall_ms();
        let alarm = self.turns.store.alarm().filter(|alarm| alarm.due_ms <= now);
        self.turns.start_due_outcalls(now);
        if let Some(expired) = self.turns.expired_receipts(now) {
            self.turns.commit_jobs(expired).await?;
        }
        let job = self.turns.jobs.due(now).map(|(id, job)| (id, job.clone()));
        match (alarm, job) {
            (Some(alarm), job)
                if job.as_ref().is_none_or(|(_, job)| alarm.due_ms <= job.due_ms()) =>
            {
                self.alarm(alarm, ring).await
            }
            (_, Some((id, Job::Timer(timer)))) => self.timer((id, timer), ring).await,
            (_, Some((id, Job::Answer(answer)))) => self.deliver_again(id, *answer, ring).await,
            // What is left is no turn: requests that are under way.
            (_, Some(_) | None) => {
                // The alarm was moved in the meantime. When the change is durable, the search looks at it again.
                let offset = match self.turns.store.facts().wake == self.turns.jobs.wake() {
                    true => None,
                    // The store rings for a job that the room does not have, and would ring forever.
                    false => Some(self.turns.commit_jobs(BTreeMap::new()).await?),
                };
                self.answer_ring(offset, ring);
                Ok(())
            }
        }
    }

    /// Returns the answer to a ring after a turn. While further timers are due, the ring goes to the end of the mailbox
    /// instead.
    pub(super) fn reply(&self, ring: AlarmRing) -> Reply {
        let now = self.turns.parts.clock.wall_ms();
        let AlarmRing { done, timers } = ring;
        if timers <= 1 || self.turns.jobs.due(now).is_none() {
            return Reply::Alarm(done);
        }
        // A mailbox that has closed drops the guard, and the search rings again.
        drop(self.mailbox.push(AlarmRing { done, timers: timers - 1 }));
        Reply::Nobody
    }

    pub(super) fn answer_ring(&mut self, offset: Option<Offset>, ring: AlarmRing) {
        let reply = self.reply(ring);
        self.turns.outlet.answer(offset, reply);
    }

    async fn alarm(&mut self, alarm: AlarmRecord, ring: AlarmRing) -> Result<(), StoreError> {
        self.turns.usage.used();
        let now = self.turns.parts.clock.wall_ms();
        let turn = self.turn(&Event::Alarm, None).await?;
        let metrics = self.turns.parts.metrics.clone();
        if matches!(turn, Ok(_) | Err(RoomError::Guest(_))) {
            metrics.alarms_rung.increment(1);
        }
        match turn {
            Ok(turn) => {
                let reply = self.reply(ring);
                self.turns.hold(turn, reply);
            }
            Err(error) if !matches!(error, RoomError::Guest(_)) => {
                report!(debug, self.turns.log(), [], "the alarm waits: {error}");
            }
            // The guest set another alarm, and flushed it, before it failed.
            Err(_) if self.turns.store.alarm().is_some_and(|current| current != alarm) => {
                self.answer_ring(None, ring);
            }
            Err(error) => {
                let next = next_try(alarm, now, &self.turns.parts.limits);
                let counted =
                    if next.is_some() { &metrics.alarms_retried } else { &metrics.alarms_dropped };
                counted.increment(1);
                if next.is_none() {
                    let reason = format!("the alarm is dropped after {} tries", alarm.tries + 1);
                    let fault = FaultRecord { at_ms: now, event: "alarm", reason, backtrace: None };
                    self.turns.tap.failed(fault.event, &fault.reason);
                    self.turns.figures.note_fault(fault);
                }
                let (tries, retry) = (alarm.tries + 1, next.is_some());
                let then = if retry { "it is tried again" } else { "it is dropped" };
                let log = self.turns.log();
                report!(warn, log, [%error, tries, retry], "the alarm failed, try {tries}; {then}");
                let offset = self.turns.store.commit_alarm(next).await?;
                self.answer_ring(Some(offset), ring);
            }
        }
        Ok(())
    }

    async fn timer(
        &mut self,
        (id, timer): (JobId, Timer),
        ring: AlarmRing,
    ) -> Result<(), StoreError> {
        self.turns.usage.used();
        let metrics = self.turns.parts.metrics.clone();
        if !self.turns.handles_timers() {
            let reason = "the room's code has no on_timer".to_owned();
            let offset = self.drop_timer(id, &timer, reason).await?;
            self.answer_ring(Some(offset), ring);
            return Ok(());
        }
        let again = timer.again(self.turns.parts.clock.wall_ms());
        let event = Event::Timer { id, timer, again };
        match self.turn(&event, None).await? {
            Ok(turn) => {
                metrics.timers_delivered.increment(1);
                let reply = self.reply(ring);
                self.turns.hold(turn, reply);
            }
            Err(error @ RoomError::Guest(_)) => {
                metrics.timers_failed.increment(1);
                let offset = self.timer_failed(id, &error).await?;
                self.answer_ring(offset, ring);
            }
            Err(error) => {
                report!(debug, self.turns.log(), [], "a timer waits: {error}");
            }
        }
        Ok(())
    }

    /// Keeps a timer whose turn failed for its next try, or drops it after the last one.
    async fn timer_failed(
        &mut self,
        id: JobId,
        error: &RoomError,
    ) -> Result<Option<Offset>, StoreError> {
        // The guest cancelled it, and flushed that, before it failed.
        let Some(timer) = self.turns.jobs.timer(id).cloned() else { return Ok(None) };
        let (now, tries) = (self.turns.parts.clock.wall_ms(), timer.tries + 1);
        let failed = AlarmRecord { due_ms: timer.due_ms, tries: timer.tries };
        match next_try(failed, now, &self.turns.parts.limits) {
            Some(AlarmRecord { due_ms, tries }) => {
                let (log, tag) = (self.turns.log(), &timer.tag);
                report!(warn, log, [%error, tries], "the timer {tag:?} failed, try {tries}; it is tried again");
                let retried = Job::Timer(timer.retried(due_ms, tries));
                self.turns.commit_jobs([(id, Some(retried))].into()).await.map(Some)
            }
            None => self.drop_timer(id, &timer, format!("it failed {tries} times")).await.map(Some),
        }
    }

    /// Drops a delivery of a timer. A repeating timer continues with its next time.
    async fn drop_timer(
        &mut self,
        id: JobId,
        timer: &Timer,
        reason: String,
    ) -> Result<Offset, StoreError> {
        let at_ms = self.turns.parts.clock.wall_ms();
        let reason = format!("the timer {:?} is dropped: {reason}", timer.tag);
        self.turns.parts.metrics.timers_dropped.increment(1);
        report!(error, self.turns.log(), [], "{reason}");
        let fault = FaultRecord { at_ms, event: "timer", reason, backtrace: None };
        self.turns.tap.failed(fault.event, &fault.reason);
        self.turns.figures.note_fault(fault);
        let again = timer.again(at_ms).map(Job::Timer);
        self.turns.commit_jobs([(id, again)].into()).await
    }
}
