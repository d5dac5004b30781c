//! A room's seat among those with a live instance. Owns the notes that the room makes on it without a lock.
//!
//! Invariant: a room that works is not asked to go, and a room that was asked learns of it before it handles
//! anything. It does not know which room gets the place next.

use super::RoomSlots;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The right to one live instance, until it is dropped.
pub(crate) struct RoomSlot(pub(super) Arc<Seat>);

/// A place from its room's point of view.
pub(in crate::room) struct Seat {
    pub(super) places: RoomSlots,
    pub(super) number: u64,
    /// When the room was last used, in nanoseconds since the start of the places.
    pub(super) used: AtomicU64,
    /// Some of [`IDLE`], [`LISTED`], [`TOLD`].
    pub(super) status: AtomicU8,
    /// The time under which it lies in the order. Written under the lock.
    pub(super) listed_at: AtomicU64,
    /// Whether the room has promised to stay. Written under the lock.
    pub(super) stays: AtomicBool,
    pub(super) go: Notify,
}

/// The room is idle, and may be asked to go.
pub(super) const IDLE: u8 = 1;
/// The seat is in the order.
pub(super) const LISTED: u8 = 2;
/// The room was asked to go. This is final.
pub(super) const TOLD: u8 = 4;

/// The decision about a room that stops being idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::room) enum SeatVerdict {
    /// Nothing.
    Stay,
    /// It must give up its place first, because another room waits for it.
    Go,
}

impl RoomSlot {
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
        let status = seat.status.swap(0, Ordering::SeqCst);
        let told = status & TOLD != 0;
        state.told -= usize::from(told);
        if let Some(project) = state.projects.get_mut(&seat.places.0.number) {
            project.taken -= 1;
            project.told -= usize::from(told);
            if status & LISTED != 0 {
                let listed_at = seat.listed_at.load(Ordering::SeqCst);
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
        let used = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.used.store(used, Ordering::SeqCst);
        let before = self.status.fetch_or(IDLE, Ordering::SeqCst);
        let listed = before & LISTED != 0;
        if listed && !self.stays.load(Ordering::SeqCst) && !self.places.has_too_much_memory() {
            return;
        }
        let mut state = self.places.state();
        state.set_staying(self, false);
        if !listed && let Some(project) = state.projects.get_mut(&self.places.0.number) {
            // No search sees the seat before it is listed, so the two steps act as one.
            self.status.fetch_or(LISTED, Ordering::SeqCst);
            project.list(self.clone(), used);
        }
        shared.make_space(&mut state, &self.places);
    }

    /// Marks the room as idle, with a promise to its clients that it stays.
    pub(in crate::room) fn stay(&self) {
        if self.stays.load(Ordering::SeqCst) && !self.places.has_too_much_memory() {
            return;
        }
        let mut state = self.places.state();
        state.set_staying(self, true);
        self.places.0.shared.make_space(&mut state, &self.places);
    }

    /// Marks the room as working: it has something to do, or wants to go by itself. From now on it is not
    /// asked to go.
    pub(in crate::room) fn work(&self) -> SeatVerdict {
        match self.status.fetch_and(!IDLE, Ordering::SeqCst) & TOLD {
            0 => SeatVerdict::Stay,
            _ => SeatVerdict::Go,
        }
    }

    /// Returns when the room was asked to go. Only the one actor that waits may call it.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the next call reports what it would have reported.
    pub(in crate::room) async fn told(&self) {
        self.go.notified().await;
    }
}
