//! Somebody who reads the log. Owns how far they are.
//!
//! Invariant: every line is read, or counted as missed, once and in order. What a watcher takes in memory
//! does not grow with what is logged: it is a number, and a batch while it is handed over. It does not know
//! where the lines go.

use super::filter::LogFilter;
use super::line::LogLine;
use super::{Logs, ring::Batch};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Where a watcher begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the oldest line that is kept.
    Oldest,
    /// With the last so many lines that its filter lets through.
    Tail(usize),
    /// Behind the line with this number.
    After(u64),
}

/// What a watcher gets to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// What it read before was another start of this node. From here on it is this one, from its beginning.
    Restarted,
    /// So many lines are gone that it had not read, whatever its filter would have made of them.
    Missed {
        /// How many.
        count: u64,
        /// The number of the last one of them.
        last: u64,
    },
    /// A line.
    Line(Arc<LogLine>),
}

/// A reader of the log. Dropped, it gives up its place.
pub(crate) struct Watcher {
    logs: Logs,
    filter: LogFilter,
    /// The number of the next line to be read.
    next: u64,
    /// Its first reading tells that it begins anew.
    begins_anew: bool,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    pub(super) fn new(
        logs: Logs,
        begin: Begin,
        filter: LogFilter,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let (next, begins_anew) = match begin {
            Begin::Oldest => (logs.ring().oldest(), false),
            Begin::Tail(count) => (tail(&logs, count, &filter), false),
            Begin::After(seq) => {
                let (ring, next) = (logs.ring(), seq.saturating_add(1));
                if ring.knows(next) { (next, false) } else { (ring.first(), true) }
            }
        };
        Self { logs, filter, next, begins_anew, _place: place }
    }

    /// What there is to see; none if nothing is new. What the filter does not let through is read as well,
    /// so there may be nothing in it. No more than [`crate::Limits::log_batch_bytes`] at once.
    pub(crate) fn read(&mut self) -> Option<Vec<Seen>> {
        let begins_anew = std::mem::take(&mut self.begins_anew);
        let Batch { missed, lines, next } =
            self.logs.ring().read(self.next, self.logs.0.batch_bytes);
        if next == self.next && !begins_anew {
            return None;
        }
        let first = next - lines.len() as u64;
        self.next = next;
        let anew = begins_anew.then_some(Seen::Restarted);
        let missed = (missed > 0).then_some(Seen::Missed { count: missed, last: first - 1 });
        let lines = lines.into_iter().filter(|line| self.filter.matches(line)).map(Seen::Line);
        Some(anew.into_iter().chain(missed).chain(lines).collect())
    }

    /// True if it has yet to tell that it begins anew.
    pub(crate) fn begins_anew(&self) -> bool {
        self.begins_anew
    }

    /// The number of the last line that was read or missed: whoever goes on later goes on behind it.
    pub(crate) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Waits until there is more to read. False if there will be nothing more.
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped.
    pub(crate) async fn wait(&self) -> bool {
        let mut changed = pin!(self.logs.0.changed.notified());
        // Before the look, so that nothing comes in between unseen.
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

/// Where the last so many lines begin that a filter lets through. The lines are looked at without the lock.
fn tail(logs: &Logs, count: usize, filter: &LogFilter) -> u64 {
    let (lines, end) = {
        let ring = logs.ring();
        (ring.all(), ring.next())
    };
    let wanted = lines.iter().rev().filter(|line| filter.matches(line)).take(count);
    wanted.last().map_or(end, |line| line.seq)
}
