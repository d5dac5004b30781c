//! A reader of the log. Owns its position.
//!
//! Invariant: every line is read or counted as missed, once and in order. The memory of a watcher does not grow with
//! the log: it is a number, and one batch while that is handed over. It does not know where the lines go.

use super::filter::LogFilter;
use super::line::LogLine;
use super::{Logs, ring::LogBatch};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Where a watcher starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchStart {
    /// With the oldest line that is kept.
    Oldest,
    /// With the last lines that its filter lets through, at most this many.
    Tail(usize),
    /// Behind the line with this number.
    After(u64),
}

/// What a watcher reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchedLines {
    /// The number after which the watcher started is of an earlier start of this node. It now reads this start from the
    /// beginning.
    Restarted,
    /// Lines that were dropped before the watcher read them, counted without regard to its filter.
    Missed {
        /// The number of lines.
        count: u64,
        /// The number of the last one.
        last: u64,
    },
    /// A line.
    Line(Arc<LogLine>),
}

/// A reader of the log. Dropping it frees its place.
pub struct Watcher {
    logs: Logs,
    filter: LogFilter,
    /// The number of the next line to be read.
    next: u64,
    /// True until the first read, which reports the restart.
    is_restarted: bool,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    pub(super) fn new(
        logs: Logs,
        begin: WatchStart,
        filter: LogFilter,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let (next, is_restarted) = match begin {
            WatchStart::Oldest => (logs.ring().oldest(), false),
            WatchStart::Tail(count) => (tail(&logs, count, &filter), false),
            WatchStart::After(seq) => {
                let (ring, next) = (logs.ring(), seq.saturating_add(1));
                if ring.knows(next) { (next, false) } else { (ring.first(), true) }
            }
        };
        Self { logs, filter, next, is_restarted, _place: place }
    }

    /// Returns the next batch, or `None` if there are no new lines. Lines that the filter drops count as read, so the
    /// batch may be empty. A batch has at most [`crate::Limits::log_batch_bytes`].
    pub fn read(&mut self) -> Option<Vec<WatchedLines>> {
        let is_restarted = std::mem::take(&mut self.is_restarted);
        let LogBatch { missed, lines, next } =
            self.logs.ring().read(self.next, self.logs.0.batch_bytes);
        if next == self.next && !is_restarted {
            return None;
        }
        let first = next - lines.len() as u64;
        self.next = next;
        let restarted = is_restarted.then_some(WatchedLines::Restarted);
        let missed =
            (missed > 0).then_some(WatchedLines::Missed { count: missed, last: first - 1 });
        let lines =
            lines.into_iter().filter(|line| self.filter.matches(line)).map(WatchedLines::Line);
        Some(restarted.into_iter().chain(missed).chain(lines).collect())
    }

    /// Returns true if the next read reports a restart.
    pub fn is_restarted(&self) -> bool {
        self.is_restarted
    }

    /// Returns the number of the last line that was read or missed. A reader that resumes later resumes after it.
    pub fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Waits until there is more to read. Returns false if the log has ended.
    ///
    /// # Cancel safety
    /// If dropped before it returns, nothing is lost.
    pub async fn wait(&self) -> bool {
        let mut changed = pin!(self.logs.0.changed.notified());
        // Enabled before the check, so that no line in between is missed.
        loop {
            changed.as_mut().enable();
            {
                let ring = self.logs.ring();
                if ring.next() > self.next {
                    return true;
                }
                if ring.is_closed() {
                    return false;
                }
            }
            changed.as_mut().await;
            changed.set(self.logs.0.changed.notified());
        }
    }
}

/// Returns the number at which the last `count` lines that a filter lets through start. The lines are filtered without
/// the lock.
fn tail(logs: &Logs, count: usize, filter: &LogFilter) -> u64 {
    let (lines, end) = {
        let ring = logs.ring();
        (ring.all(), ring.next())
    };
    let wanted = lines.iter().rev().filter(|line| filter.matches(line)).take(count);
    wanted.last().map_or(end, |line| line.seq)
}
