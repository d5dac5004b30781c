//! Wakes rooms whose alarm is due. Owns the waiting, not the alarms: those lie in the store.
//!
//! Invariant: the search finds due alarms by time and never looks at every room, and it reports an alarm to
//! its room once until the room has handled it. However many alarms are due, they take no more than half of
//! the places for live rooms, because the other half is for visitors. It does not know what an alarm means to
//! a room.

use crate::rooms::Rooms;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hashbrown::HashSet;
use room_core::clock::Clock;
use room_core::id::RoomId;
use room_core::limits::{Limits, ms, size};
use room_store::{AlarmsFrom, Store, StoreError};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

/// The pause before the search tries again what failed.
const RETRY: Duration = Duration::from_secs(1);

/// The alarms of one node.
pub struct Alarms {
    store: Store,
    rooms: Rooms,
    clock: Clock,
    limits: Arc<Limits>,
    /// Rooms that got a report and have not answered yet.
    ringing: HashSet<RoomId>,
    /// Rooms that could not handle their alarm and get the report again later.
    resting: HashSet<RoomId>,
    /// The position of the next look: all earlier alarms were reported.
    from: AlarmsFrom,
}

impl Alarms {
    /// Makes the watch over the alarms of a node's rooms. [`Alarms::run`] does its work.
    pub fn new(store: Store, rooms: Rooms, clock: Clock, limits: Arc<Limits>) -> Self {
        Self {
            store,
            rooms,
            clock,
            limits,
            ringing: HashSet::new(),
            resting: HashSet::new(),
            from: AlarmsFrom::START,
        }
    }

    /// Rings due alarms, until the future is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future at any time loses no alarm: alarms lie in the store until their turns commit.
    pub async fn run(mut self) {
        let bell = self.store.alarm_bell();
        let mut answers = FuturesUnordered::new();
        let mut rested = tokio::time::interval(RETRY);
        rested.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wait = match self.due() {
                Ok((due, wait)) => {
                    answers.extend(due.into_iter().map(|room| ring(self.rooms.clone(), room)));
                    wait
                }
                Err(error) => {
                    tracing::error!(%error, "cannot read the alarms");
                    RETRY
                }
            };
            tokio::select! {
                Some((room, answer)) = answers.next(), if !answers.is_empty() => {
                    self.ringing.remove(&room);
                    if answer == AlarmOutcome::NotNow {
                        self.resting.insert(room);
                    }
                }
                _ = rested.tick(), if self.has_told() => self.start_again(),
                () = bell.rings() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Returns the rooms whose alarm is due and does not ring yet, and counts them as ringing; with the time
    /// until the next look.
    fn due(&mut self) -> Result<(Vec<RoomId>, Duration), StoreError> {
        let batch_max = self.batch_max();
        let look_max = ms(self.limits.alarm_look_ms_max);
        let free = batch_max.saturating_sub(self.ringing.len());
        // A look after every single answer would cost much and find little.
        if free < batch_max.div_ceil(2) {
            return Ok((Vec::new(), look_max));
        }
        if let Some(earliest) = self.store.alarm_bell().take_earliest() {
            self.from = self.from.clone().min(AlarmsFrom::time(earliest));
        }
        let now = self.clock.wall_ms();
        let mut wait = look_max;
        let mut first = Vec::new();
        self.store.alarms(&self.from, |due_ms, room| {
            if due_ms > now {
                wait = ms(due_ms - now).min(look_max);
            } else if first.len() < free {
                let is_told = self.resting.contains(&room) || self.ringing.contains(&room);
                if !is_told && self.rooms.may_run(&room) {
                    first.push((due_ms, room));
                }
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(())
        })?;
        if let Some((due_ms, room)) = first.last() {
            self.from = AlarmsFrom::behind(*due_ms, room);
        }
        let due: Vec<RoomId> = first.into_iter().map(|(_, room)| room).collect();
        self.ringing.extend(due.iter().cloned());
        Ok((due, wait))
    }

    /// Returns true if the next look skips a room.
    fn has_told(&self) -> bool {
        self.from != AlarmsFrom::START || !self.resting.is_empty()
    }

    /// Makes the next look report again to rooms that rested, and to rooms that handled their alarm and still
    /// have it.
    fn start_again(&mut self) {
        self.resting.clear();
        self.from = AlarmsFrom::START;
    }

    /// Returns how many alarms ring at the same time.
    fn batch_max(&self) -> usize {
        size(self.limits.alarms_batch_max).min(self.rooms.live_max() / 2).max(1)
    }
}

/// A room's answer to its alarm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AlarmOutcome {
    DealtWith,
    /// The room could not handle it: its party is gone, it is broken, or the node is full.
    NotNow,
}

/// Reports to a room, and waits for its answer.
async fn ring(rooms: Rooms, room: RoomId) -> (RoomId, AlarmOutcome) {
    let (done, answer) = oneshot::channel();
    rooms.ring(&room, done);
    let answer = if answer.await.is_ok() { AlarmOutcome::DealtWith } else { AlarmOutcome::NotNow };
    (room, answer)
}

#[cfg(test)]
mod tests;
