//! A ledger: a room whose every turn can be audited. Owns the data that tests of crashes write and read back.
//!
//! Each turn that succeeds takes the next number, writes it, and sends it with its action: `did` to the connection
//! that asked, `saw` to all others. Messages, of the connection `C`:
//!
//! - `inc` counts one more for `C`: `did TURN inc C COUNT`;
//! - `set` writes `C`'s set of parts with its next stamp: `did TURN set C STAMP`;
//! - `wipe` does the same after a delete-all, and writes back all the data;
//! - `alarm ID MS` sets an alarm: `did TURN alarm ID DUE`, and when it is handled all receive
//!   `saw TURN ring NOW ID DUE ID DUE …`. Every other one is a timer of its own; the rest share the room's alarm;
//! - `call ID` calls the room's mirror: `did TURN call ID`, and all receive `saw TURN answer ID` with the answer. The
//!   mirror of the room NAME is the ledger NAME-mirror, which counts the calls with each id;
//! - `fetch ID` does the same with a server, which the variable ORIGIN names: it posts to `/NAME/ID`;
//! - `half` does what `inc` does, flushes, and fails after more writes; `fail err` and `fail trap` fail
//!   only. What a turn that fails writes and says is named `ghost`: nobody ever sees one.
//!
//! The answer to a GET has everything that is stored.
//!
//! Invariant: the number of the last turn is the sum of all that was counted, so a missing turn in the middle shows.
//! It does not know crashes.

mod layout;
mod requests;

use layout::{PARTS, part, stamp_of};
use room_sdk::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

const TURN: &str = "turn";
const ASKED: &str = "asked";
const RINGS: &str = "rings";
const EARLY: &str = "early";
const COUNT: &str = "count/";
const STAMP: &str = "stamp/";
const PART: &str = "part/";
const PENDING: &str = "pending/";
const RANG: &str = "rang/";
const GHOST: &str = "ghost";
/// The number that a failing turn adds to the values that it found.
const GHOSTS: u64 = 1_000_000;

/// The ledger. It keeps nothing in memory: all its data is stored.
#[derive(Default)]
pub struct Ledger;

/// Everything that is stored.
#[derive(Serialize)]
struct State {
    turn: u64,
    asked: u64,
    rings: u64,
    /// The number of times an alarm came before its time.
    early: u64,
    counts: BTreeMap<String, u64>,
    stamps: BTreeMap<String, u64>,
    /// Connection, part, and the stamp it has; `None` if its bytes are not of one stamp.
    parts: Vec<(String, u64, Option<u64>)>,
    /// Ids and times of the alarms that have not rung.
    pending: Vec<(String, u64)>,
    rang: Vec<String>,
    ghosts: Vec<String>,
    /// When the room's own alarm or its first timer is due.
    alarm: Option<u64>,
    now: u64,
    requests: requests::Notes,
}

