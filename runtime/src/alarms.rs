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
/// Pause after the store could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// The alarms of one node.
pub(crate) struct Alarms {
    store: Store,
    rooms: Rooms,
    clock: Clock,
    limits: Arc<Limits>,
    /// Rooms that were told and have not answered yet.
    ringing: HashSet<RoomId>,
}

impl Alarms {
    pub(crate) fn new(store: Store, rooms: Rooms, clock: Clock, limits: Arc<Limits>) -> Self {
        Self { store, rooms, clock, limits, ringing: HashSet::new() }
    }

    /// Rings what is due, until the future is dropped.
    ///
    /// # Cancel safety
    /// Dropped at any time, no alarm is lost: they lie in the store until their turns commit.
    pub(crate) async fn run(mut self) {
        let mut changed = self.store.alarms_changed();
        let mut answers = FuturesUnordered::new();
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
                Some(room) = answers.next(), if !answers.is_empty() => {
                    self.ringing.remove(&room);
                }
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
        let batch = size(self.limits.alarms_batch_max);
        let now = self.clock.wall_ms();
        let mut due = Vec::new();
        // Those that ring already are due first, so they must not fill the batch.
        for (due_ms, room) in self.store.alarms(self.ringing.len().saturating_add(batch))? {
            if due_ms > now {
                return Ok((due, ms(due_ms - now).min(WAIT_MAX)));
            }
            if self.ringing.insert(room.clone()) {
                due.push(room);
            }
        }
        Ok((due, WAIT_MAX))
    }
}

/// Tells a room, and waits until it has dealt with it. One that could not (its party is gone, it is
/// broken or busy) is told again a little later.
async fn ring(rooms: Rooms, room: RoomId) -> RoomId {
    let (done, answer) = oneshot::channel();
    rooms.ring(&room, done);
    if answer.await.is_err() {
        tokio::time::sleep(RETRY).await;
    }
    room
}
