//! The timers and ticks of a room under test.
//!
//! Owns their order in time, and what is left of one whose turn failed. Invariant: plain data; the journal of the turn
//! undoes its changes. It does not know callbacks.

use std::collections::BTreeMap;

use super::limits;
use super::outcalls::beyond_end;
use super::turn::Undo;
use super::world::World;
use crate::error::TimerError;
use crate::host::TimerRecord;

/// A pending timer.
#[derive(Clone, Debug)]
pub(super) struct PendingTimer {
    /// When it is tried; later than planned once it failed.
    pub(super) due_ms: u64,
    pub(super) data: TimerRecord,
}

/// The pending timers by their numbers, which no two timers share.
pub(super) type Timers = BTreeMap<u64, PendingTimer>;

/// The timer that a running `on_timer` is about.
#[derive(Clone, Debug)]
pub(super) struct DeliveredTimer {
    pub(super) number: u64,
    pub(super) before: PendingTimer,
    /// At its next time, if it repeats.
    pub(super) after: Option<PendingTimer>,
}

/// The ticks of a room in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticks {
    pub(super) every_ms: u64,
    pub(super) due_ms: u64,
}

impl PendingTimer {
    /// The timer at its first planned time after now, if it repeats.
    pub(super) fn again(&self, now_ms: u64) -> Option<Self> {
        let every_ms = self.data.every_ms?.max(1);
        let times = now_ms.saturating_sub(self.data.at_ms) / every_ms + 1;
        let at_ms = self.data.at_ms.saturating_add(times.saturating_mul(every_ms));
        let data = TimerRecord { at_ms, tries: 0, ..self.data.clone() };
        Some(Self { due_ms: at_ms, data })
    }
}

impl World {
    /// The timer that is due first, if it is due by then.
    pub(super) fn due_timer(&self, until_ms: u64) -> Option<(u64, PendingTimer)> {
        let first = self.timers.iter().min_by_key(|(number, timer)| (timer.due_ms, **number));
        let (number, timer) = first.filter(|(_, timer)| timer.due_ms <= until_ms)?;
        Some((*number, timer.clone()))
    }

    /// Sets or removes a timer in the running turn.
    pub(super) fn set_timer(&mut self, number: u64, timer: Option<PendingTimer>) {
        let old = self.replace_timer(number, timer);
        self.turn_mut().journal.push(Undo::Timer { number, old });
    }

    /// Sets or removes a timer, and returns the one before.
    pub(super) fn replace_timer(
        &mut self,
        number: u64,
        timer: Option<PendingTimer>,
    ) -> Option<PendingTimer> {
        let bytes = |timer: &PendingTimer| timer.data.tag.len() + timer.data.data.len();
        self.timers_bytes += timer.as_ref().map_or(0, bytes);
        let old = match timer {
            Some(timer) => self.timers.insert(number, timer),
            None => self.timers.remove(&number),
        };
        self.timers_bytes -= old.as_ref().map_or(0, bytes);
        old
    }

    /// Keeps a flush from committing that the timer is delivered, which the end of its turn does. Returns what the next
    /// turn sets.
    pub(super) fn keep_delivered(&mut self) -> Option<(u64, Option<PendingTimer>)> {
        let DeliveredTimer { number, before, after } = self.delivered.clone()?;
        let due = |timer: Option<&PendingTimer>| timer.map(|timer| timer.due_ms);
        if due(self.timers.get(&number)) != due(after.as_ref()) {
            // The room has cancelled it.
            return None;
        }
        self.replace_timer(number, Some(before));
        Some((number, after))
    }

    pub(super) fn schedule(&mut self, mut data: TimerRecord) -> Result<String, TimerError> {
        self.turn_mut();
        // A trap on a server: the contract has no error for it.
        assert!(!self.ends, "{}", beyond_end("schedule a timer"));
        limits::check_timer(&data, (self.timers.len(), self.timers_bytes))?;
        self.timers_made += 1;
        let (number, due_ms) = (self.timers_made, data.at_ms);
        // Ids have the form that the runtime gives them.
        let id = format!("1-{number}-0");
        data.id.clone_from(&id);
        self.set_timer(number, Some(PendingTimer { due_ms, data }));
        Ok(id)
    }

    pub(super) fn cancel(&mut self, id: &str) -> bool {
        self.turn_mut();
        let found = self.timers.iter().find(|(_, timer)| timer.data.id == id);
        let Some(number) = found.map(|(number, _)| *number) else { return false };
        self.set_timer(number, None);
        true
    }

    /// The pending timers, the earliest first.
    pub(super) fn timers_in_order(&self) -> Vec<TimerRecord> {
        let mut timers: Vec<_> = self.timers.iter().collect();
        timers.sort_by_key(|(number, timer)| (timer.due_ms, **number));
        timers.into_iter().map(|(_, timer)| timer.data.clone()).collect()
    }

    pub(super) fn tick(&mut self, every_ms: Option<u32>) -> Result<(), TimerError> {
        every_ms.map_or(Ok(()), limits::check_ticks)?;
        let now_ms = self.now_ms;
        let ticks = every_ms.map(u64::from).map(|every_ms| match self.ticks {
            Some(old) if old.every_ms == every_ms => old,
            _ => Ticks { every_ms, due_ms: now_ms.saturating_add(every_ms) },
        });
        let old = std::mem::replace(&mut self.ticks, ticks);
        self.turn_mut().journal.push(Undo::Ticks(old));
        Ok(())
    }
}
