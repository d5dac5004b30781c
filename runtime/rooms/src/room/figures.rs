//! Figures of a room that are read without asking it. Owns its counts, its turn times and its recent faults.
//!
//! Invariant: the room's actor writes, any task may read at any time, and neither waits for the other for
//! longer than a copy takes. The figures stay bounded, however often a guest fails. It does not know who
//! reads, or what the numbers are good for.

use room_core::clock::Clock;
use room_core::limits::{Limits, size};
use room_core::lock::lock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// The figures of one room that is in memory.
pub struct RoomFigures {
    /// The start from which times are counted.
    begun: Instant,
    stage: AtomicU8,
    connections: AtomicU64,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    /// When it last handled something, in nanoseconds.
    used: AtomicU64,
    /// The end of its rest after repeated faults, in nanoseconds; 0 if it never rested.
    rests_until: AtomicU64,
    times: TurnTimes,
    seldom: Mutex<DetailedFigures>,
    limits: Arc<Limits>,
}

/// The figures that are more than a number.
#[derive(Default)]
struct DetailedFigures {
    /// The running callback, and since when it runs.
    at_work: Option<(&'static str, Instant)>,
    faults: VecDeque<FaultRecord>,
    fault_bytes: usize,
    faults_total: u64,
}

/// A fault of a room's guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRecord {
    /// When it happened, in milliseconds since 1970.
    pub at_ms: u64,
    /// The name of the event that the guest handled.
    pub event: &'static str,
    /// The reason.
    pub reason: String,
    /// The guest's frames, innermost first, if it trapped.
    pub backtrace: Option<String>,
}

impl FaultRecord {
    fn bytes(&self) -> usize {
        self.reason.len() + self.backtrace.as_ref().map_or(0, String::len)
    }
}

/// The state of a room. `Asleep` is for rooms that are not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomStage {
    /// It waits for its content, or its storage is being opened.
    Activating,
    /// It has an instance.
    Running,
    /// It has no instance. Its connections, if there are any, stay, and its next event makes an instance.
    Hibernated,
    /// It failed too often and rests for a time.
    Broken,
    /// It is stored and not in memory.
    Asleep,
}

impl RoomStage {
    const ALL: [Self; 5] =
        [Self::Activating, Self::Running, Self::Hibernated, Self::Broken, Self::Asleep];

    /// Returns its name for an operator.
    pub fn name(self) -> &'static str {
        match self {
            Self::Activating => "activating",
            Self::Running => "running",
            Self::Hibernated => "hibernated",
            Self::Broken => "broken",
            Self::Asleep => "asleep",
        }
    }
}

/// A room's figures at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSnapshot {
    /// Whether it runs, rests or sleeps.
    pub stage: RoomStage,
    /// The rest of its pause, if it is broken.
    pub rests: Option<Duration>,
    /// Its open connections.
    pub connections: u64,
    /// Messages that it received since it came into memory.
    pub messages_in: u64,
    /// Messages that it has put into outboxes since. A broadcast counts once for each recipient.
    pub messages_out: u64,
    /// When it last handled something, in milliseconds since 1970.
    pub last_active_ms: u64,
    /// The running callback, and for how long it has run.
    pub at_work: Option<(&'static str, Duration)>,
    /// Faults since it came into memory.
    pub faults: u64,
    /// How long its turns took.
    pub times: TurnTimesSnapshot,
}

/// Sums over rooms that have left memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvictedTotals {
    /// Open connections.
    pub connections: u64,
    /// Messages from clients.
    pub messages_in: u64,
    /// Messages that rooms have put into outboxes.
    pub messages_out: u64,
    /// Committed turns.
    pub turns: u64,
    /// Faults of guests.
    pub faults: u64,
}

impl EvictedTotals {
    /// Adds the figures of a room.
    pub fn add(&mut self, figures: &RoomFigures) {
        self.connections += figures.connections();
        self.messages_in += figures.messages_in.load(Ordering::Relaxed);
        self.messages_out += figures.messages_out.load(Ordering::Relaxed);
        self.turns += figures.times.count();
        self.faults += figures.seldom().faults_total;
    }
}

