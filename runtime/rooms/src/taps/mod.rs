//! The traffic of a room, for operators who watch it: messages, connections that open and close, faults. Owns who
//! watches which room.
//!
//! Invariant: a room that nobody watches reads one number for each message, and no room waits for a watcher. A
//! watcher's queue is bounded, and the entries that it dropped unread are counted. Watching wakes no room and keeps no
//! room in memory: a watcher belongs to a room's name, so it stays while the room is evicted and activated again. It
//! does not know when an output may be shown: rooms report an output once it is durable.

mod passed;
mod watcher;

pub use passed::{OutputReceivers, TapEvent};
pub use watcher::{Tap, TapBatch};

use hashbrown::HashMap;
use room_core::clock::Clock;
use room_core::event::{CloseFrame, Ending, Message};
use room_core::id::{ConnectionId, RoomId, SequenceNumber};
use room_core::limits::{Limits, size};
use room_core::lock::lock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Semaphore;
use watcher::TapQueue;

/// The watchers of one node's rooms. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Taps(Arc<TapsInner>);

struct TapsInner {
    watched: Mutex<HashMap<RoomId, Vec<Arc<TapQueue>>>>,
    /// The number of watchers of all rooms.
    count: AtomicUsize,
    /// Grows whenever a watcher comes or goes.
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

/// There are as many watchers as the limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapsFull(pub u64);

/// A room's end of its taps: the room reports here what passes.
pub struct RoomTap {
    taps: Taps,
    room: RoomId,
    known: Mutex<KnownWatchers>,
}

/// The watchers of the room, as of a version.
#[derive(Default)]
struct KnownWatchers {
    version: u64,
    queues: Vec<Arc<TapQueue>>,
}

impl Taps {
    /// Starts without watchers.
    pub fn new(limits: &Limits, clock: Clock) -> Self {
        let places = size(limits.tap_watchers_max).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(TapsInner {
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

    /// Returns a watcher of what passes through a room from now on, whether the room is in memory or not.
    ///
    /// # Errors
    /// [`TapsFull`].
    pub fn watch(&self, room: RoomId) -> Result<Tap, TapsFull> {
        let place = self.0.places.clone().try_acquire_owned();
        let place = place.map_err(|_| TapsFull(self.0.watchers_max))?;
        let queue = Arc::new(TapQueue::new(self.0.lines_max, self.0.bytes_max));
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

    /// Returns the end of a room that was activated.
    pub fn of(&self, room: RoomId) -> RoomTap {
        RoomTap { taps: self.clone(), room, known: Mutex::default() }
    }

    /// Ends all taps. Watchers read the remaining messages, and end.
    pub fn close(&self) {
        let watched = self.watched();
        self.0.closed.store(true, Ordering::Release);
        watched.values().flatten().for_each(|queue| queue.close());
    }

    fn forget(&self, room: &RoomId, queue: &Arc<TapQueue>) {
        let mut watched = self.watched();
        if let Some(queues) = watched.get_mut(room) {
            queues.retain(|other| !Arc::ptr_eq(other, queue));
            if queues.is_empty() {
                watched.remove(room);
            }
        }
        self.changed(&watched);
    }

    /// Notes that the watchers changed, so that rooms read them again.
    fn changed(&self, watched: &HashMap<RoomId, Vec<Arc<TapQueue>>>) {
        self.0.count.store(watched.values().map(Vec::len).sum(), Ordering::Release);
        self.0.version.fetch_add(1, Ordering::AcqRel);
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<RoomId, Vec<Arc<TapQueue>>>> {
        lock(&self.0.watched)
    }
}

impl RoomTap {
    /// Returns false if nobody watches any room, so that nothing needs to be reported.
    pub(crate) fn may_be_watched(&self) -> bool {
        self.taps.0.count.load(Ordering::Acquire) > 0
    }

    /// Reports that a client was admitted.
    pub fn opened(&self, who: &ConnectionId) {
        self.tell(|_| TapEvent::opened(who));
    }

    /// Reports a client's message, before the room handles it.
    pub fn came(&self, from: &ConnectionId, message: &Message) {
        self.tell(|excerpt| TapEvent::came(from, message, excerpt));
    }

    /// Reports a room's message, once the commits that it depends on are durable.
    pub fn went(&self, number: SequenceNumber, to: OutputReceivers<'_>, message: &Message) {
        self.tell(|excerpt| TapEvent::went(number, to, message, excerpt));
    }

    /// Reports that connections are closed, after the messages that the room sent to them. There is no number if the
    /// room did not close them.
    pub fn closed(
        &self,
        number: Option<SequenceNumber>,
        to: OutputReceivers<'_>,
        frame: &CloseFrame,
    ) {
        self.tell(|_| TapEvent::closed(number, to, frame));
    }

    /// Reports that a connection has ended.
    pub fn ended(&self, who: &ConnectionId, ending: &Ending) {
        self.tell(|_| TapEvent::ended(who, ending));
    }

    /// Reports that the guest failed at an event. The event left no effects.
    pub fn failed(&self, event: &'static str, reason: &str) {
        self.tell(|excerpt| TapEvent::failed(event, reason, excerpt));
    }

    /// Adds an entry to the queue of each watcher of the room.
    fn tell(&self, passed: impl FnOnce(usize) -> TapEvent) {
        if !self.may_be_watched() {
            return;
        }
        let inner = &self.taps.0;
        let mut known = lock(&self.known);
        let version = inner.version.load(Ordering::Acquire);
        if known.version != version {
            let queues = self.taps.watched().get(&self.room).cloned();
            *known = KnownWatchers { version, queues: queues.unwrap_or_default() };
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
