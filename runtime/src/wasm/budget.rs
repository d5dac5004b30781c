//! How much one turn may use. Owns the counting of time and memory.
//!
//! Invariant: a guest that computes meets the end of its budget, whatever it does. It does not know
//! what the guest is.

use super::fault::Overrun;
use crate::limits::{Limits, size};
use std::sync::Arc;
use wasmtime::{ResourceLimiter, UpdateDeadline};

/// Time and memory of one instance.
pub(super) struct Budget {
    limits: Arc<Limits>,
    ticks_left: u64,
    /// Set when the last growth was denied, as the guest will only show a trap of its allocator.
    memory_denied: bool,
}

impl Budget {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self { limits, ticks_left: 0, memory_denied: false }
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
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= size(self.limits.memory_bytes_max);
        self.memory_denied |= !fits;
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= super::engine::TABLE_ELEMENTS_MAX)
    }
}