impl RoomFigures {
    /// Makes the figures of a room that has done nothing yet.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            begun: Instant::now(),
            stage: AtomicU8::new(0),
            connections: AtomicU64::new(0),
            messages_in: AtomicU64::new(0),
            messages_out: AtomicU64::new(0),
            used: AtomicU64::new(0),
            rests_until: AtomicU64::new(0),
            times: TurnTimes::default(),
            seldom: Mutex::default(),
            limits,
        }
    }

    // For the actor.

    /// Notes that the room has come into memory, or gained or lost its instance.
    pub(super) fn note_stage(&self, stage: RoomStage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Notes the number of connections.
    pub(super) fn note_connections(&self, count: usize) {
        self.connections.store(count as u64, Ordering::Relaxed);
    }

    /// Notes that a message came.
    pub(super) fn note_received(&self) {
        add(&self.messages_in, 1);
    }

    /// Notes that the room put a message into this many outboxes.
    pub(super) fn note_sent(&self, count: u64) {
        add(&self.messages_out, count);
    }

    /// Notes that the room has handled something.
    pub(super) fn note_used(&self, at: Instant) {
        self.used.store(self.nanos(at), Ordering::Relaxed);
    }

    /// Notes that the guest starts with an event.
    pub(super) fn note_begin(&self, event: &'static str, at: Instant) {
        self.seldom().at_work = Some((event, at));
    }

    /// Notes that the guest has finished the event.
    pub(super) fn note_end(&self, took: Duration) {
        self.seldom().at_work = None;
        self.times.record(took);
    }

    /// Notes that the room rests until this time.
    pub(super) fn note_rest(&self, until: Instant) {
        self.rests_until.store(self.nanos(until), Ordering::Relaxed);
    }

    /// Notes that the room's rest is over.
    pub(super) fn note_no_rest(&self) {
        self.rests_until.store(0, Ordering::Relaxed);
    }

    /// Notes a fault of the guest. The oldest faults go when there are too many.
    pub(super) fn note_fault(&self, fault: FaultRecord) {
        let mut seldom = self.seldom();
        seldom.faults_total += 1;
        seldom.fault_bytes += fault.bytes();
        seldom.faults.push_back(fault);
        // The last fault stays in any case; its texts are bounded where they are made.
        while seldom.faults.len() > 1
            && (seldom.faults.len() > size(self.limits.fault_records_max)
                || seldom.fault_bytes > size(self.limits.fault_records_bytes_max))
        {
            let gone = seldom.faults.pop_front().map_or(0, |fault| fault.bytes());
            seldom.fault_bytes -= gone;
        }
    }

    // For any reader.

    /// Returns all figures but the faults.
    pub fn glance(&self, clock: &Clock) -> RoomSnapshot {
        let now = Instant::now();
        let (at_work, faults) = {
            let seldom = self.seldom();
            let at_work = seldom.at_work.map(|(event, at)| (event, now.duration_since(at)));
            (at_work, seldom.faults_total)
        };
        let until = Duration::from_nanos(self.rests_until.load(Ordering::Relaxed));
        let rests =
            until.checked_sub(now.duration_since(self.begun)).filter(|rest| !rest.is_zero());
        let noted = RoomStage::ALL[usize::from(self.stage.load(Ordering::Relaxed))];
        RoomSnapshot {
            stage: if rests.is_some() { RoomStage::Broken } else { noted },
            rests,
            connections: self.connections(),
            messages_in: self.messages_in.load(Ordering::Relaxed),
            messages_out: self.messages_out.load(Ordering::Relaxed),
            last_active_ms: clock.wall_ms().saturating_sub(self.quiet_ms(now)),
            at_work,
            faults,
            times: self.times.glance(),
        }
    }

    /// Returns true while the room rests because its guest failed too often.
    pub(crate) fn is_broken(&self) -> bool {
        let until = Duration::from_nanos(self.rests_until.load(Ordering::Relaxed));
        until > self.begun.elapsed()
    }

    /// Returns the number of its open connections.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns the number of messages in both directions.
    pub fn messages(&self) -> u64 {
        self.messages_in.load(Ordering::Relaxed) + self.messages_out.load(Ordering::Relaxed)
    }

    /// Returns when the room last handled something.
    pub fn used(&self) -> Instant {
        self.begun + Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// Returns for how long the room has handled nothing, in milliseconds.
    fn quiet_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.used()).as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the recent faults, the newest first.
    pub fn faults(&self) -> Vec<FaultRecord> {
        self.seldom().faults.iter().rev().cloned().collect()
    }

    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.begun).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn seldom(&self) -> MutexGuard<'_, DetailedFigures> {
        lock(&self.seldom)
    }
}

