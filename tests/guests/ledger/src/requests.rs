//! The requests of a ledger to its mirror and to a server of the test, and the notes about them.
//!
//! Invariant: the turn that makes a request notes it, and each turn with an answer adds one to the note. A request that
//! was given up before its answer is marked. It does not know who compares the notes.

use crate::{below, bump, tell, wipe};
use room_sdk::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// Notes of calls, below which each id has the number of its answers.
const CALL: &str = "call/";
/// Notes of fetches, as those of calls.
const FETCH: &str = "fetch/";
const GAVE_UP: &str = "gave-up/";
const FAILED: &str = "failed/";
const TRIED: &str = "tried/";
/// In a mirror: ids of calls, and how often each came.
const HEARD: &str = "heard/";
/// The id of requests that nobody may ever receive.
const GHOST: &str = "ghost";

/// Everything that is stored about requests.
#[derive(Serialize)]
pub(crate) struct Notes {
    /// Ids of calls, and the number of answers to each.
    calls: BTreeMap<String, u64>,
    /// Ids of fetches, and the number of answers to each.
    fetches: BTreeMap<String, u64>,
    /// Ids that were given up before their answer.
    gave_up: Vec<String>,
    /// Ids whose answer was a failure.
    failed: BTreeMap<String, String>,
    /// In a mirror: ids of calls, and how often each came.
    heard: BTreeMap<String, u64>,
}

pub(crate) fn notes(ctx: &Context) -> Result<Notes> {
    Ok(Notes {
        calls: below(ctx, CALL)?.into_iter().collect(),
        fetches: below(ctx, FETCH)?.into_iter().collect(),
        gave_up: below::<bool>(ctx, GAVE_UP)?.into_iter().map(|(id, _)| id).collect(),
        failed: below(ctx, FAILED)?.into_iter().collect(),
        heard: below(ctx, HEARD)?.into_iter().collect(),
    })
}

/// Calls the mirror.
pub(crate) fn call(ctx: &Context, conn: &Connection, id: &str) -> Result {
    ctx.storage().put(format!("{CALL}{id}"), &0)?;
    call_mirror(ctx, id)?;
    undo(ctx)?;
    tell(ctx, conn, &format!("call {id}"))
}

/// Sends a request to the server of the test.
pub(crate) fn fetch(ctx: &Context, conn: &Connection, id: &str) -> Result {
    ctx.storage().put(format!("{FETCH}{id}"), &0)?;
    undo(ctx)?;
    ctx.fetch(request(ctx, id)?).tag(id).retries(10).id()?;
    tell(ctx, conn, &format!("fetch {id}"))
}

fn call_mirror(ctx: &Context, id: &str) -> Result {
    ctx.room("main", &format!("{}-mirror", ctx.name())).call(id).tag(id).id().map(drop)
}

fn request(ctx: &Context, id: &str) -> Result<Request> {
    let origin = ctx.var("ORIGIN").ok_or_else(|| anyhow!("there is no variable ORIGIN"))?;
    Ok(Request::post(format!("http://{origin}/{}/{id}", ctx.name())))
}

/// Gives up all requests and makes others, which nobody may receive, and undoes that.
fn undo(ctx: &Context) -> Result {
    let undone: Result = ctx.transaction(|ctx| {
        haunt(ctx)?;
        bail!("asked to be undone")
    });
    ensure!(undone.is_err(), "the transaction is undone");
    Ok(())
}

/// Gives up all requests, and makes others, which nobody may receive.
pub(crate) fn haunt(ctx: &Context) -> Result {
    for pending in ctx.pending_requests() {
        ensure!(ctx.cancel_request(&pending.id), "a pending request is given up");
    }
    call_mirror(ctx, GHOST)?;
    ctx.fetch(request(ctx, GHOST)?).tag(GHOST).id()?;
    ctx.fetch(request(ctx, GHOST)?).tag(GHOST).best_effort().id().map(drop)
}

/// Marks the requests that had no answer when everything was removed.
pub(crate) fn give_up(ctx: &Context) -> Result {
    for (id, answers) in [below::<u64>(ctx, CALL)?, below(ctx, FETCH)?].concat() {
        if answers == 0 {
            ctx.storage().put(format!("{GAVE_UP}{id}"), &true)?;
        }
    }
    Ok(())
}

/// Notes a call, in the mirror. Some calls remove everything before, and write it back.
pub(crate) fn heard(ctx: &Context, call: &Call) -> Result<Reply> {
    let id: String = call.data()?;
    if is_one_of(&id, 5) {
        wipe(ctx)?;
    }
    Reply::json(&bump(ctx, &format!("{HEARD}{id}"))?)
}

pub(crate) fn answered(ctx: &Context, answer: &Answer) -> Result {
    let failure = answer.value::<u64>().err().map(|failure| format!("{failure:#}"));
    note_answer(ctx, CALL, answer.tag(), failure)
}

pub(crate) fn responded(ctx: &Context, fetched: &Fetched) -> Result {
    let failure = match fetched.response() {
        Ok(response) if response.status_code() == 200 => None,
        Ok(response) => Some(format!("status {}", response.status_code())),
        Err(failure) => Some(failure.to_string()),
    };
    note_answer(ctx, FETCH, fetched.tag(), failure)
}

/// Notes an answer. The first turn of some answers flushes, and fails.
fn note_answer(ctx: &Context, kind: &str, id: &str, failure: Option<String>) -> Result {
    let tried = format!("{TRIED}{id}");
    if is_one_of(id, 7) && ctx.storage().get::<bool>(&tried)?.is_none() {
        ctx.storage().put(&tried, &true)?;
        ctx.flush()?;
        bump(ctx, &format!("{kind}{id}"))?;
        bail!("asked to fail with the first answer")
    }
    if let Some(failure) = failure {
        ctx.storage().put(format!("{FAILED}{id}"), &failure)?;
    }
    bump(ctx, &format!("{kind}{id}"))?;
    let turn = bump(ctx, "turn")?;
    ctx.broadcast(Message::text(format!("saw {turn} answer {id}"))).send()
}

/// Returns true for about one in so many ids.
fn is_one_of(id: &str, many: u8) -> bool {
    id.bytes().last().is_some_and(|last| last % many == 0)
}
