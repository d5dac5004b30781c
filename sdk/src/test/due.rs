//! What a room under test does at a time: its alarm, its timers, its ticks, its crons and its end.
//!
//! Owns the clock's stops, and what becomes of an event that fails. Invariant: what is due is delivered before the test
//! goes on, in the order of the times. It does not know how a turn is kept or dropped.

use super::mock::world as with_current;
use super::runner::Runner;
use super::streams;
use super::timers::{DeliveredTimer, PendingTimer, Ticks};
use super::world::{Keys, Pending};
use crate::Room;
use crate::cron::Cron;
use crate::http::Response;
use crate::log::Level;
use crate::timer::Timer;

/// The number of times a failed alarm or timer is retried: after 2 s, 4 s, … 64 s.
pub(super) const ALARM_RETRIES_MAX: u32 = 6;
/// An alarm that is set to now each time it fires would never end; the test fails instead.
const ALARMS_AT_ONCE_MAX: u32 = 1_000;

impl<R: Room> Runner<R> {
    /// Moves the clock, and stops at each alarm, timer and tick on the way.
    pub(super) fn advance(&mut self, millis: u64) {
        let until = self.world.now_ms.saturating_add(millis);
        while let Some(due_ms) = self.next_due().filter(|due_ms| *due_ms <= until) {
            self.world.now_ms = self.world.now_ms.max(due_ms);
            self.settle();
        }
        self.world.now_ms = until;
    }

    /// When the clock stops next.
    fn next_due(&self) -> Option<u64> {
        let alarm = self.world.alarm.map(|alarm| alarm.due_ms);
        let timer = self.world.due_timer(u64::MAX).map(|(_, timer)| timer.due_ms);
        let tick = self.world.ticks.map(|ticks| ticks.due_ms);
        let answer = self.world.answers.iter().map(|answer| answer.due_ms).min();
        let stream = self.world.streams.due();
        [alarm, timer, tick, answer, stream].into_iter().flatten().min()
    }

    /// Delivers what follows from earlier events: ended connections, due alarms, timers and ticks.
    pub(super) fn settle(&mut self) {
        let (mut alarms, mut due_now) = (0, self.world.timers.len());
        loop {
            let timer = self.world.due_timer(self.world.now_ms);
            if let Some(ended) = self.world.ended.pop_front() {
                self.ended(ended);
            } else if let Some((number, end)) = self.world.streams.ended.pop_front() {
                let id = streams::id(number);
                let _ = self.call(|room, ctx| room.on_stream_close(ctx, &id, end));
            } else if let Some((number, end)) = self.world.streams.overdue(self.world.now_ms) {
                let late = Response::text("the room did not answer in time").with_status(504);
                self.world.streams.cut(number, end, Some(late));
            } else if let Some(alarm) = self.due_alarm() {
                alarms += 1;
                assert!(alarms < ALARMS_AT_ONCE_MAX, "the alarm is set to now again and again");
                self.alarm(alarm);
            } else if let Some((number, timer)) = timer {
                // Those that were there come to an end; those that each schedules for now may not.
                match due_now.checked_sub(1) {
                    Some(left) => due_now = left,
                    None => alarms += 1,
                }
                assert!(alarms < ALARMS_AT_ONCE_MAX, "timers are set to now again and again");
                self.timer(number, &timer);
            } else if let Some(answer) = self.world.due_answer(self.world.now_ms) {
                self.deliver(answer);
            } else if let Some(ticks) = self.world.ticks.filter(|t| t.due_ms <= self.world.now_ms) {
                self.tick(ticks);
            } else {
                return;
            }
        }
    }

    /// Delivers a timer: gone, or moved to its next time, with its turn.
    fn timer(&mut self, number: u64, timer: &PendingTimer) {
        let (after, before) = (timer.again(self.world.now_ms), timer.clone());
        self.world.delivered = Some(DeliveredTimer { number, before, after: after.clone() });
        // `on_start` is a turn of its own.
        let delivered = self.start().and_then(|()| {
            self.turn(|live| {
                with_current(|world| world.set_timer(number, after));
                live.turn(|room, ctx| room.on_timer(ctx, Timer::from_data(timer.data.clone())))
            })
        });
        self.world.delivered = None;
        // A room that cancelled it, and flushed that, has no timer to try again.
        if delivered.is_err() && self.world.timers.contains_key(&number) {
            self.timer_failed(number, timer.clone());
        }
    }

    fn timer_failed(&mut self, number: u64, mut timer: PendingTimer) {
        let now_ms = self.world.now_ms;
        if timer.data.tries == ALARM_RETRIES_MAX {
            let tag = &timer.data.tag;
            self.report(Level::Error, format!("the timer {tag:?} failed too often and is dropped"));
            self.world.replace_timer(number, timer.again(now_ms));
        } else {
            timer.data.tries += 1;
            timer.due_ms = now_ms.saturating_add(1_000 << timer.data.tries);
            self.world.replace_timer(number, Some(timer));
        }
    }

    /// Calls `on_cron` once.
    pub(super) fn cron(&mut self, cron: Cron) {
        // A failure is among the errors.
        let _ = self.call(|room, ctx| room.on_cron(ctx, cron));
        self.settle();
    }

    /// Delivers a tick. The next is due one pause after this one was; those that were missed are skipped.
    fn tick(&mut self, ticks: Ticks) {
        let Ticks { every_ms, due_ms } = ticks;
        let missed = (self.world.now_ms - due_ms) / every_ms;
        let due_ms = due_ms.saturating_add((missed + 1).saturating_mul(every_ms));
        self.world.ticks = Some(Ticks { every_ms, due_ms });
        let _ = self.call(|room, ctx| room.on_tick(ctx));
    }

    fn due_alarm(&self) -> Option<Pending> {
        self.world.alarm.filter(|alarm| alarm.due_ms <= self.world.now_ms)
    }

    fn alarm(&mut self, alarm: Pending) {
        self.world.alarm = None;
        self.world.alarm_tries = alarm.failures;
        let rung = self.call(|room, ctx| room.on_alarm(ctx));
        self.world.alarm_tries = 0;
        if rung.is_ok() {
            return;
        }
        if alarm.failures == ALARM_RETRIES_MAX {
            self.report(Level::Error, "the alarm failed too often and is dropped".to_owned());
        } else if self.world.alarm.is_none() {
            let failures = alarm.failures + 1;
            let due_ms = self.world.now_ms.saturating_add(1_000 << failures);
            self.world.alarm = Some(Pending { failures, due_ms });
        }
    }

    /// Calls `on_expire` until it succeeds or the retries are used up, and deletes the room.
    pub(super) fn expire(&mut self) {
        for failures in 0..=ALARM_RETRIES_MAX {
            let ended = self.call(|room, ctx| {
                with_current(|world| world.ends = true);
                room.on_expire(ctx)
            });
            self.world.ends = false;
            if ended.is_ok() {
                break;
            }
            if failures == ALARM_RETRIES_MAX {
                let text = "on_expire failed too often; the room is deleted all the same";
                self.report(Level::Error, text.to_owned());
            } else {
                self.world.now_ms = self.world.now_ms.saturating_add(2_000 << failures);
            }
        }
        drop(self.world.store_all(Keys::new()));
        self.world.alarm = None;
        self.world.timers.clear();
        self.world.timers_bytes = 0;
        self.world.outcalls.clear();
        self.world.answers.clear();
        self.drop_instance();
    }
}
