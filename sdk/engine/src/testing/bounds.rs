//! How much a test and its rooms may use.
//!
//! Owns the deadlines of the test and of the turn that run now. Invariant: code that is past its deadline is ended by the
//! engine's interrupts, and the error says which bound it was. A loop inside of the engine itself has no interrupts: the
//! caller of the engine bounds it. It does not know what runs.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use room_sdk::Result;
use rquickjs::Runtime;

/// The bounds of a test.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The longest that a test runs, with all that its rooms do.
    pub test: Duration,
    /// The longest that a turn of a room runs: `turn_ms_max`.
    pub turn: Duration,
    /// The most bytes of one heap: `memory_bytes_max`.
    pub heap_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { test: Duration::from_secs(10), turn: Duration::from_secs(1), heap_bytes: 64 << 20 }
    }
}

/// What is bounded now.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    bounds: Bounds,
    test_until: Option<Instant>,
    turn_until: Option<Instant>,
    /// The test was ended by its deadline.
    test_ended: bool,
    /// The turn that runs was ended by its deadline.
    turn_ended: bool,
    /// A turn was ended by its deadline since [`take_spoiled`] was called last.
    spoiled: bool,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

fn with<T: Default>(call: impl FnOnce(&mut Running) -> T) -> T {
    RUNNING.with_borrow_mut(|running| running.as_mut().map(call).unwrap_or_default())
}

#[expect(clippy::disallowed_methods, reason = "the time that code takes, and not that of a room")]
fn now() -> Instant {
    Instant::now()
}

/// Whose code a heap runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Test,
    Room,
}

pub(super) fn set(bounds: Bounds) {
    RUNNING.set(Some(Running { bounds, ..Running::default() }));
}

pub(super) fn clear() {
    RUNNING.set(None);
}

/// Bounds what a heap may use, if tests run.
pub(crate) fn guard(runtime: &Runtime, whose: Whose) {
    let Some(running) = RUNNING.with_borrow(|running| *running) else { return };
    runtime.set_memory_limit(running.bounds.heap_bytes);
    runtime.set_interrupt_handler(Some(Box::new(move || is_over(whose))));
}

fn is_over(whose: Whose) -> bool {
    with(|running| {
        let past = |until: Option<Instant>| until.is_some_and(|until| now() >= until);
        let (test, turn) = (past(running.test_until), past(running.turn_until));
        let over = test || (turn && whose == Whose::Room);
        running.turn_ended |= over && whose == Whose::Room;
        running.test_ended |= test;
        over
    })
}

/// Runs a test, or a file's declarations. Returns whether its deadline ended it, besides.
pub(super) fn test<T>(run: impl FnOnce() -> T) -> (T, bool) {
    with(|running| {
        running.test_until = Some(now() + running.bounds.test);
        running.test_ended = false;
    });
    let value = run();
    let ended = with(|running| {
        running.test_until = None;
        running.test_ended
    });
    (value, ended)
}

/// The text for a test that its deadline ended.
pub(super) fn test_text(what: &str) -> String {
    let seconds = with(|running| running.bounds.test.as_secs_f64());
    format!("{what} ran for longer than {seconds} s, and was ended")
}

/// Runs a turn. One that its deadline ends fails, whatever the script makes of it.
pub(super) fn turn<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    let outer = with(|running| {
        running.turn_ended = false;
        running.turn_until.replace(now() + running.bounds.turn)
    });
    let ended = run();
    let (over, turn_ms) = with(|running| {
        running.turn_until = outer;
        running.spoiled |= running.turn_ended;
        (std::mem::take(&mut running.turn_ended), running.bounds.turn.as_millis())
    });
    if !over {
        return ended;
    }
    let text = ended.err().map(|error| format!("{error:#}")).unwrap_or_default();
    let place = text.split_once('\n').map(|(_, stack)| format!("\n{stack}")).unwrap_or_default();
    Err(anyhow!("the turn ran for longer than {turn_ms} ms (turn_ms_max), and was ended{place}"))
}

/// Whether a turn was ended by its deadline since the last call: then a server would discard the instance.
pub(super) fn take_spoiled() -> bool {
    with(|running| std::mem::take(&mut running.spoiled))
}
