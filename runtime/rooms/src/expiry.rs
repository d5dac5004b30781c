//! Ends unused rooms. Owns the search for them, and how many end at once.
//!
//! Invariant: the search finds due rooms by time and never looks at every room, and it reports to a room once
//! until the room has handled it. However many rooms are due, they end a few at a time, in a fraction of the
//! places for live rooms, and never more than a batch in a pause. It does not know what a room does about it.

use crate::rooms::Rooms;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hashbrown::{HashMap, HashSet};
use room_core::id::{PartyName, RoomId};
use room_core::limits::{Limits, ms, size};
use room_core::ttl::{Lifetime, Served, Ttl};
use room_store::{Service, Store, StoreError, TtlNote};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};

/// The pause before the search reports again to rooms that could not end.
const RETRY: Duration = Duration::from_secs(1);

/// The search for unused rooms of one node.
pub struct Expiry {
    store: Store,
    rooms: Rooms,
    served: Served,
    limits: Arc<Limits>,
    /// Rooms that got a report and have not answered yet.
    told: HashSet<RoomId>,
    /// Rooms that could not handle the report and get it again later.
    resting: HashSet<RoomId>,
}

impl Expiry {
    /// Makes the watch over the unused rooms of a node. [`Expiry::run`] does its work.
    pub fn new(store: Store, rooms: Rooms, served: Served, limits: Arc<Limits>) -> Self {
        Self { store, rooms, served, limits, told: HashSet::new(), resting: HashSet::new() }
    }

    /// Ends due rooms, and notes how long the node has served, until the future is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future at any time loses nothing: the next search finds the due rooms again.
    pub async fn run(mut self) {
        let mut answers = FuturesUnordered::new();
        let mut rested = tokio::time::interval(RETRY);
        rested.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pause = ms(self.limits.service_note_ms);
        let mut kept = tokio::time::interval_at(Instant::now() + pause, pause);
        kept.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = Instant::now();
        loop {
            tokio::select! {
                Some((room, answer)) = answers.next(), if !answers.is_empty() => {
                    self.told.remove(&room);
                    if answer == ExpiryOutcome::NotNow {
                        self.resting.insert(room);
                    }
                }
                _ = rested.tick(), if !self.resting.is_empty() => self.resting.clear(),
                _ = kept.tick() => keep(&self.store, self.served, None),
                () = tokio::time::sleep_until(look) => {
                    let wait = match self.due() {
                        Ok((due, wait)) => {
                            answers.extend(due.into_iter().map(|room| tell(self.rooms.clone(), room)));
                            wait
                        }
                        Err(error) => {
                            tracing::error!(%error, "cannot read which rooms nobody uses");
                            RETRY
                        }
                    };
                    look = Instant::now() + wait.max(ms(self.limits.expiry_pause_ms));
                }
            }
        }
    }

    /// Returns the due rooms that have no report yet, and counts them as reported; with the time until the
    /// next room is due.
    fn due(&mut self) -> Result<(Vec<RoomId>, Duration), StoreError> {
        let (now, batch_max) = (self.served.ms(), self.batch_max());
        let mut wait = ms(self.limits.expiry_look_ms_max);
        let mut due = Vec::new();
        for (party, lifetime) in self.rooms.lifetimes() {
            // No room can be due before that, not even one whose use has not been noted yet.
            let mut first_ms = lifetime.due_ms(0).max(now + lifetime.step_ms());
            self.store.used_before(&party, u64::MAX, |noted_ms, room| {
                let is_told = self.told.contains(&room) || self.resting.contains(&room);
                if is_told || !self.rooms.may_run(&room) {
                    return ControlFlow::Continue(());
                }
                let due_ms = lifetime.due_ms(noted_ms);
                if due_ms > now || self.told.len() + due.len() >= batch_max {
                    first_ms = first_ms.min(due_ms);
                    return ControlFlow::Break(());
                }
                due.push(room);
                ControlFlow::Continue(())
            })?;
            wait = wait.min(ms(first_ms.saturating_sub(now)));
        }
        self.told.extend(due.iter().cloned());
        Ok((due, wait))
    }

    /// Returns how many rooms end at the same time.
    fn batch_max(&self) -> usize {
        size(self.limits.expiries_batch_max).min(self.rooms.live_max() / 4).max(1)
    }
}

/// A room's answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ExpiryOutcome {
    DealtWith,
    /// The room could not end: its party is gone, it is broken, or the node is full.
    NotNow,
}

/// Reports to a room, and waits for its answer.
async fn tell(rooms: Rooms, room: RoomId) -> (RoomId, ExpiryOutcome) {
    let (done, answer) = oneshot::channel();
    rooms.expire(&room, done);
    let answer =
        if answer.await.is_ok() { ExpiryOutcome::DealtWith } else { ExpiryOutcome::NotNow };
    (room, answer)
}

/// Returns the lifetimes of the rooms of parties with these ttls. A new or shortened ttl counts from now on:
/// until now, uses were noted less often than it needs.
///
/// # Errors
/// [`StoreError`] if the previous lifetimes cannot be read.
pub fn lifetimes(
    store: &Store,
    served: Served,
    ttls: &[(PartyName, Ttl)],
) -> Result<HashMap<PartyName, Lifetime>, StoreError> {
    if ttls.is_empty() {
        return Ok(HashMap::new());
    }
    let before = store.service()?.ttls;
    let lifetime = |(party, ttl): &(PartyName, Ttl)| {
        let known = before.get(party.as_str()).filter(|known| known.ttl_ms <= ttl.as_millis());
        let since_ms = known.map_or_else(|| served.ms(), |known| known.since_ms);
        (party.clone(), Lifetime::new(ttl.as_millis(), since_ms))
    };
    Ok(ttls.iter().map(lifetime).collect())
}

/// Persists the service clock, and the ttls if there are some. Unchanged ttls are not written again. Best effort: losing this only postpones expiry,
/// so a failed write is logged and ignored.
pub fn keep(store: &Store, served: Served, changed: Option<&HashMap<PartyName, Lifetime>>) {
    let note = |(party, lifetime): (&PartyName, &Lifetime)| {
        let (ttl_ms, since_ms) = (lifetime.ttl_ms(), lifetime.since_ms());
        (party.to_string(), TtlNote { ttl_ms, since_ms })
    };
    let kept = store.service().and_then(|known| {
        let ttls = match changed {
            None => known.ttls,
            Some(changed) => {
                let ttls = changed.iter().map(note).collect();
                if ttls == known.ttls {
                    return Ok(());
                }
                ttls
            }
        };
        store.keep_service(Service { served_ms: served.ms(), ttls })
    });
    if let Err(error) = kept {
        tracing::warn!(%error, "how long was served cannot be remembered");
    }
}

#[cfg(test)]
mod tests;
