//! The places for live instances of one node. Owns who has one, and which room goes when all are taken.
//!
//! Invariant: never more instances than places; a room that was told to go gives its place up before
//! it handles anything else, and one that works or has promised to stay is never told. It does not know
//! what rooms do.
//!
//! Who was used least recently goes first. The order is kept lazily: a room that is used again notes
//! the time on its own seat, and the search moves it when it meets it. So an event costs two writes
//! to memory that no other room writes to, and a search costs O(log n) for each room it moves, which
//! was used since it was moved last; it never looks at all rooms.

use super::RoomError;
use crate::limits::{Limits, ms, size};
use crate::wasm::GuestMemory;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// The places of a node. Cheap to clone; clones are the same places.
#[derive(Clone)]
pub(crate) struct Places(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    total: usize,
    memory: GuestMemory,
    memory_max: u64,
    limits: Arc<Limits>,
    /// What times of use are counted from.
    start: Instant,
}

struct State {
    free: usize,
    /// Places given so far: the number of the last seat.
    given: u64,
    /// Rooms that may be told to go, by the time of their use as it was when they were put here.
    order: BTreeMap<(u64, u64), Arc<Seat>>,
    /// Rooms that were told and have not gone yet.
    told: usize,
    /// Rooms that have promised to stay.
    staying: usize,
    /// Rooms that want a place, first come, first served.
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// The right to one live instance, until it is dropped.
pub(crate) struct Place(Arc<Seat>);

/// A place as its room knows it.
pub(super) struct Seat {
    places: Places,
    number: u64,
    /// When the room was used last, in nanoseconds since the start of the places.
    used: AtomicU64,
    /// Some of [`IDLE`], [`LISTED`], [`TOLD`].
    status: AtomicU8,
    /// The time under which it lies in the order. Written under the lock.
    listed_at: AtomicU64,
    /// Whether the room has promised to stay. Written under the lock.
    stays: AtomicBool,
    go: Notify,
}

/// The room waits for something to do, and may be told to go.
const IDLE: u8 = 1;
/// The seat is in the order.
const LISTED: u8 = 2;
/// The room was told to go. Nothing follows.
const TOLD: u8 = 4;

/// What a room that waited has to do first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Stay,
    /// It gives up its place, which another one waits for.
    Go,
}