impl Room for Ledger {
    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        let text = message.as_text().ok_or_else(|| anyhow!("only texts"))?;
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["inc"] => count(ctx, conn),
            ["set"] => set(ctx, conn),
            ["wipe"] => {
                wipe(ctx)?;
                set(ctx, conn)
            }
            ["alarm", id, after_ms] => ask(ctx, conn, id, after_ms.parse()?),
            ["call", id] => requests::call(ctx, conn, id),
            ["fetch", id] => requests::fetch(ctx, conn, id),
            ["half"] => {
                count(ctx, conn)?;
                ctx.flush()?;
                haunt(ctx, conn)?;
                bail!("asked to fail in the second half")
            }
            ["fail", how] => {
                haunt(ctx, conn)?;
                assert!(how != "trap", "asked to panic");
                bail!("asked to fail")
            }
            _ => bail!("no such message: {text}"),
        }
    }

    fn on_alarm(&mut self, ctx: &Context) -> Result {
        let now = ctx.now().as_millis();
        let mut due = pending(ctx)?;
        due.retain(|(id, due)| !is_timer(id) && *due <= now);
        ring(ctx, now, due)?;
        set_alarm(ctx)
    }

    fn on_timer(&mut self, ctx: &Context, timer: Timer) -> Result {
        let now = ctx.now().as_millis();
        let mut due = pending(ctx)?;
        due.retain(|(id, due)| id == timer.tag() && *due == timer.at().as_millis() && *due <= now);
        ring(ctx, now, due)
    }

    fn on_call(&mut self, ctx: &Context, call: Call) -> Result<Reply> {
        requests::heard(ctx, &call)
    }

    fn on_answer(&mut self, ctx: &Context, answer: Answer) -> Result {
        requests::answered(ctx, &answer)
    }

    fn on_response(&mut self, ctx: &Context, fetched: Fetched) -> Result {
        requests::responded(ctx, &fetched)
    }

    fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
        let storage = ctx.storage();
        let times = ctx.timers().into_iter().map(|timer| timer.at()).collect::<Vec<_>>();
        let ids = |entries: Vec<(String, u64)>| entries.into_iter().map(|(id, _)| id).collect();
        Response::json(&State {
            turn: storage.get(TURN)?.unwrap_or_default(),
            asked: storage.get(ASKED)?.unwrap_or_default(),
            rings: storage.get(RINGS)?.unwrap_or_default(),
            early: storage.get(EARLY)?.unwrap_or_default(),
            counts: below(ctx, COUNT)?.into_iter().collect(),
            stamps: below(ctx, STAMP)?.into_iter().collect(),
            parts: parts(ctx)?,
            pending: pending(ctx)?,
            rang: ids(below(ctx, RANG)?),
            ghosts: ids(below(ctx, GHOST)?),
            alarm: ctx.alarm().get().into_iter().chain(times).min().map(Timestamp::as_millis),
            now: ctx.now().as_millis(),
            requests: requests::notes(ctx)?,
        })
    }
}

/// Adds one to a number, and returns it.
fn bump(ctx: &Context, key: &str) -> Result<u64> {
    let next = ctx.storage().get::<u64>(key)?.unwrap_or_default() + 1;
    ctx.storage().put(key, &next)?;
    Ok(next)
}

/// Sends messages about this turn: to the connection that asked, and to all others.
fn tell(ctx: &Context, conn: &Connection, what: &str) -> Result {
    let turn = bump(ctx, TURN)?;
    conn.send(Message::text(format!("did {turn} {what}")))?;
    ctx.broadcast(Message::text(format!("saw {turn} {what}"))).except(conn).send()
}

fn count(ctx: &Context, conn: &Connection) -> Result {
    let count = bump(ctx, &format!("{COUNT}{}", conn.id()))?;
    tell(ctx, conn, &format!("inc {} {count}", conn.id()))
}

fn set(ctx: &Context, conn: &Connection) -> Result {
    let who = conn.id();
    let stamp = bump(ctx, &format!("{STAMP}{who}"))?;
    for index in 0..PARTS {
        let key = format!("{PART}{who}/{index}");
        match part(stamp, index) {
            Some(part) => ctx.storage().raw().put(key, part)?,
            None => drop(ctx.storage().delete(key)?),
        }
    }
    tell(ctx, conn, &format!("set {who} {stamp}"))
}

/// Handles alarms that are due. If there are none, the alarm or the timer came too early, or twice.
fn ring(ctx: &Context, now: u64, due: Vec<(String, u64)>) -> Result {
    if due.is_empty() {
        bump(ctx, EARLY)?;
    }
    bump(ctx, RINGS)?;
    let mut said = format!("saw {} ring {now}", bump(ctx, TURN)?);
    for (id, due) in due {
        ctx.storage().delete(pending_key(&id, due))?;
        ctx.storage().put(format!("{RANG}{id}"), &due)?;
        said.push_str(&format!(" {id} {due}"));
    }
    ctx.broadcast(Message::text(said)).send()
}

/// Returns true if the alarm with this id is a timer of its own.
fn is_timer(id: &str) -> bool {
    id.bytes().last().is_some_and(|last| last % 2 == 0)
}

