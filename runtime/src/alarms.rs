//! Wakes rooms whose alarm is due. Owns the waiting, not the alarms: those lie in the store.
//!
//! Invariant: what is due is found by its time, never by looking at every room, and a room is told of
//! an alarm once until it has dealt with it. However many are due, they take no more than half of the
//! places for live rooms: the others are for visitors. It does not know what an alarm means to a room.

use crate::clock::Clock;
use crate::id::RoomId;
use crate::limits::{Limits, ms, size};
use crate::rooms::Rooms;
use crate::store::{Store, StoreError};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hashbrown::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often what could not be done is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The alarms of one node.
pub(crate) struct Alarms {
    store: Store,
    rooms: Rooms,
    clock: Clock,
    limits: Arc<Limits>,
    /// Rooms that were told and have not answered yet.
    ringing: HashSet<RoomId>,
    /// Rooms that could not deal with it and are told again later.
    resting: HashSet<RoomId>,
}

impl Alarms {
    pub(crate) fn new(store: Store, rooms: Rooms, clock: Clock, limits: Arc<Limits>) -> Self {
        Self { store, rooms, clock, limits, ringing: HashSet::new(), resting: HashSet::new() }
    }

    /// Rings what is due, until the future is dropped.
    ///
    /// # Cancel safety
    /// Dropped at any time, no alarm is lost: they lie in the store until their turns commit.
    pub(crate) async fn run(mut self) {
        let mut changed = self.store.alarms_changed();
        let mut answers = FuturesUnordered::new();
        let mut rested = tokio::time::interval(RETRY);
        loop {
            changed.mark_unchanged();
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
                    if answer == Answer::NotNow {
                        self.resting.insert(room);
                    }
                }
                _ = rested.tick(), if !self.resting.is_empty() => self.resting.clear(),
                changed = changed.changed() => if changed.is_err() {
                    return;
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// The rooms whose alarm is due and does not ring yet; they count as ringing now. How long until
    /// the next one.
    fn due(&mut self) -> Result<(Vec<RoomId>, Duration), StoreError> {
        let batch_max = self.batch_max();
        let look_max = ms(self.limits.alarm_look_ms_max);
        let free = batch_max.saturating_sub(self.ringing.len());
        // Each look reads those that ring, too; so none for every single answer.
        if free < batch_max.div_ceil(2) {
            return Ok((Vec::new(), look_max));
        }
        let now = self.clock.wall_ms();
        let mut due = Vec::new();
        for (due_ms, room) in self.first(free, now)? {
            if due_ms > now {
                return Ok((due, ms(due_ms - now).min(look_max)));
            }
            if !self.resting.contains(&room) && self.ringing.insert(room.clone()) {
                due.push(room);
            }
        }
        Ok((due, look_max))
    }

    /// The alarms that are due first: all that are due and were not told, but no more than `free`, and
    /// the one after them.
    fn first(&self, free: usize, now: u64) -> Result<Vec<(u64, RoomId)>, StoreError> {
        // Those that were told already are due first, so they must not fill the batch.
        let told = self.ringing.len() + self.resting.len();
        // Mostly an alarm was set and none is due: one more than was told shows it.
        let first = self.store.alarms(told + 1)?;
        let more = first.get(told).is_some_and(|(due_ms, _)| *due_ms <= now);
        if more { self.store.alarms(told + free) } else { Ok(first) }
    }

    /// How many ring at the same time.
    fn batch_max(&self) -> usize {
        size(self.limits.alarms_batch_max).min(self.rooms.live_max() / 2).max(1)
    }
}

/// What a room made of its alarm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    DealtWith,
    /// It could not: its party is gone, it is broken, or the node is full.
    NotNow,
}

/// Tells a room, and waits for its answer.
async fn ring(rooms: Rooms, room: RoomId) -> (RoomId, Answer) {
    let (done, answer) = oneshot::channel();
    rooms.ring(&room, done);
    let answer = if answer.await.is_ok() { Answer::DealtWith } else { Answer::NotNow };
    (room, answer)
}

#[cfg(test)]
mod tests;
