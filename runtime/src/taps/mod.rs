//! What passes through a room, for who watches it: messages, connections that come and go, faults. Owns who
//! watches which room.
//!
//! Invariant: a room that nobody watches pays one look at a number for each message, and none waits for a
//! watcher; a watcher's queue is bounded, and what went from it unread is counted. Watching wakes no room and
//! keeps none in memory: a watcher belongs to a room's name, so it stays while the room comes and goes. It
//! does not know when something may be said: rooms tell of it when it is.

mod passed;
mod watcher;

pub(crate) use passed::{Passed, Whom};
pub(crate) use watcher::{Batch, Tap};

use crate::clock::Clock;
use crate::event::{CloseFrame, Ending, Message};
use crate::id::{ConnectionId, RoomId, SequenceNumber};
use crate::limits::{Limits, size};
use hashbrown::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use watcher::Queue;

/// Who watches the rooms of one node. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct Taps(Arc<Inner>);

struct Inner {
    watched: Mutex<HashMap<RoomId, Vec<Arc<Queue>>>>,
    /// How many watch, whatever room.
    count: AtomicUsize,
    /// Grows whenever somebody comes or goes.
    version: AtomicU64,
    closed: AtomicBool,
    places: Arc<Semaphore>,
    watchers_max: u64,
    lines_max: usize,
    bytes_max: usize,
    batch_bytes: usize,
    excerpt_bytes: usize,
    clock: Clock,
}

/// As many watch as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TapsFull(pub(crate) u64);

/// A room's end: where it tells what passes.
pub(crate) struct RoomTap {
    taps: Taps,
    room: RoomId,
    known: Mutex<Known>,
}

/// Who watches the room, as of a version.
#[derive(Default)]
struct Known {
    version: u64,
    queues: Vec<Arc<Queue>>,
}

impl Taps {
    /// Nobody watches.
    pub(crate) fn new(limits: &Limits, clock: Clock) -> Self {
        let places = size(limits.tap_watchers_max).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            watched: Mutex::default(),
            count: AtomicUsize::new(0),
            version: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(places)),
            watchers_max: limits.tap_watchers_max,
            lines_max: size(limits.tap_lines_max),
            bytes_max: size(limits.tap_bytes_max),
            batch_bytes: size(limits.log_batch_bytes),
            excerpt_bytes: size(limits.tap_excerpt_bytes),
            clock,
        }))
    }

    /// Somebody who reads what passes through a room from here on, whether it is in memory or not.
    ///
    /// # Errors
    /// [`TapsFull`].
    pub(crate) fn watch(&self, room: RoomId) -> Result<Tap, TapsFull> {
        let place = self.0.places.clone().try_acquire_owned();
        let place = place.map_err(|_| TapsFull(self.0.watchers_max))?;
        let queue = Arc::new(Queue::new(self.0.lines_max, self.0.bytes_max));
        {
            let mut watched = self.watched();
            watched.entry(room.clone()).or_default().push(queue.clone());
            if self.0.closed.load(Ordering::Acquire) {
                queue.close();
            }
            self.changed(&watched);
        }
        Ok(Tap::new(self.clone(), room, queue, self.0.batch_bytes, place))
    }

    /// The end of a room that came into memory.
    pub(crate) fn of(&self, room: RoomId) -> RoomTap {
        RoomTap { taps: self.clone(), room, known: Mutex::default() }
    }

    /// Nothing more will pass: watchers read what is left, and end.
    pub(crate) fn close(&self) {
        let watched = self.watched();
        self.0.closed.store(true, Ordering::Release);
        watched.values().flatten().for_each(|queue| queue.close());
    }

    fn forget(&self, room: &RoomId, queue: &Arc<Queue>) {
        let mut watched = self.watched();
        if let Some(queues) = watched.get_mut(room) {
            queues.retain(|other| !Arc::ptr_eq(other, queue));
            if queues.is_empty() {
                watched.remove(room);
            }
        }
        self.changed(&watched);
    }

    /// Notes that rooms have to look again.
    fn changed(&self, watched: &HashMap<RoomId, Vec<Arc<Queue>>>) {
        self.0.count.store(watched.values().map(Vec::len).sum(), Ordering::Release);
        self.0.version.fetch_add(1, Ordering::AcqRel);
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<RoomId, Vec<Arc<Queue>>>> {
        // It is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RoomTap {
    /// False if nobody watches any room, so that there is nobody to tell anything.
    pub(crate) fn may_be_watched(&self) -> bool {
        self.taps.0.count.load(Ordering::Acquire) > 0
    }

    /// A client was let in.
    pub(crate) fn opened(&self, who: &ConnectionId) {
        self.tell(|_| Passed::opened(who));
    }

    /// A client said something, and the room is about to hear it.
    pub(crate) fn came(&self, from: &ConnectionId, message: &Message) {
        self.tell(|excerpt| Passed::came(from, message, excerpt));
    }

    /// The room has said something: what it depends on is durable.
    pub(crate) fn went(&self, number: SequenceNumber, to: Whom<'_>, message: &Message) {
        self.tell(|excerpt| Passed::went(number, to, message, excerpt));
    }

    /// Connections are ended, behind what the room said to them; without a number if that is not the room's doing.
    pub(crate) fn closed(&self, number: Option<SequenceNumber>, to: Whom<'_>, frame: &CloseFrame) {
        self.tell(|_| Passed::closed(number, to, frame));
    }

    /// A connection has ended.
    pub(crate) fn ended(&self, who: &ConnectionId, ending: &Ending) {
        self.tell(|_| Passed::ended(who, ending));
    }

    /// The guest failed at an event, which left nothing.
    pub(crate) fn failed(&self, event: &'static str, reason: &str) {
        self.tell(|excerpt| Passed::failed(event, reason, excerpt));
    }

    /// Tells who watches the room, if anybody does.
    fn tell(&self, passed: impl FnOnce(usize) -> Passed) {
        if !self.may_be_watched() {
            return;
        }
        let inner = &self.taps.0;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let version = inner.version.load(Ordering::Acquire);
        if known.version != version {
            let queues = self.taps.watched().get(&self.room).cloned();
            *known = Known { version, queues: queues.unwrap_or_default() };
        }
        if known.queues.is_empty() {
            return;
        }
        let passed = Arc::new(passed(inner.excerpt_bytes).at(inner.clock.wall_ms()));
        known.queues.iter().for_each(|queue| queue.push(passed.clone()));
    }
}

#[cfg(test)]
mod tests;
