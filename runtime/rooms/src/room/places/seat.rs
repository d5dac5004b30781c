//! A room's seat among those with a live instance. Owns what the room notes on it in each turn, under a lock that no
//! other room takes.
//!
//! Invariant: a room that works is not asked to go, and a room that was asked learns of it before it handles
//! anything. The holder of a seat's lock takes no other lock. A search holds the lock of all places when it takes
//! that of a seat. It does not know which room gets the place next.

use super::RoomSlots;
use room_core::lock::lock;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The right to one live instance, until it is dropped.
pub(crate) struct RoomSlot(pub(super) Arc<Seat>);

/// A place from its room's point of view.
pub(in crate::room) struct Seat {
    pub(super) places: RoomSlots,
    pub(super) number: u64,
    standing: Mutex<Standing>,
    pub(super) go: Notify,
}

/// How a room stands among the others.
#[derive(Default)]
pub(super) struct Standing {
    /// When the room was last used, in nanoseconds since the start of the places.
    pub(super) used: u64,
    /// Whether the room may be asked to go.
    pub(super) idle: bool,
    /// Whether the room was asked to go. This is final.
    pub(super) told: bool,
    /// The time under which it lies in the order; `None` if it is not there. Changed under the lock of all places.
    pub(super) listed_at: Option<u64>,
    /// Whether the room has promised to stay. Changed under the lock of all places.
    pub(super) stays: bool,
}

/// The decision about a room that stops being idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::room) enum SeatVerdict {
    /// Nothing.
    Stay,
    /// It must give up its place first, because another room waits for it.
    Go,
}

impl RoomSlot {
    /// Returns a place for a room that works.
    pub(super) fn new(places: RoomSlots, number: u64) -> Self {
        Self(Arc::new(Seat { places, number, standing: Mutex::default(), go: Notify::new() }))
    }

    pub(in crate::room) fn seat(&self) -> Arc<Seat> {
        self.0.clone()
    }
}

impl Drop for RoomSlot {
    /// Gives the place back, for the room that has waited longest.
    fn drop(&mut self) {
        let Self(seat) = self;
        let mut state = seat.places.state();
        state.set_staying(seat, false);
        state.free += 1;
        let Standing { told, listed_at, .. } = std::mem::take(&mut *seat.standing());
        state.told -= usize::from(told);
        if let Some(project) = state.projects.get_mut(&seat.places.0.number) {
            project.taken -= 1;
            project.told -= usize::from(told);
            if let Some(listed_at) = listed_at {
                project.order.remove(&(listed_at, seat.number));
            }
        }
        seat.places.0.shared.serve(&mut state, &seat.places);
    }
}

impl Seat {
    /// Marks the room as idle. It may be asked to go until it [works](Seat::work) again. `used` is when it
    /// last had something to do.
    pub(in crate::room) fn idle(self: &Arc<Self>, used: Instant) {
        let shared = &self.places.0.shared;
        let since = used.saturating_duration_since(shared.start);
        let crowded = self.places.has_too_much_memory();
        {
            let mut standing = self.standing();
            standing.used = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            standing.idle = true;
            if standing.listed_at.is_some() && !standing.stays && !crowded {
                return;
            }
        }
        let mut state = self.places.state();
        state.set_staying(self, false);
        state.list(self);
        shared.make_space(&mut state, &self.places);
    }

    /// Marks the room as idle, with a promise to its clients that it stays.
    pub(in crate::room) fn stay(&self) {
        if self.standing().stays && !self.places.has_too_much_memory() {
            return;
        }
        let mut state = self.places.state();
        state.set_staying(self, true);
        self.places.0.shared.make_space(&mut state, &self.places);
    }

    /// Marks the room as working: it has something to do, or wants to go by itself. From now on it is not
    /// asked to go.
    pub(in crate::room) fn work(&self) -> SeatVerdict {
        let mut standing = self.standing();
        standing.idle = false;
        if standing.told { SeatVerdict::Go } else { SeatVerdict::Stay }
    }

    /// Returns when the room was asked to go. Only the one actor that waits may call it.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the next call reports what it would have reported.
    pub(in crate::room) async fn told(&self) {
        self.go.notified().await;
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        lock(&self.standing)
    }
}
