//! A watcher of a room. Owns the queue of events that it has not read.
//!
//! Invariant: every event is read or counted as missed, once and in order. The queue never exceeds its bounds, and
//! drops the oldest first. It does not know where the events go.

use super::passed::TapEvent;
use super::{RoomId, Taps};
use room_core::lock::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// The events that wait for one watcher.
pub(super) struct TapQueue {
    waiting: Mutex<WaitingEvents>,
    filled: Notify,
    lines_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct WaitingEvents {
    passed: VecDeque<Arc<TapEvent>>,
    bytes: usize,
    missed: u64,
    closed: bool,
}

/// The events of one read.
#[derive(Debug, PartialEq, Eq)]
pub struct TapBatch {
    /// The number of events before these that were dropped.
    pub missed: u64,
    /// The events, in order.
    pub passed: Vec<Arc<TapEvent>>,
}

/// A watcher. Dropping it frees its place.
pub struct Tap {
    taps: Taps,
    room: RoomId,
    queue: Arc<TapQueue>,
    batch_bytes: usize,
    _place: OwnedSemaphorePermit,
}

impl TapQueue {
    pub(super) fn new(lines_max: usize, bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), lines_max, bytes_max }
    }

    pub(super) fn push(&self, passed: Arc<TapEvent>) {
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

    fn waiting(&self) -> MutexGuard<'_, WaitingEvents> {
        lock(&self.waiting)
    }
}

impl Tap {
    pub(super) fn new(
        taps: Taps,
        room: RoomId,
        queue: Arc<TapQueue>,
        batch_bytes: usize,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { taps, room, queue, batch_bytes, _place: place }
    }

    /// Returns the next events, at most [`room_core::Limits::log_batch_bytes`] at once. Returns `None` if no event waits.
    pub fn read(&mut self) -> Option<TapBatch> {
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
        Some(TapBatch { missed, passed })
    }

    /// Waits until there is something to read. Returns false if the taps have ended.
    ///
    /// # Cancel safety
    /// If dropped before it returns, nothing is lost.
    pub async fn wait(&self) -> bool {
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
        // A quiet room may hold the queue for a long time, so its memory is freed now.
        let waiting = std::mem::take(&mut *self.queue.waiting());
        drop(waiting);
    }
}
