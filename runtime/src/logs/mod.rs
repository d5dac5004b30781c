//! The newest lines of a node's log, for who watches it. Owns what is kept of them, and who may watch.
//!
//! Invariant: what is kept is bounded, however much is logged and however many watch: lines lie once in
//! one ring, and a watcher is a place in it. Whatever a watcher did not get because it was gone before it
//! was read, it is told how many lines that were. No line has a character in it that steers a terminal,
//! and a guest's line is one line. Each node has its own log, also where several share a process. It does
//! not know who watches, or how lines travel; the process's own log (`tracing`) has them besides.
//!
//! A line costs its writer one allocation for its text, one for itself, and a short lock, whether somebody
//! watches or not.

mod escape;
mod filter;
mod line;
mod ring;
mod watcher;

pub(crate) use escape::one_line;
pub(crate) use filter::{Glob, LogFilter};
pub(crate) use line::{LogKind, LogLevel, LogLine};
pub(crate) use watcher::{Begin, Seen, Watcher};

use crate::clock::Clock;
use crate::id::RoomId;
use crate::limits::{Limits, size};
use ring::Ring;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore};

/// The log of one node. Cheap to clone; clones are the same log.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    /// Whose log it is; empty if there is only one.
    project: Box<str>,
    ring: Mutex<Ring>,
    /// Told of each line, and of the end.
    changed: Notify,
    clock: Clock,
    places: Arc<Semaphore>,
    watchers_max: u64,
    batch_bytes: usize,
}

/// As many watch as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany(pub(crate) u64);

impl Logs {
    /// A log with nothing in it, of no project.
    #[cfg(test)]
    pub(crate) fn new(limits: &Limits, clock: Clock) -> Self {
        Self::of(limits, clock, "")
    }

    /// A log with nothing in it. Its first line gets the microseconds since 1970 as its number, so that
    /// the numbers of a node that is started again are higher, and told from those before. A process may
    /// have a log for each of several projects; the name is empty if it has one.
    pub(crate) fn of(limits: &Limits, clock: Clock, project: &str) -> Self {
        let first = u64::try_from(clock.wall().as_micros()).unwrap_or(u64::MAX / 2);
        let ring = Ring::new(first, size(limits.log_ring_lines), size(limits.log_ring_bytes));
        let places = size(limits.log_watchers_max).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            project: project.into(),
            ring: Mutex::new(ring),
            changed: Notify::new(),
            clock,
            places: Arc::new(Semaphore::new(places)),
            watchers_max: limits.log_watchers_max,
            batch_bytes: size(limits.log_batch_bytes),
        }))
    }

    /// Whose log it is, for the log of the whole process; empty if there is only one.
    pub(crate) fn project(&self) -> &str {
        &self.0.project
    }

    /// Keeps a line that a guest wrote.
    pub(crate) fn guest(&self, level: LogLevel, room: &RoomId, text: &str) {
        let text = escape::one_line(text);
        self.keep(level, LogKind::Guest, Some(room.clone()), text.into());
    }

    /// Keeps what the platform has to say about a room. The text may have line breaks.
    pub(crate) fn room(&self, level: LogLevel, room: &RoomId, text: &str) {
        let text = escape::lines(text);
        self.keep(level, LogKind::Platform, Some(room.clone()), text.into());
    }

    /// Keeps what the platform has to say about the node. The text may have line breaks.
    pub(crate) fn node(&self, level: LogLevel, text: &str) {
        self.keep(level, LogKind::Platform, None, escape::lines(text).into());
    }

    fn keep(&self, level: LogLevel, kind: LogKind, room: Option<RoomId>, text: Box<str>) {
        let time_ms = self.0.clock.wall_ms();
        self.ring().push(|seq| Arc::new(LogLine { seq, time_ms, level, kind, room, text }));
        self.0.changed.notify_waiters();
    }

    /// Somebody who reads the lines that this filter lets through, from here on.
    ///
    /// # Errors
    /// [`TooMany`].
    pub(crate) fn watch(&self, begin: Begin, filter: LogFilter) -> Result<Watcher, TooMany> {
        let place = self.0.places.clone().try_acquire_owned();
        let place = place.map_err(|_| TooMany(self.0.watchers_max))?;
        Ok(Watcher::new(self.clone(), begin, filter, place))
    }

    /// Nothing more will be logged: watchers read what is left, and end.
    pub(crate) fn close(&self) {
        self.ring().close();
        self.0.changed.notify_waiters();
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // It is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
