//! The budget of one turn, and the memory of all rooms. Owns the counting of time and memory.
//!
//! Invariant: a guest that computes reaches the end of its budget, whatever it does; a guest's memory is
//! counted until it is gone. It does not know what the guest is.

use crate::fault::Overrun;
use room_core::limits::fixed::TABLE_ELEMENTS_MAX;
use room_core::limits::{Limits, size};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::{ResourceLimiter, UpdateDeadline};

/// The count of the guests' linear memories, of a project's rooms and of all rooms of the process. Clones are
/// the same count.
#[derive(Clone, Debug, Default)]
pub struct GuestMemory {
    own: Arc<AtomicU64>,
    all: Arc<AtomicU64>,
}

impl GuestMemory {
    /// Makes the count of another project, which has no memory yet.
    pub fn of_another_project(&self) -> Self {
        Self { own: Arc::default(), all: self.all.clone() }
    }

    /// Returns the bytes of the project's rooms. Good enough for a decision, and exact when no memory grows.
    pub fn bytes(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    /// Returns the bytes of the rooms of all projects.
    pub fn all_bytes(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// Counts bytes that a room's guest has got.
    pub fn add(&self, bytes: u64) {
        self.own.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that a room's guest has given back.
    pub fn remove(&self, bytes: u64) {
        self.own.fetch_sub(bytes, Ordering::Relaxed);
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Time and memory of one instance.
pub(super) struct Budget {
    limits: Arc<Limits>,
    ticks_left: u64,
    /// Set when the last growth was denied, because the guest will only show a trap of its allocator.
    memory_denied: bool,
    /// This instance's share of the guests' memory.
    memory_bytes: u64,
    /// The last growth, which is subtracted again if it fails after all.
    growth_bytes: u64,
    /// The count that includes it; `None` for a hook at the door: few of them run at a time.
    guests: Option<GuestMemory>,
}

impl Budget {
    /// Makes the budget of an instance that has no memory yet.
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

    /// Adds this instance's present and future memory to a count.
    pub(super) fn count_with(&mut self, guests: GuestMemory) {
        guests.add(self.memory_bytes);
        self.guests = Some(guests);
    }

    /// Renews the budget for another turn.
    pub(super) fn start_turn(&mut self) {
        self.ticks_left = self.limits.turn_ms_max.div_ceil(self.limits.tick_ms);
        self.memory_denied = false;
    }

    /// Uses up one tick: the guest yields its thread and continues, or is stopped.
    ///
    /// Ticks are counted while the guest runs, so time in which other tasks had the thread does not count.
    pub(super) fn tick(&mut self) -> Result<UpdateDeadline, Overrun> {
        self.ticks_left = self.ticks_left.saturating_sub(1);
        if self.ticks_left == 0 {
            return Err(Overrun::Time { ms: self.limits.turn_ms_max });
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(step_aside())))
    }

    /// Returns the overrun that caused a trap of the guest's own allocator, if memory was denied.
    pub(super) fn memory_overrun(&self) -> Option<Overrun> {
        self.memory_denied.then_some(Overrun::Memory { bytes: self.limits.memory_bytes_max })
    }

    /// Returns the bytes of the instance's linear memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
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

/// Lets the other tasks of the thread run first, and those that its sockets wake.
///
/// wasmtime's own yield puts the task into the queue again at once, and a thread whose queue is never empty
/// looks at its sockets only now and then. After tokio's yield the thread looks at them, but continues with
/// the task that it woke last, which is this one. After the second yield, the tasks that the sockets woke
/// have run.
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
    fn guest_memory_is_counted_until_the_instance_is_dropped() {
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
        // Memory that is refused, or whose growth fails, is not counted.
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
