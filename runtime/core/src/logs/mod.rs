//! The newest lines of a node's log, for operators who watch it. Owns the kept lines, and who may watch them.
//!
//! Invariant: the kept lines are bounded, however much is logged and however many watch. All lines are in one ring, and
//! a watcher is a position in it. A watcher gets the count of the lines that were dropped before it read them. No line
//! has a character that steers a terminal, and a guest's line is one line. Each node has its own log, also where
//! several nodes share a process. The process's own log (`tracing`) gets every line, too, by the same call. It does not
//! know watchers or how lines travel.
//!
//! A line costs its writer one allocation for its text, one for the line, and a short lock, whether somebody watches or
//! not.

mod escape;
mod filter;
mod line;
mod report;
mod ring;
mod watcher;

pub use filter::{Glob, LogFilter};
pub use line::{LogKind, LogLevel, LogLine};
pub use report::RoomLog;
pub use watcher::{WatchStart, WatchedLines, Watcher};

use crate::clock::Clock;
use crate::id::RoomId;
use crate::limits::{Limits, size};
use crate::lock::lock;
use ring::LogRing;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, Semaphore};

/// The log of one node. Cheap to clone; clones share the lines.
#[derive(Clone)]
pub struct Logs(Arc<LogsInner>);

struct LogsInner {
    /// The project whose log it is; empty if the process has only one.
    project: Box<str>,
    ring: Mutex<LogRing>,
    /// Notified of each line, and of the end.
    changed: Notify,
    clock: Clock,
    places: Arc<Semaphore>,
    watchers_max: u64,
    batch_bytes: usize,
}

/// There are as many watchers as the limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany(pub u64);

impl Logs {
    /// Returns an empty log of no project.
    #[cfg(any(test, feature = "testing"))]
    pub fn new(limits: &Limits, clock: Clock) -> Self {
        Self::of(limits, clock, "")
    }

    /// Returns an empty log. Its first line is numbered with the microseconds since 1970. So the numbers of a restarted
    /// node are higher, and differ from those of the start before. A process with several projects has a log for each;
    /// the name is empty if there is only one.
    pub fn of(limits: &Limits, clock: Clock, project: &str) -> Self {
        let first = u64::try_from(clock.wall().as_micros()).unwrap_or(u64::MAX / 2);
        let ring = LogRing::new(first, size(limits.log_ring_lines), size(limits.log_ring_bytes));
        let places = size(limits.log_watchers_max).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(LogsInner {
            project: project.into(),
            ring: Mutex::new(ring),
            changed: Notify::new(),
            clock,
            places: Arc::new(Semaphore::new(places)),
            watchers_max: limits.log_watchers_max,
            batch_bytes: size(limits.log_batch_bytes),
        }))
    }

    /// Returns the project whose log it is, for the log of the whole process; empty if there is only one.
    pub fn project(&self) -> &str {
        &self.0.project
    }

    fn keep(&self, level: LogLevel, kind: LogKind, room: Option<RoomId>, text: Box<str>) {
        let time_ms = self.0.clock.wall_ms();
        self.ring().push(|seq| Arc::new(LogLine { seq, time_ms, level, kind, room, text }));
        self.0.changed.notify_waiters();
    }

    /// Returns a watcher that reads the lines that this filter lets through, starting at `begin`.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn watch(&self, begin: WatchStart, filter: LogFilter) -> Result<Watcher, TooMany> {
        let place = self.0.places.clone().try_acquire_owned();
        let place = place.map_err(|_| TooMany(self.0.watchers_max))?;
        Ok(Watcher::new(self.clone(), begin, filter, place))
    }

    /// Ends the log. Watchers read the lines that are left, and end.
    pub fn close(&self) {
        self.ring().close();
        self.0.changed.notify_waiters();
    }

    fn ring(&self) -> MutexGuard<'_, LogRing> {
        lock(&self.0.ring)
    }
}

#[cfg(test)]
mod tests;
