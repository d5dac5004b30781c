//! Tests of rooms in scripts, which are scripts themselves.
//!
//! Owns [`Tester`]: one file of tests in a heap of its own, whose rooms are [`ScriptRoom`](crate::ScriptRoom)s under
//! [`room_sdk::test::TestRoom`], each in its own heap of the same engine. Invariant: rooms meet the engine and the limits
//! that they meet in a server, and a test or a turn that does not end is ended with an error that says so. It does not know
//! files, names that are chosen, or how results are shown.

mod bounds;
#[cfg(target_family = "wasm")]
mod component;
mod heap;
mod rooms;
mod tested;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::anyhow;
use room_sdk::Result;
use room_sdk::host::{Current, Host as _};

use crate::engine::Engine;
use crate::script::Script;
use crate::stack::Positions;
pub use bounds::Bounds;
pub(crate) use bounds::{Whose, guard};
use heap::TestHeap;
pub(crate) use tested::Tested;

/// What a project's tests run with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The script of each party.
    pub scripts: Vec<(String, Script)>,
    /// The project's variables; a test may add to them.
    pub vars: Vec<(String, String)>,
    /// How much a test and a room may use.
    pub bounds: Bounds,
}

/// What the tests tell the outside while they run.
pub trait Outside {
    /// A test said something on its `console`.
    fn said(&self, text: &str);

    /// It is this time now, in milliseconds since 1970, for the rooms of the test that runs.
    fn clock(&self, now_ms: u64);
}

thread_local! {
    static OUTSIDE: RefCell<Option<Rc<dyn Outside>>> = const { RefCell::new(None) };
    /// The heap of each party for hooks, which belong to no room.
    static HOOKS: RefCell<BTreeMap<String, Rc<Engine>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A file of tests, ready to run.
pub struct Tester {
    heap: TestHeap,
    names: Vec<String>,
}

impl std::fmt::Debug for Tester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tester").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Tester {
    /// Evaluates a file of tests, which declares them. One thread has one at a time.
    ///
    /// # Errors
    /// The file throws, does not end, or awaits what does not settle.
    pub fn load(
        settings: Settings,
        source: String,
        positions: Positions,
        outside: Rc<dyn Outside>,
    ) -> Result<Self> {
        let Settings { scripts, vars, bounds } = settings;
        OUTSIDE.set(Some(outside));
        bounds::set(bounds);
        rooms::begin(scripts.iter().map(|(party, _)| party.clone()).collect(), vars);
        for (party, script) in scripts {
            script.run_as(&party);
        }
        let heap = TestHeap::load(source, positions)?;
        let names = heap.names()?;
        Ok(Self { heap, names })
    }

    /// The names of its tests, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Runs one test.
    ///
    /// # Errors
    /// Why it failed, with the author's files and lines.
    pub fn run(&self, index: u32) -> Result<(), String> {
        let mark = rooms::mark();
        let ended = self.heap.run(index);
        rooms::forget_since(mark);
        ended
    }
}

impl Drop for Tester {
    fn drop(&mut self) {
        // Rooms hold functions of the test's heap, which must go before it.
        rooms::forget_since(0);
        HOOKS.take();
        bounds::clear();
        OUTSIDE.set(None);
    }
}

/// A line of a test's `console`.
pub(crate) fn said(text: &str) {
    if let Some(outside) = OUTSIDE.with_borrow(Option::clone) {
        outside.said(text);
    }
}

/// Runs code of a room or a hook: its clock is that of the room, and its time is bounded. Outside of a [`Tester`] it just
/// runs.
pub(crate) fn turn<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(outside) = OUTSIDE.with_borrow(Option::clone) else { return run() };
    outside.clock(Current::now_ms());
    bounds::turn(run)
}

/// The heap for the hooks of a party; none outside of a [`Tester`].
pub(crate) fn hooks(party: &str) -> Option<Result<Rc<Engine>>> {
    OUTSIDE.with_borrow(Option::is_some).then(|| {
        if let Some(engine) = HOOKS.with_borrow(|hooks| hooks.get(party).cloned()) {
            return Ok(engine);
        }
        let script =
            Script::of(party).ok_or_else(|| anyhow!("the party {party:?} has no script"))?;
        let engine = Rc::new(Engine::boot(script)?);
        HOOKS.with_borrow_mut(|hooks| hooks.insert(party.to_owned(), Rc::clone(&engine)));
        Ok(engine)
    })
}