/// Adds to a count that only the room's actor writes, so that the addition needs no locked instruction.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// A histogram of turn times: a count for each doubling of a microsecond, up to a minute and more.
#[derive(Default)]
struct TurnTimes {
    counts: [AtomicU64; TurnTimes::BUCKETS],
    micros: AtomicU64,
    longest: AtomicU64,
}

/// Turn times at one moment. A percentile is the upper end of its doubling, but no more than the longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnTimesSnapshot {
    pub count: u64,
    pub mean_us: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub longest_us: u64,
}

impl TurnTimes {
    /// 2²⁶ µs are 67 s, far beyond what a turn may take.
    const BUCKETS: usize = 27;

    fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        add(&self.counts[bucket.min(Self::BUCKETS - 1)], 1);
        add(&self.micros, micros);
        self.longest.fetch_max(micros, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn glance(&self) -> TurnTimesSnapshot {
        let counts: Vec<u64> = self.counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let longest_us = self.longest.load(Ordering::Relaxed);
        let percentile = |percent: u64| {
            let (rank, mut seen) = ((count * percent).div_ceil(100), 0);
            let bucket = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            (1 << bucket.unwrap_or_default()).min(longest_us)
        };
        TurnTimesSnapshot {
            count,
            mean_us: self.micros.load(Ordering::Relaxed) / count.max(1),
            p50_us: percentile(50),
            p99_us: percentile(99),
            longest_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(bytes: usize) -> FaultRecord {
        let reason = "x".repeat(bytes);
        FaultRecord { at_ms: 1, event: "message", reason, backtrace: None }
    }

    fn figures(records: u64, bytes: u64) -> RoomFigures {
        let limits = Limits {
            fault_records_max: records,
            fault_records_bytes_max: bytes,
            ..Limits::default()
        };
        RoomFigures::new(Arc::new(limits))
    }

    #[test]
    fn the_newest_faults_are_kept_within_their_bounds() {
        let lengths = |figures: &RoomFigures| -> Vec<usize> {
            figures.faults().iter().map(FaultRecord::bytes).collect()
        };
        let by_count = figures(2, 1_000);
        (1..=4).for_each(|bytes| by_count.note_fault(fault(bytes)));
        assert_eq!(lengths(&by_count), [4, 3]);
        let by_bytes = figures(9, 10);
        [4, 4, 4, 50].into_iter().for_each(|bytes| by_bytes.note_fault(fault(bytes)));
        assert_eq!(lengths(&by_bytes), [50]);
        by_bytes.note_fault(fault(3));
        assert_eq!(lengths(&by_bytes), [3]);
        assert_eq!(by_bytes.glance(&Clock::system()).faults, 5);
    }

    #[test]
    fn turn_times_are_reported_within_a_factor_of_two() {
        let times = TurnTimes::default();
        assert_eq!(times.glance(), TurnTimesSnapshot::default());
        (0..98).for_each(|_| times.record(Duration::from_micros(100)));
        times.record(Duration::from_millis(50));
        times.record(Duration::from_secs(3_600));
        let glance = times.glance();
        assert_eq!((glance.count, glance.p50_us, glance.p99_us), (100, 128, 65_536));
        assert_eq!(glance.longest_us, 3_600_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_ends_and_activity_is_measured_by_the_clock() {
        let (figures, clock) = (figures(1, 1), Clock::system());
        assert_eq!(figures.glance(&clock).stage, RoomStage::Activating);
        figures.note_stage(RoomStage::Hibernated);
        figures.note_rest(Instant::now() + Duration::from_secs(5));
        figures.note_used(Instant::now());
        let used = figures.glance(&clock).last_active_ms;
        let glance = figures.glance(&clock);
        assert_eq!((glance.stage, glance.rests), (RoomStage::Broken, Some(Duration::from_secs(5))));
        tokio::time::advance(Duration::from_secs(6)).await;
        let glance = figures.glance(&clock);
        assert_eq!((glance.stage, glance.rests), (RoomStage::Hibernated, None));
        assert!(glance.last_active_ms.abs_diff(used) <= 1);
    }
}
