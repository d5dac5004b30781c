//! The number of stored rooms. Owns when they are counted.
//!
//! Invariant: at most one count runs at a time, in steps, and counting takes at most a tenth of the time, however often
//! the number is requested. It does not know who requests it.

use crate::{Operator, OperatorError};
use room_core::limits::{ms, size};
use room_store::RoomSpan;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The last count.
#[derive(Clone, Copy, Debug)]
pub struct StoredCount {
    /// The number of rooms for which something is stored.
    pub rooms: u64,
    /// The bytes of all their keys and values.
    pub bytes: u64,
    /// When the count ended.
    pub at: Instant,
    took: Duration,
}

/// The last count, and whether the next one is running.
pub(super) struct StoredCounter(watch::Sender<CountState>);

#[derive(Clone, Copy, Default)]
struct CountState {
    last: Option<StoredCount>,
    counts: bool,
}

impl StoredCounter {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(CountState::default()))
    }
}

impl Operator {
    /// Returns the number of stored rooms, or `None` if no count has succeeded yet. If the last count is too old,
    /// starts another one, and waits for it for at most `inspect_ms_max`.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the count continues all the same.
    pub async fn stored(&self) -> Option<StoredCount> {
        let counting = &self.0.counting.0;
        let mut begins = false;
        counting.send_if_modified(|state| {
            begins = !state.counts && !state.last.is_some_and(|last| self.is_fresh(&last));
            state.counts |= begins;
            false
        });
        if begins {
            let this = self.clone();
            self.0.tasks.spawn(async move {
                let counted = this.count().await;
                this.0.counting.0.send_modify(|state| {
                    // After a failed count the last result stays, and the next call counts again.
                    *state = CountState { last: counted.ok().or(state.last), counts: false };
                });
            });
        }
        let mut changes = counting.subscribe();
        let done = changes.wait_for(|state| !state.counts);
        // If the count takes too long, the last result is returned.
        if tokio::time::timeout(ms(self.0.limits.inspect_ms_max), done).await.is_err() {
            tracing::debug!("the stored rooms are still being counted");
        }
        counting.borrow().last
    }

    fn is_fresh(&self, last: &StoredCount) -> bool {
        last.at.elapsed() < ms(self.0.limits.stored_count_ms).max(last.took * 10)
    }

    async fn count(&self) -> Result<StoredCount, OperatorError> {
        let _place = self.scan().await?;
        let (begun, limit) = (Instant::now(), self.0.limits.admin_scan_ms_max);
        let step = size(self.0.limits.admin_scan_rooms_max);
        let (mut rooms, mut bytes, mut span) = (0, 0, RoomSpan::default());
        loop {
            let stored = self.0.store.rooms(span.clone(), step).await?;
            rooms += stored.len() as u64;
            bytes += stored.iter().map(|(_, facts)| facts.bytes).sum::<u64>();
            if stored.len() < step {
                return Ok(StoredCount { rooms, bytes, at: Instant::now(), took: begun.elapsed() });
            }
            span.after = stored.last().map(|(room, _)| room.clone());
            if self.0.tasks.is_closed() || begun.elapsed() > ms(limit) {
                return Err(OperatorError::ScanTooLong(limit));
            }
        }
    }
}
