//! Wakes rooms whose alarm is due. Owns the waiting, not the alarms: those lie in the store.
//!
//! Invariant: what is due is found by its time, never by looking at every room, and a room is told of
//! an alarm once until it has dealt with it. It does not know what an alarm means to a room.

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

/// Longest wait for the next alarm: also how late a time beyond it is looked at again.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
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
        let free = size(self.limits.alarms_batch_max).saturating_sub(self.ringing.len());
        if free == 0 {
            return Ok((Vec::new(), WAIT_MAX));
        }
        let now = self.clock.wall_ms();
        let mut due = Vec::new();
        // Those that were told already are due first, so they must not fill the batch.
        let told = self.ringing.len() + self.resting.len();
        for (due_ms, room) in self.store.alarms(told + free)? {
            if due_ms > now {
                return Ok((due, ms(due_ms - now).min(WAIT_MAX)));
            }
            if !self.resting.contains(&room) && self.ringing.insert(room.clone()) {
                due.push(room);
            }
        }
        Ok((due, WAIT_MAX))
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
