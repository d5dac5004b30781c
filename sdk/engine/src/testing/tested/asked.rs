//! What a room under test asks of others, and what others ask of it.
//!
//! Owns the test's answers. Invariant: see [`super`]. It does not know clients.

use room_sdk::host::RequestParts;
use room_sdk::test::{PendingCall, PendingFetch, TestRoom};
use room_sdk::{OutcallFailure, Request, Response};
use rquickjs::{CatchResultExt, Ctx, Function, Object, Persistent, Result};

use crate::ScriptRoom;
use crate::mode::Mode;
use crate::native::natives;
use crate::testing::rooms::{self, act};
use crate::values::{Bytes, Text, optional, refuse, request_in, response_out};

natives! {
    "fetches" => fetches,
    "respond" => respond,
    "respondPart" => respond_part,
    "calls" => calls,
    "answer" => answer,
    "call" => call,
    "answerHooks" => answer_hooks,
}

fn fetches<'js>(ctx: Ctx<'js>, room: u32) -> Result<Vec<Object<'js>>> {
    let describe = |fetch: PendingFetch| {
        let request = request_in(&ctx, RequestParts::from(fetch.request().clone()))?;
        request.set("id", fetch.id())?;
        request.set("tag", fetch.tag())?;
        request.set("retries", fetch.retries())?;
        request.set("inParts", fetch.is_in_chunks())?;
        request.set("bestEffort", fetch.is_best_effort())?;
        Ok(request)
    };
    rooms::room(&ctx, room)?.fetches().into_iter().map(describe).collect()
}

/// What a test answers a request.
type GivenResponse = std::result::Result<Response, OutcallFailure>;

/// The failure that an answer is, if it is one.
fn failure(answer: &Object<'_>) -> Result<Option<OutcallFailure>> {
    let Some(code) = optional::<Text>(answer, "code")? else { return Ok(None) };
    let message: Text = answer.get("message")?;
    Ok(Some(OutcallFailure::new(&code.0, &message.0)))
}

fn given(answer: &Object<'_>) -> Result<GivenResponse> {
    Ok(match failure(answer)? {
        Some(failure) => Err(failure),
        None => Ok(response_out(answer)?.into()),
    })
}

fn settled(ctx: &Ctx<'_>) -> rquickjs::Error {
    refuse(ctx, "settled", "it has its answer already, or the room gave it up")
}

fn fetch_of(ctx: &Ctx<'_>, room: &TestRoom<ScriptRoom>, id: &str) -> Result<PendingFetch> {
    room.fetches().into_iter().find(|fetch| fetch.id() == id).ok_or_else(|| settled(ctx))
}

fn respond(ctx: Ctx<'_>, room: u32, id: Text, answer: Object<'_>) -> Result<()> {
    let room = rooms::room(&ctx, room)?;
    let fetch = fetch_of(&ctx, &room, &id.0)?;
    let answer = given(&answer)?;
    act(&room, || room.respond(&fetch, answer));
    Ok(())
}

/// Delivers a part of a response's body. Returns whether the room took it.
fn respond_part(ctx: Ctx<'_>, room: u32, id: Text, offset: u32, bytes: Bytes) -> Result<bool> {
    let room = rooms::room(&ctx, room)?;
    let fetch = fetch_of(&ctx, &room, &id.0)?;
    Ok(act(&room, || room.respond_chunk(&fetch, u64::from(offset), &bytes.0)))
}

fn calls<'js>(ctx: Ctx<'js>, room: u32) -> Result<Vec<Object<'js>>> {
    let describe = |call: PendingCall| {
        let object = match call.request() {
            Some(request) => request_in(&ctx, RequestParts::from(request.clone()))?,
            None => Object::new(ctx.clone())?,
        };
        object.set("id", call.id())?;
        object.set("tag", call.tag())?;
        object.set("party", call.party())?;
        object.set("room", call.room())?;
        object.set("data", call.data().map(|data| Bytes(data.to_vec())))?;
        Ok(object)
    };
    rooms::room(&ctx, room)?.calls().into_iter().map(describe).collect()
}

/// Answers a call of another room: with bytes, with a response if it is a request, or with a failure.
fn answer(ctx: Ctx<'_>, room: u32, id: Text, answer: Object<'_>) -> Result<()> {
    let room = rooms::room(&ctx, room)?;
    let mut calls = room.calls().into_iter();
    let call = calls.find(|call| call.id() == id.0).ok_or_else(|| settled(&ctx))?;
    if call.request().is_some() {
        let answer = given(&answer)?;
        act(&room, || room.answer_request(&call, answer));
        return Ok(());
    }
    let answer = match failure(&answer)? {
        Some(failure) => Err(failure),
        None => Ok(answer.get::<_, Bytes>("data")?.0),
    };
    act(&room, || room.answer(&call, answer));
    Ok(())
}

/// Calls the room as another one does.
fn call(ctx: Ctx<'_>, room: u32, party: Text, from: Text, data: Bytes) -> Result<Bytes> {
    let room = rooms::room(&ctx, room)?;
    let returned = act(&room, || room.call((&party.0, &from.0), data.0));
    returned.map(Bytes).map_err(|failure| refuse(&ctx, failure.code(), &failure.to_string()))
}

/// From now on the test's function answers what hooks fetch.
fn answer_hooks<'js>(ctx: Ctx<'js>, room: u32, answer: Function<'js>) -> Result<()> {
    let room = rooms::room(&ctx, room)?;
    let (heap, answer) = (ctx.as_raw(), Persistent::save(&ctx, answer));
    room.answer_hooks(move |request| {
        #[expect(unsafe_code, reason = "a function of one heap is called while another one runs")]
        // SAFETY: a room runs only inside of a call of the test's heap, which is locked as long, and
        // rooms are dropped before that heap.
        let ctx = unsafe { Ctx::from_raw(heap) };
        let asked = rooms::answering(|| Mode::Test.run(|| ask(&ctx, &answer, request)));
        asked.unwrap_or_else(|error| {
            Err(OutcallFailure::new("failed", &format!("the test's answer failed: {error}")))
        })
    });
    Ok(())
}

fn ask(
    ctx: &Ctx<'_>,
    answer: &Persistent<Function<'static>>,
    request: &Request,
) -> std::result::Result<GivenResponse, String> {
    let call = || {
        let record = request_in(ctx, RequestParts::from(request.clone()))?;
        let answer: Object = answer.clone().restore(ctx)?.call((record,))?;
        given(&answer)
    };
    call().catch(ctx).map_err(|error| error.to_string())
}