/// Removes everything and writes it back, within one turn, but for the requests without an answer, which are given up.
fn wipe(ctx: &Context) -> Result {
    let all = ctx.storage().raw().list().into_iter().collect::<Result<Vec<_>>>()?;
    ctx.storage().delete_all()?;
    for (key, value) in all {
        ctx.storage().raw().put(key, value)?;
    }
    for (id, due) in pending(ctx)?.iter().filter(|(id, _)| is_timer(id)) {
        ctx.schedule(Timestamp::from_millis(*due), id, &()).id()?;
    }
    requests::give_up(ctx)?;
    set_alarm(ctx)
}

fn ask(ctx: &Context, conn: &Connection, id: &str, after_ms: u64) -> Result {
    let due = ctx.now().as_millis() + after_ms;
    ctx.storage().put(pending_key(id, due), &due)?;
    bump(ctx, ASKED)?;
    match is_timer(id) {
        true => drop(ctx.schedule(Timestamp::from_millis(due), id, &()).id()?),
        false => set_alarm(ctx)?,
    }
    tell(ctx, conn, &format!("alarm {id} {due}"))
}

/// Writes and sends data that no client may ever see, as the turn is going to fail.
fn haunt(ctx: &Context, conn: &Connection) -> Result {
    let who = conn.id();
    for key in [format!("{COUNT}{who}"), format!("{STAMP}{who}"), TURN.to_owned()] {
        let count: u64 = ctx.storage().get(&key)?.unwrap_or_default();
        ctx.storage().put(&key, &(count + GHOSTS))?;
    }
    ctx.storage().put(format!("{GHOST}/{who}"), &GHOSTS)?;
    ctx.storage().raw().put(format!("{PART}{who}/0"), vec![b'g'; 9_000])?;
    ctx.storage().delete(format!("{PART}{who}/1"))?;
    ctx.alarm().delete();
    ensure!(
        ctx.timers().iter().all(|timer| ctx.cancel(timer.id())),
        "a pending timer is cancelled"
    );
    ctx.schedule(ctx.now(), "ghost", &());
    requests::haunt(ctx)?;
    conn.send(Message::text("ghost"))?;
    ctx.broadcast(Message::text("ghost")).send()
}

fn pending_key(id: &str, due: u64) -> String {
    format!("{PENDING}{due:015}/{id}")
}

/// Returns the alarms that have not rung, the earliest first.
fn pending(ctx: &Context) -> Result<Vec<(String, u64)>> {
    let entries = below(ctx, PENDING)?.into_iter();
    let id = |key: String| key.split_once('/').map(|(_, id)| id.to_owned()).unwrap_or_default();
    Ok(entries.map(|(key, due)| (id(key), due)).collect())
}

/// Sets the room's one alarm to the earliest pending one that is no timer.
fn set_alarm(ctx: &Context) -> Result {
    match pending(ctx)?.iter().find(|(id, _)| !is_timer(id)) {
        Some((_, due)) => ctx.alarm().set(Timestamp::from_millis(*due)),
        None => ctx.alarm().delete(),
    }
    Ok(())
}

/// Returns the entries below a prefix, without it.
fn below<T: DeserializeOwned>(ctx: &Context, prefix: &str) -> Result<Vec<(String, T)>> {
    let entries = ctx.storage().list::<T>().prefix(prefix).into_iter();
    entries.map(|entry| entry.map(|(key, value)| (key[prefix.len()..].to_owned(), value))).collect()
}

fn parts(ctx: &Context) -> Result<Vec<(String, u64, Option<u64>)>> {
    let entries = ctx.storage().raw().list().prefix(PART).into_iter();
    let read = |entry: Result<(Vec<u8>, Vec<u8>)>| {
        let (key, value) = entry?;
        let key = String::from_utf8(key)?;
        let (who, index) =
            key[PART.len()..].split_once('/').ok_or_else(|| anyhow!("no part: {key}"))?;
        let index = index.parse()?;
        Ok((who.to_owned(), index, stamp_of(&value, index)))
    };
    entries.map(read).collect()
}

room_sdk::export!(Ledger);
