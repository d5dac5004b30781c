//! How much one turn may use, and how much all rooms have. Owns the counting of time and memory.
//!
//! Invariant: a guest that computes meets the end of its budget, whatever it does; what a room's guest
//! has is counted until it is gone. It does not know what the guest is.

use super::fault::Overrun;
use crate::limits::fixed::TABLE_ELEMENTS_MAX;
use crate::limits::{Limits, size};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::{ResourceLimiter, UpdateDeadline};

/// The linear memories of the rooms of a project together, and of all projects of the process. Clones are the
/// same count.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuestMemory {
    own: Arc<AtomicU64>,
    all: Arc<AtomicU64>,
}

impl GuestMemory {
    /// The memories of another project's rooms, of which there are none yet.
    pub(crate) fn of_another_project(&self) -> Self {
        Self { own: Arc::default(), all: self.all.clone() }
    }

    /// How many bytes the project's rooms have together. A number to decide by, exact when nothing grows.
    pub(crate) fn bytes(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    /// How many bytes the rooms of all projects have together.
    pub(crate) fn all_bytes(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.own.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, bytes: u64) {
        self.own.fetch_sub(bytes, Ordering::Relaxed);
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Time and memory of one instance.
pub(super) struct Budget {
    limits: Arc<Limits>,
    ticks_left: u64,
    /// Set when the last growth was denied, as the guest will only show a trap of its allocator.
    memory_denied: bool,
    /// What this instance has of the guests' memory.
    memory_bytes: u64,
    /// The last growth, which is taken back if it fails after all.
    growth_bytes: u64,
    /// Where it is counted; nowhere for a hook at the door, of which there are few.
    guests: Option<GuestMemory>,
}

impl Budget {
    /// The budget of an instance that has no memory yet.
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            ticks_left: 0,
            memory_denied: false,
            memory_bytes: 0,
            growth_bytes: 0,
            guests: None,
        }
    }

    /// Counts what this instance has, and will have, with what others have.
    pub(super) fn count_with(&mut self, guests: GuestMemory) {
        guests.add(self.memory_bytes);
        self.guests = Some(guests);
    }

    /// Fills the budget up for another turn.
    pub(super) fn start_turn(&mut self) {
        self.ticks_left = self.limits.turn_ms_max.div_ceil(self.limits.tick_ms);
        self.memory_denied = false;
    }

    /// One more tick was used: the guest yields its thread and goes on, or is stopped.
    ///
    /// Ticks are counted while the guest runs, so time in which others had the thread is not its own.
    pub(super) fn tick(&mut self) -> Result<UpdateDeadline, Overrun> {
        self.ticks_left = self.ticks_left.saturating_sub(1);
        if self.ticks_left == 0 {
            return Err(Overrun::Time { ms: self.limits.turn_ms_max });
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(step_aside())))
    }

    /// Why a trap of the guest's own allocator happened, if it was for want of memory.
    pub(super) fn memory_overrun(&self) -> Option<Overrun> {
        self.memory_denied.then_some(Overrun::Memory { bytes: self.limits.memory_bytes_max })
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(guests) = &self.guests {
            guests.remove(self.memory_bytes);
        }
    }
}

/// Lets everybody else have the thread first: what waits for it, and what its sockets have brought.
///
/// With wasmtime's own yield the task is at once in the queue again, and a thread whose queue is never
/// empty looks at its sockets only now and then. After tokio's it does so, but then goes on with whom
/// it woke last, which is this task; the second time those have run whom the sockets woke.
async fn step_aside() {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= size(self.limits.memory_bytes_max);
        self.memory_denied |= !fits;
        self.growth_bytes = if fits { desired.saturating_sub(current) as u64 } else { 0 };
        self.memory_bytes += self.growth_bytes;
        if let Some(guests) = &self.guests {
            guests.add(self.growth_bytes);
        }
        Ok(fits)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes -= self.growth_bytes;
        if let Some(guests) = &self.guests {
            guests.remove(self.growth_bytes);
        }
        self.growth_bytes = 0;
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rooms_have_is_counted_until_they_are_gone() {
        let guests = GuestMemory::default();
        let limits = Arc::new(Limits { memory_bytes_max: 1_000, ..Limits::default() });
        let (mut one, mut two) = (Budget::new(limits.clone()), Budget::new(limits));
        assert!(one.memory_growing(0, 100, None).unwrap());
        assert_eq!(guests.bytes(), 0);
        one.count_with(guests.clone());
        two.count_with(guests.clone());
        assert!(two.memory_growing(0, 300, None).unwrap());
        assert!(two.memory_growing(300, 500, None).unwrap());
        assert_eq!(guests.bytes(), 600);
        // What is refused, or fails, is not had.
        assert!(!one.memory_growing(100, 1_001, None).unwrap());
        assert!(one.memory_growing(100, 900, None).unwrap());
        one.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert_eq!(guests.bytes(), 600);
        drop(two);
        assert_eq!(guests.bytes(), 100);
        drop(one);
        assert_eq!(guests.bytes(), 0);
    }
}
