//! Somebody who watches a room. Owns what waits to be read by them.
//!
//! Invariant: what passed is read, or counted as missed, once and in order; the queue never takes more than
//! its bounds, and the oldest goes first. It does not know where it goes.

use super::passed::Passed;
use super::{RoomId, Taps};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// What waits for one watcher.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
    lines_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    passed: VecDeque<Arc<Passed>>,
    bytes: usize,
    missed: u64,
    closed: bool,
}

/// What is read at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// How much had passed before it that is gone.
    pub(crate) missed: u64,
    /// In order.
    pub(crate) passed: Vec<Arc<Passed>>,
}

/// A watcher. Dropped, it gives up its place.
pub(crate) struct Tap {
    taps: Taps,
    room: RoomId,
    queue: Arc<Queue>,
    batch_bytes: usize,
    _place: OwnedSemaphorePermit,
}

impl Queue {
    pub(super) fn new(lines_max: usize, bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), lines_max, bytes_max }
    }

    pub(super) fn push(&self, passed: Arc<Passed>) {
        let mut waiting = self.waiting();
        waiting.bytes += passed.size();
        waiting.passed.push_back(passed);
        while waiting.bytes > self.bytes_max || waiting.passed.len() > self.lines_max {
            let Some(oldest) = waiting.passed.pop_front() else { break };
            waiting.bytes -= oldest.size();
            waiting.missed += 1;
        }
        drop(waiting);
        self.filled.notify_one();
    }

    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.filled.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // It is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap {
    pub(super) fn new(
        taps: Taps,
        room: RoomId,
        queue: Arc<Queue>,
        batch_bytes: usize,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { taps, room, queue, batch_bytes, _place: place }
    }

    /// What waits, no more than [`crate::Limits::log_batch_bytes`] at once; none if nothing does.
    pub(crate) fn read(&mut self) -> Option<Batch> {
        let mut waiting = self.queue.waiting();
        if waiting.passed.is_empty() && waiting.missed == 0 {
            return None;
        }
        let (missed, mut bytes, mut passed) = (std::mem::take(&mut waiting.missed), 0, Vec::new());
        while let Some(next) = waiting.passed.front() {
            bytes += next.size();
            if bytes > self.batch_bytes && !passed.is_empty() {
                break;
            }
            passed.extend(waiting.passed.pop_front());
        }
        waiting.bytes -= passed.iter().map(|passed| passed.size()).sum::<usize>();
        Some(Batch { missed, passed })
    }

    /// Waits until there is something to read. False if there will be nothing more.
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped.
    pub(crate) async fn wait(&self) -> bool {
        loop {
            {
                let waiting = self.queue.waiting();
                if !waiting.passed.is_empty() || waiting.missed > 0 {
                    return true;
                }
                if waiting.closed {
                    return false;
                }
            }
            self.queue.filled.notified().await;
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.taps.forget(&self.room, &self.queue);
        // A room that is quiet may hold the queue for long.
        let waiting = std::mem::take(&mut *self.queue.waiting());
        drop(waiting);
    }
}