impl Places {
    /// So many places, all free.
    pub(crate) fn new(total: u64, memory: GuestMemory, limits: Arc<Limits>) -> Self {
        let total = size(total);
        let state = State {
            free: total,
            given: 0,
            order: BTreeMap::new(),
            told: 0,
            staying: 0,
            waiting: VecDeque::new(),
        };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            total,
            memory,
            memory_max: limits.rooms_memory_bytes_max,
            limits,
            start: Instant::now(),
        }))
    }

    /// How many there are.
    pub(crate) fn total(&self) -> usize {
        self.0.total
    }

    /// Bytes of the guests' memories.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.0.memory.bytes()
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.0.total - self.state().free
    }

    /// A place: a free one, or that of the room that was used least recently and may go.
    ///
    /// # Errors
    /// [`RoomError::Busy`]: no room may go, or none went within `place_wait_ms_max`.
    ///
    /// # Cancel safety
    /// Dropped before it returns, no place is lost.
    pub(super) async fn take(&self) -> Result<Place, RoomError> {
        let mut granted = {
            let mut state = self.state();
            let fits = state.free > 0 && self.has_memory_for(&state, 1);
            if fits && state.waiting.is_empty() {
                return Ok(self.give(&mut state));
            }
            if !fits && state.staying == self.0.total - state.free {
                // Waiting would not help: everybody has promised to stay.
                return Err(RoomError::Busy);
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back(sender);
            // Those who wait may have left, or memory may be free since they came.
            let refused = self.serve(&mut state);
            drop(state);
            drop(refused);
            receiver
        };
        let limit = ms(self.0.limits.place_wait_ms_max);
        if let Ok(Ok(place)) = tokio::time::timeout(limit, &mut granted).await {
            return Ok(place);
        }
        granted.close();
        let mut state = self.state();
        state.waiting.retain(|waiter| !waiter.is_closed());
        drop(state);
        // It may have come at the last moment.
        granted.try_recv().map_err(|_| RoomError::Busy)
    }

    fn give(&self, state: &mut State) -> Place {
        state.free -= 1;
        state.given += 1;
        Place(Arc::new(Seat {
            places: self.clone(),
            number: state.given,
            used: AtomicU64::new(0),
            status: AtomicU8::new(0),
            listed_at: AtomicU64::new(0),
            stays: AtomicBool::new(false),
            go: Notify::new(),
        }))
    }

    /// True if the guests may have so many instances more, of the size that they have on average.
    fn has_memory_for(&self, state: &State, more: u64) -> bool {
        let bytes = self.0.memory.bytes();
        let average = bytes / (self.0.total - state.free).max(1) as u64;
        bytes.saturating_add(average.saturating_mul(more)) <= self.0.memory_max
    }

    /// Gives what is free to those who wait. Comes back with the places of those who have left, to be
    /// dropped without the lock.
    fn serve(&self, state: &mut State) -> Vec<Place> {
        let (mut given, mut refused) = (0, Vec::new());
        while state.free > 0
            && self.has_memory_for(state, given + 1)
            && let Some(waiter) = state.waiting.pop_front()
        {
            if waiter.is_closed() {
                continue;
            }
            let place = self.give(state);
            given += 1;
            refused.extend(waiter.send(place).err());
        }
        self.make_space(state);
        refused
    }

    /// Tells as many rooms to go as others want their places, or one while the guests have too much
    /// memory; fewer if no more may go.
    fn make_space(&self, state: &mut State) {
        let wanted = state.waiting.len().max(usize::from(self.has_too_much_memory()));
        while state.told < wanted {
            let Some(((listed_at, _), seat)) = state.order.pop_first() else { return };
            let status = seat.status.load(Ordering::SeqCst);
            let used = seat.used.load(Ordering::SeqCst);
            let next = match status & IDLE {
                // It works: when it is idle again, it lists itself.
                0 => 0,
                _ if used == listed_at => TOLD,
                _ => status,
            };
            let swapped =
                seat.status.compare_exchange(status, next, Ordering::SeqCst, Ordering::SeqCst);
            match (swapped, next) {
                (Ok(_), 0) => {}
                (Ok(_), TOLD) => {
                    state.told += 1;
                    seat.go.notify_one();
                }
                // It was used since, or begins or ends to be idle right now: it is met again.
                _ => state.list(seat, used),
            }
        }
    }

    fn has_too_much_memory(&self) -> bool {
        self.0.memory.bytes() > self.0.memory_max
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn list(&mut self, seat: Arc<Seat>, used: u64) {
        seat.listed_at.store(used, Ordering::SeqCst);
        self.order.insert((used, seat.number), seat);
    }

    fn set_staying(&mut self, seat: &Seat, stays: bool) {
        match (seat.stays.swap(stays, Ordering::SeqCst), stays) {
            (false, true) => self.staying += 1,
            (true, false) => self.staying -= 1,
            _ => {}
        }
    }
}

impl Place {
    pub(super) fn seat(&self) -> Arc<Seat> {
        self.0.clone()
    }
}

impl Drop for Place {
    /// Whoever waits longest has it next.
    fn drop(&mut self) {
        let Self(seat) = self;
        let mut state = seat.places.state();
        state.free += 1;
        let status = seat.status.swap(0, Ordering::SeqCst);
        if status & LISTED != 0 {
            let listed_at = seat.listed_at.load(Ordering::SeqCst);
            state.order.remove(&(listed_at, seat.number));
        }
        if status & TOLD != 0 {
            state.told -= 1;
        }
        state.set_staying(seat, false);
        let refused = seat.places.serve(&mut state);
        drop(state);
        drop(refused);
    }
}

impl Seat {
    /// The room waits for something to do, and may be told to go until it [works](Seat::work) again.
    /// `used` is when it had something to do last.
    pub(super) fn idle(self: &Arc<Self>, used: Instant) {
        let since = used.saturating_duration_since(self.places.0.start);
        let used = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.used.store(used, Ordering::SeqCst);
        let before = self.status.fetch_or(IDLE, Ordering::SeqCst);
        let listed = before & LISTED != 0;
        if listed && !self.stays.load(Ordering::SeqCst) && !self.places.has_too_much_memory() {
            return;
        }
        let mut state = self.places.state();
        state.set_staying(self, false);
        if !listed {
            // No search sees it before it is listed, so the two steps are one.
            self.status.fetch_or(LISTED, Ordering::SeqCst);
            state.list(self.clone(), used);
        }
        self.places.make_space(&mut state);
    }

    /// The room waits for something to do, and promises its clients to stay meanwhile.
    pub(super) fn stay(&self) {
        if self.stays.load(Ordering::SeqCst) && !self.places.has_too_much_memory() {
            return;
        }
        let mut state = self.places.state();
        state.set_staying(self, true);
        self.places.make_space(&mut state);
    }

    /// The room has something to do again, or wants to go by itself. From now on it is not told.
    pub(super) fn work(&self) -> Verdict {
        match self.status.fetch_and(!IDLE, Ordering::SeqCst) & TOLD {
            0 => Verdict::Stay,
            _ => Verdict::Go,
        }
    }

    /// Returns when the room was told to go. For the one actor that waits.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the next call returns at once if the room was told.
    pub(super) async fn told(&self) {
        self.go.notified().await;
    }
}

#[cfg(test)]
mod tests;
