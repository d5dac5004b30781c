//! What runs now, and so which calls of the host make sense.
//!
//! Owns [`Mode`]. Invariant: a call that has no meaning now is refused with a text, before it reaches the host. It does not
//! know single calls.

use std::cell::Cell;

use rquickjs::{Ctx, Result};

use crate::values::refuse;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The script is evaluated, before any room exists.
    Global,
    /// A hook: there is no room.
    Hook,
    /// A callback of a room.
    Room,
    /// A test, which acts on rooms from outside.
    Test,
}

thread_local! {
    static NOW: Cell<Mode> = const { Cell::new(Mode::Global) };
}

impl Mode {
    /// What runs now.
    pub(crate) fn now() -> Self {
        NOW.get()
    }

    /// Runs `call` in this mode.
    pub(crate) fn run<T>(self, call: impl FnOnce() -> T) -> T {
        let outer = NOW.replace(self);
        let value = call();
        NOW.set(outer);
        value
    }

    /// Its name for the library.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Hook => "hook",
            Self::Room => "room",
            Self::Test => "test",
        }
    }
}

/// Refuses a call outside of a room's callbacks.
pub(crate) fn in_room(ctx: &Ctx<'_>) -> Result<()> {
    match Mode::now() {
        Mode::Room => Ok(()),
        Mode::Hook => Err(refuse(
            ctx,
            "not-in-a-room",
            "there is no room in a hook: storage, connections and alarms are there in the room's own handlers",
        )),
        Mode::Test => Err(in_test(ctx)),
        Mode::Global => Err(at_global_scope(ctx)),
    }
}

/// Refuses a call outside of hooks.
pub(crate) fn in_hook(ctx: &Ctx<'_>) -> Result<()> {
    match Mode::now() {
        Mode::Hook => Ok(()),
        Mode::Room => {
            Err(refuse(ctx, "not-in-a-hook", "a room's turn never waits: call fetch and await it"))
        }
        Mode::Test => Err(in_test(ctx)),
        Mode::Global => Err(at_global_scope(ctx)),
    }
}

/// Refuses a call while the script is evaluated.
pub(crate) fn running(ctx: &Ctx<'_>) -> Result<()> {
    match Mode::now() {
        Mode::Room | Mode::Hook | Mode::Test => Ok(()),
        Mode::Global => Err(at_global_scope(ctx)),
    }
}

fn in_test(ctx: &Ctx<'_>) -> rquickjs::Error {
    refuse(
        ctx,
        "not-in-a-room",
        "a test has no storage, timers or network of its own: it acts on a room, `new TestRoom(name)`, whose clock \
         `advance(milliseconds)` moves",
    )
}

fn at_global_scope(ctx: &Ctx<'_>) -> rquickjs::Error {
    refuse(
        ctx,
        "global-scope",
        "this cannot be called at the top level of a script, which runs once for all rooms, before any of them \
         starts: call it in a handler",
    )
}
