//! Ends rooms that nobody uses. Owns the search for them, and how many end at once.
//!
//! Invariant: who is due is found by time, never by looking at every room, and a room is told once until
//! it has dealt with it. However many are due, they end a few at a time, in a fraction of the places
//! for live rooms, and never more than a batch in a pause. It does not know what a room does about it.

use crate::id::{PartyName, RoomId};
use crate::limits::{Limits, ms, size};
use crate::rooms::Rooms;
use crate::store::{Service, Store, StoreError, TtlNote};
use crate::ttl::{Lifetime, Served, Ttl};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hashbrown::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};

/// How often those that could not be ended are told again.
const RETRY: Duration = Duration::from_secs(1);

/// The rooms of one node that nobody uses.
pub(crate) struct Expiry {
    store: Store,
    rooms: Rooms,
    served: Served,
    limits: Arc<Limits>,
    /// Rooms that were told and have not answered yet.
    told: HashSet<RoomId>,
    /// Rooms that could not deal with it and are told again later.
    resting: HashSet<RoomId>,
}

impl Expiry {
    pub(crate) fn new(store: Store, rooms: Rooms, served: Served, limits: Arc<Limits>) -> Self {
        Self { store, rooms, served, limits, told: HashSet::new(), resting: HashSet::new() }
    }

    /// Ends what is due, and remembers how long was served, until the future is dropped.
    ///
    /// # Cancel safety
    /// Dropped at any time, nothing is lost: who is due is found again.
    pub(crate) async fn run(mut self) {
        let mut answers = FuturesUnordered::new();
        let mut rested = tokio::time::interval(RETRY);
        rested.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept = tokio::time::interval(ms(self.limits.service_note_ms));
        kept.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = Instant::now();
        loop {
            tokio::select! {
                Some((room, answer)) = answers.next(), if !answers.is_empty() => {
                    self.told.remove(&room);
                    if answer == Answer::NotNow {
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

    /// The rooms that are due and were not told yet; they count as told. How long until the next one.
    fn due(&mut self) -> Result<(Vec<RoomId>, Duration), StoreError> {
        let (now, batch_max) = (self.served.ms(), self.batch_max());
        let mut wait = ms(self.limits.expiry_look_ms_max);
        let mut due = Vec::new();
        for (party, lifetime) in self.rooms.lifetimes() {
            // Before that no room can be due, one that nobody has noted yet included.
            let mut first_ms = lifetime.due_ms(0).max(now + lifetime.step_ms());
            self.store.used_before(&party, u64::MAX, |noted_ms, room| {
                if self.told.contains(&room) || self.resting.contains(&room) {
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

    /// How many end at the same time.
    fn batch_max(&self) -> usize {
        size(self.limits.expiries_batch_max).min(self.rooms.live_max() / 4).max(1)
    }
}

/// What a room made of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    DealtWith,
    /// It could not: its party is gone, it is broken, or the node is full.
    NotNow,
}

/// Tells a room, and waits for its answer.
async fn tell(rooms: Rooms, room: RoomId) -> (RoomId, Answer) {
    let (done, answer) = oneshot::channel();
    rooms.expire(&room, done);
    let answer = if answer.await.is_ok() { Answer::DealtWith } else { Answer::NotNow };
    (room, answer)
}

/// To what the rooms of parties with these ttls are held. One that is new, or shorter than before, counts
/// from now on: until now, uses were noted less often than it needs.
///
/// # Errors
/// [`StoreError`] if it cannot be read to what they were held before.
pub(crate) fn lifetimes(
    store: &Store,
    served: Served,
    ttls: &[(PartyName, Ttl)],
) -> Result<HashMap<PartyName, Lifetime>, StoreError> {
    let before = store.service()?.ttls;
    let lifetime = |(party, ttl): &(PartyName, Ttl)| {
        let known = before.get(party.as_str()).filter(|known| known.ttl_ms <= ttl.as_millis());
        let since_ms = known.map_or_else(|| served.ms(), |known| known.since_ms);
        (party.clone(), Lifetime::new(ttl.as_millis(), since_ms))
    };
    Ok(ttls.iter().map(lifetime).collect())
}

/// Remembers how long was served, and to what the rooms are held, if that has changed. What is not
/// remembered only delays the end of rooms, so a disk that does not take it stops nothing.
pub(crate) fn keep(store: &Store, served: Served, changed: Option<&HashMap<PartyName, Lifetime>>) {
    let note = |(party, lifetime): (&PartyName, &Lifetime)| {
        let (ttl_ms, since_ms) = (lifetime.ttl_ms(), lifetime.since_ms());
        (party.to_string(), TtlNote { ttl_ms, since_ms })
    };
    let kept = store.service().and_then(|known| {
        let ttls = changed.map_or(known.ttls, |changed| changed.iter().map(note).collect());
        store.keep_service(Service { served_ms: served.ms(), ttls })
    });
    if let Err(error) = kept {
        tracing::warn!(%error, "how long was served cannot be remembered");
    }
}

#[cfg(test)]
mod tests;
