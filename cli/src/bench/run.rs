//! One run: its clock, the time in which things count, and the messages that still have to come back.
//!
//! Owns the order of a run: warm up, measure, stop sending, wait for what is out. Invariant: nothing new is sent
//! behind the window's end, and every wait has a limit. It does not know what is sent.

use super::check::{Came, Check};
use super::figures::{Latency, count};
use super::link::BenchLink;
use super::pace::{Pacer, Schedule};
use crate::dev::Stop;
use crate::print;
use anyhow::Context as _;
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Due messages that are sent before the run reads answers.
const BURST: usize = 64;
/// The number of times progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(250);
/// The longest latency that is distinguished from longer ones.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// How long a run takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunLength {
    /// Time before anything counts.
    pub(crate) warm_up: Duration,
    /// Time in which things count.
    pub(crate) measured: Duration,
    /// Time for messages on their way to come back.
    pub(crate) patience: Duration,
}

/// The state that all parts of a run share.
pub(crate) struct Run {
    epoch: Instant,
    from: u64,
    until: Cell<u64>,
    /// Messages that were sent and have not come back.
    out: Cell<u64>,
    all_back: Notify,
}

impl Run {
    /// Returns a run that starts now.
    pub(crate) fn begin(length: RunLength) -> Rc<Self> {
        let epoch = Instant::now();
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let from = ns(length.warm_up);
        Rc::new(Self {
            epoch,
            from,
            until: Cell::new(from.saturating_add(ns(length.measured))),
            out: Cell::new(0),
            all_back: Notify::new(),
        })
    }

    /// Returns the nanoseconds since its start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns true if more is sent at this time.
    pub(crate) fn is_open(&self, now: u64) -> bool {
        now < self.until.get()
    }

    fn counts(&self, at: u64) -> bool {
        (self.from..self.until.get()).contains(&at)
    }

    /// Returns the measured time in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.until.get().saturating_sub(self.from) as f64 / 1e9
    }

    /// Notes that so much was sent.
    pub(crate) fn sent(&self, count: u64) {
        self.out.set(self.out.get() + count);
    }

    /// Notes that so much came back, or never will.
    pub(crate) fn settled(&self, count: u64) {
        self.out.set(self.out.get().saturating_sub(count));
        if self.out.get() == 0 {
            self.all_back.notify_one();
        }
    }

    /// Does something at each due time until the window ends.
    ///
    /// # Cancel safety
    /// Actions that were not due yet are not done.
    pub(crate) async fn pace(&self, a_second: u64, mut act: impl FnMut(u64)) {
        // Each schedule has a clock of its own, as one wakes for one time only.
        let (mut schedule, pacer) = (Schedule::new(self.now(), a_second), Pacer::new(self.epoch));
        // A due action that was not done yet counts as on its way, so the run waits for it.
        self.sent(1);
        while self.is_open(schedule.due()) {
            pacer.wait(schedule.due()).await;
            let now = self.now();
            for _ in 0..BURST {
                let due = schedule.due();
                if due > now || !self.is_open(due) {
                    break;
                }
                act(due);
                schedule.advance();
            }
            tokio::task::yield_now().await;
        }
        self.settled(1);
    }

    /// Waits until the window has ended, or the user ends it.
    ///
    /// # Errors
    /// Only those of the system's signals.
    ///
    /// # Cancel safety
    /// The window stays open.
    pub(crate) async fn measured(&self, stop: &mut Stop, progress: &dyn Fn() -> String) -> Ended {
        let end = self.epoch + Duration::from_nanos(self.until.get());
        let mut shown = tokio::time::interval(SHOWN_EVERY);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ended::InTime,
                () = stop.asked() => {
                    self.until.set(self.now().min(self.until.get()));
                    return Ended::ByUser;
                }
                _ = shown.tick() => {
                    let (at, of) = (self.epoch.elapsed().as_secs(), (end - self.epoch).as_secs());
                    print::progress(format_args!("{at} s of {of} s: {}", progress()));
                }
            }
        }
    }

    /// Waits until all messages are back, for at most `patience`, or until the user ends the wait.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn drained(&self, patience: Duration, stop: &mut Stop) {
        let back = async {
            while self.out.get() > 0 {
                self.all_back.notified().await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(patience, back) => {}
            () = stop.asked() => {}
        }
    }
}

/// The end of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its time was over.
    InTime,
    /// Ctrl-C.
    ByUser,
}

/// The buffers in which messages are put together, one after the other.
#[derive(Default)]
pub(crate) struct Buffers {
    /// A message.
    pub(crate) body: Vec<u8>,
    /// Frames of one write.
    pub(crate) frames: Vec<u8>,
}

/// The counts of one part of a run.
pub(crate) struct Tally {
    /// The run.
    pub(crate) run: Rc<Run>,
    buffers: RefCell<Buffers>,
    count: Cell<u64>,
    latency: RefCell<Histogram<u64>>,
    not_sent: Cell<u64>,
    check: RefCell<Check>,
}

impl Tally {
    /// Returns empty counts.
    ///
    /// # Errors
    /// Never: the bounds are right.
    pub(crate) fn new(run: &Rc<Run>) -> anyhow::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            run: run.clone(),
            buffers: RefCell::default(),
            count: Cell::new(0),
            latency: RefCell::new(histogram()?),
            not_sent: Cell::new(0),
            check: RefCell::default(),
        }))
    }

    /// Puts frames together and sends them.
    pub(crate) fn send(&self, link: &Rc<BenchLink>, fill: impl FnOnce(&mut Buffers)) {
        let mut buffers = self.buffers.borrow_mut();
        buffers.frames.clear();
        fill(&mut buffers);
        link.send(&buffers.frames);
    }

    /// Counts the answer to a message that was due.
    pub(crate) fn came(&self, due: u64, now: u64) {
        if self.run.counts(now) {
            self.count.set(self.count.get() + 1);
        }
        if self.run.counts(due) {
            self.latency.borrow_mut().saturating_record(now.saturating_sub(due));
        }
    }

    /// Notes the class of a number in its row.
    pub(crate) fn check(&self, came: Came) {
        self.check.borrow_mut().came(came);
    }

    /// Changes the result of the checks.
    pub(crate) fn found(&self, change: impl FnOnce(&mut Check)) {
        change(&mut self.check.borrow_mut());
    }

    /// Notes a message that was due and not sent.
    pub(crate) fn not_sent(&self) {
        self.not_sent.set(self.not_sent.get() + 1);
    }

    /// Returns the number that has counted, in words.
    pub(crate) fn progress(&self) -> String {
        count(self.count.get() as f64)
    }

    /// Returns the count, the latencies, the number not sent, and the result of the checks.
    pub(crate) fn sums(&self) -> (u64, Latency, u64, Check) {
        let latency = Latency::of(&self.latency.borrow());
        (self.count.get(), latency, self.not_sent.get(), self.check.borrow().clone())
    }
}

/// Returns an empty histogram of nanoseconds, exact to a thousandth.
///
/// # Errors
/// Never: the bounds are right.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).context("a histogram has other bounds")
}
