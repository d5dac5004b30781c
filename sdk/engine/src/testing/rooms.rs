//! The rooms under test, and what belongs to them.
//!
//! Owns rooms, clients, responses and projects by their numbers. Invariant: what a test made is gone with it, and a number
//! is never used again, so that nothing of one test reaches another. It does not know what is asked of a room.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use room_sdk::test::{TestClient, TestProject, TestResponse, TestRoom};
use rquickjs::{Ctx, Result};

use super::bounds;
use crate::ScriptRoom;
use crate::values::refuse;

/// Something that a test made.
#[derive(Clone)]
enum Made {
    Room(Rc<TestRoom<ScriptRoom>>),
    Client(Rc<TestClient<ScriptRoom>>),
    Response(Rc<TestResponse<ScriptRoom>>),
    Project(Rc<RefCell<TestProject>>),
}

/// What all rooms of a file of tests share.
#[derive(Default)]
struct Shared {
    parties: Vec<String>,
    vars: Vec<(String, String)>,
}

thread_local! {
    static MADE: RefCell<BTreeMap<u32, Made>> = const { RefCell::new(BTreeMap::new()) };
    static LAST: Cell<u32> = const { Cell::new(0) };
    static SHARED: RefCell<Shared> = const { RefCell::new(Shared { parties: Vec::new(), vars: Vec::new() }) };
    /// A hook of a room waits for the test's answer.
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// A file begins: the parties that have a script, and the variables of every room.
pub(super) fn begin(parties: Vec<String>, vars: Vec<(String, String)>) {
    forget_since(0);
    SHARED.set(Shared { parties, vars });
}

/// The variables of every room.
pub(super) fn vars() -> Vec<(String, String)> {
    SHARED.with_borrow(|shared| shared.vars.clone())
}

/// Refuses a party without a script.
pub(super) fn check_party(ctx: &Ctx<'_>, party: &str) -> Result<()> {
    SHARED.with_borrow(|shared| {
        if shared.parties.iter().any(|own| own == party) {
            return Ok(());
        }
        let there = shared.parties.join(", ");
        let text =
            format!("no party {party:?} has a script in room.toml: those that do are {there}");
        Err(refuse(ctx, "unknown-party", &text))
    })
}

/// A point in the order of what is made.
pub(super) fn mark() -> u32 {
    LAST.get()
}

/// Drops what was made since a point.
pub(super) fn forget_since(mark: u32) {
    // Dropped when nothing is borrowed: a room holds heaps.
    let gone = MADE.with_borrow_mut(|made| made.split_off(&(mark + 1)));
    drop(gone);
}

fn keep(made: Made) -> u32 {
    let number = LAST.get() + 1;
    LAST.set(number);
    MADE.with_borrow_mut(|all| all.insert(number, made));
    number
}

pub(super) fn keep_room(room: TestRoom<ScriptRoom>) -> u32 {
    keep(Made::Room(Rc::new(room)))
}

pub(super) fn keep_client(client: TestClient<ScriptRoom>) -> u32 {
    keep(Made::Client(Rc::new(client)))
}

pub(super) fn keep_response(response: TestResponse<ScriptRoom>) -> u32 {
    keep(Made::Response(Rc::new(response)))
}

pub(super) fn keep_project(project: TestProject) -> u32 {
    keep(Made::Project(Rc::new(RefCell::new(project))))
}

fn find<T>(ctx: &Ctx<'_>, number: u32, read: impl FnOnce(Made) -> Option<T>) -> Result<T> {
    if WAITS.get() {
        let text = "a hook of a room waits for this answer: answer it first, and then use the room";
        return Err(refuse(ctx, "busy", text));
    }
    let made = MADE.with_borrow(|made| made.get(&number).cloned());
    made.and_then(read).ok_or_else(|| {
        let text = "its room belongs to a test that has ended: make it in the test itself, or in beforeEach";
        refuse(ctx, "gone", text)
    })
}

pub(super) fn room(ctx: &Ctx<'_>, number: u32) -> Result<Rc<TestRoom<ScriptRoom>>> {
    find(ctx, number, |made| if let Made::Room(room) = made { Some(room) } else { None })
}

pub(super) fn client(ctx: &Ctx<'_>, number: u32) -> Result<Rc<TestClient<ScriptRoom>>> {
    find(ctx, number, |made| if let Made::Client(client) = made { Some(client) } else { None })
}

pub(super) fn response(ctx: &Ctx<'_>, number: u32) -> Result<Rc<TestResponse<ScriptRoom>>> {
    find(ctx, number, |made| if let Made::Response(it) = made { Some(it) } else { None })
}

pub(super) fn project(ctx: &Ctx<'_>, number: u32) -> Result<Rc<RefCell<TestProject>>> {
    find(ctx, number, |made| if let Made::Project(it) = made { Some(it) } else { None })
}

/// Acts on a room. If a turn ran out of its time, the room's instance is discarded, as a server does.
pub(super) fn act<T>(room: &TestRoom<ScriptRoom>, act: impl FnOnce() -> T) -> T {
    let value = act();
    if bounds::take_spoiled() {
        room.hibernate();
    }
    value
}

/// Runs the test's answer to a hook, which must not use the room that waits.
pub(super) fn answering<T>(answer: impl FnOnce() -> T) -> T {
    WAITS.set(true);
    let value = answer();
    WAITS.set(false);
    value
}
