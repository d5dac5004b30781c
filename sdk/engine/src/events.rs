//! The room as the SDK sees it.
//!
//! Owns [`ScriptRoom`]: each callback of a [`Room`] becomes one event of the script. Invariant: what a callback returns is
//! what the script decided, and nothing is added. It does not know how a script is dispatched.

use std::rc::Rc;

use anyhow::anyhow;
use room_sdk::host::{RequestParts, ResponseParts, identity_record, state_of};
use room_sdk::prelude::*;
use room_sdk::{BodyFault, Result};
use rquickjs::{Ctx, FromJs as _, Object, Value};

use crate::engine::{Arguments, Engine};
use crate::mode::Mode;
use crate::native::identity::identity_in;
#[cfg(any(feature = "testing", not(target_family = "wasm")))]
use crate::testing::turn as bounded;
use crate::values::{
    Bytes, Said, number, optional, request_in, request_out, response_in, response_out, timer_in,
    type_error,
};

/// A room whose logic is a script.
#[derive(Default)]
pub struct ScriptRoom {
    engine: Option<Rc<Engine>>,
}

impl std::fmt::Debug for ScriptRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptRoom").field("started", &self.engine.is_some()).finish()
    }
}

/// The heap for a party's script.
#[cfg(not(any(feature = "testing", not(target_family = "wasm"))))]
fn engine(_: &str) -> Result<Rc<Engine>> {
    crate::freeze::engine()
}

/// The heap for a party's script: a new one at each start.
#[cfg(any(feature = "testing", not(target_family = "wasm")))]
fn engine(party: &str) -> Result<Rc<Engine>> {
    let script = crate::Script::of(party).ok_or_else(|| {
        anyhow!("no script runs as the party {party:?}: call Script::run_as first")
    })?;
    Engine::boot(script).map(Rc::new)
}

/// The heap for the hooks of a party.
fn hooks(party: &str) -> Result<Rc<Engine>> {
    #[cfg(any(feature = "testing", not(target_family = "wasm")))]
    if let Some(engine) = crate::testing::hooks(party) {
        return engine;
    }
    engine(party)
}

/// Runs a turn or a hook. The host bounds it.
#[cfg(not(any(feature = "testing", not(target_family = "wasm"))))]
fn bounded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    run()
}

/// No value.
fn nothing<'js>(_: &Ctx<'js>, _: Value<'js>) -> rquickjs::Result<()> {
    Ok(())
}

/// A list of texts.
fn texts<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Vec<String>> {
    Vec::from_js(ctx, value)
}

/// The object that an event has to return.
fn object<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Object<'js>> {
    value
        .into_object()
        .ok_or_else(|| type_error(ctx, "the dispatcher has to return an object here"))
}

fn push_connection(args: &mut Arguments<'_>, conn: &Connection) -> rquickjs::Result<()> {
    let object = Object::new(args.ctx.clone())?;
    object.set("id", conn.id())?;
    object.set("uri", conn.uri())?;
    object.set("tags", conn.tags().to_vec())?;
    object.set("state", Bytes(state_of(conn)))?;
    args.push(object)
}

fn push_request(args: &mut Arguments<'_>, request: Request) -> rquickjs::Result<()> {
    let identity = request.identity().map(identity_record).cloned();
    let request = request_in(&args.ctx, RequestParts::from(request))?;
    if let Some(identity) = identity {
        request.set("identity", identity_in(&args.ctx, identity)?)?;
    }
    args.push(request)
}

fn push_address(args: &mut Arguments<'_>, party: &str, room: &str) -> rquickjs::Result<()> {
    let object = Object::new(args.ctx.clone())?;
    object.set("party", party)?;
    object.set("room", room)?;
    args.push(object)
}

fn push_failure(args: &mut Arguments<'_>, failure: &OutcallFailure) -> rquickjs::Result<()> {
    let object = Object::new(args.ctx.clone())?;
    object.set("code", failure.code())?;
    object.set("message", failure.to_string())?;
    args.push(object)
}

impl ScriptRoom {
    fn started(&self) -> Result<&Engine> {
        self.engine.as_deref().ok_or_else(|| anyhow!("the room was not started"))
    }

    fn event<T>(
        &self,
        kind: &str,
        arguments: impl for<'js> FnOnce(&mut Arguments<'js>) -> rquickjs::Result<()>,
        take: impl for<'js> FnOnce(&Ctx<'js>, Value<'js>) -> rquickjs::Result<T>,
    ) -> Result<T> {
        let engine = self.started()?;
        bounded(|| Mode::Room.run(|| engine.event(kind, arguments, take)))
    }
}

/// Runs a hook, which belongs to no room.
fn hook<T>(
    party: &str,
    kind: &str,
    arguments: impl for<'js> FnOnce(&mut Arguments<'js>) -> rquickjs::Result<()>,
    take: impl for<'js> FnOnce(&Ctx<'js>, Value<'js>) -> rquickjs::Result<T>,
) -> Result<T> {
    let engine = hooks(party)?;
    bounded(|| Mode::Hook.run(|| engine.event(kind, arguments, take)))
}

fn verdict<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Verdict> {
    let verdict = object(ctx, value)?;
    if let Some(request) = optional::<Object>(&verdict, "forward")? {
        return Ok(Verdict::Forward(Request::from(request_out(&request)?)));
    }
    if let Some(response) = optional::<Object>(&verdict, "respond")? {
        return Ok(Verdict::Respond(Response::from(response_out(&response)?)));
    }
    let refusal: Object = verdict.get("refuse")?;
    Ok(Verdict::refuse(refusal.get("code")?, refusal.get::<_, String>("reason")?))
}

fn socket_verdict<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<SocketVerdict> {
    if value.is_null() || value.is_undefined() {
        return Ok(SocketVerdict::Unknown);
    }
    let verdict = object(ctx, value)?;
    if let Some(room) = optional::<Object>(&verdict, "enter")? {
        return Ok(SocketVerdict::enter(
            room.get::<_, String>("party")?,
            room.get::<_, String>("room")?,
        ));
    }
    if let Some(response) = optional::<Object>(&verdict, "respond")? {
        return Ok(SocketVerdict::Respond(Response::from(response_out(&response)?)));
    }
    let refusal: Object = verdict.get("refuse")?;
    Ok(SocketVerdict::refuse(refusal.get("code")?, refusal.get::<_, String>("reason")?))
}

impl Room for ScriptRoom {
    fn on_start(&mut self, ctx: &Context) -> Result {
        self.engine = Some(engine(ctx.party())?);
        self.event("start", |_| Ok(()), nothing)
    }

    fn tags(&mut self, _: &Context, conn: &Connection, request: &Request) -> Result<Vec<String>> {
        self.event(
            "tags",
            |args| {
                push_connection(args, conn)?;
                push_request(args, request.clone())
            },
            texts,
        )
    }

    fn on_connect(&mut self, _: &Context, conn: &Connection, request: &Request) -> Result {
        self.event(
            "connect",
            |args| {
                push_connection(args, conn)?;
                push_request(args, request.clone())
            },
            nothing,
        )
    }

    fn on_message(&mut self, _: &Context, conn: &Connection, message: Message) -> Result {
        let engine = self.started()?;
        bounded(|| Mode::Room.run(|| engine.message(conn.id(), message)))
    }

    fn on_close(&mut self, _: &Context, conn: &Connection, close: room_sdk::Close) -> Result {
        self.event(
            "close",
            |args| {
                push_connection(args, conn)?;
                args.push(close.code)?;
                args.push(close.reason)?;
                args.push(close.clean)
            },
            nothing,
        )
    }

    fn on_error(&mut self, _: &Context, conn: &Connection, error: &str) -> Result {
        self.event(
            "error",
            |args| {
                push_connection(args, conn)?;
                args.push(error)
            },
            nothing,
        )
    }

    fn on_request(&mut self, _: &Context, request: Request) -> Result<Response> {
        self.event(
            "request",
            |args| push_request(args, request),
            |ctx, value| {
                let response = object(ctx, value)?;
                if optional::<bool>(&response, "later")?.unwrap_or_default() {
                    // The response was deferred: the host ignores this one.
                    return Ok(Response::status(200));
                }
                Ok(Response::from(response_out(&response)?))
            },
        )
    }

    fn on_body(&mut self, _: &Context, id: &str, piece: BodyPiece) -> Result {
        self.event(
            "body",
            |args| {
                args.push(id)?;
                let (bytes, end) = match piece {
                    BodyPiece::More(bytes) => (bytes, None),
                    BodyPiece::Last(bytes) => (bytes, Some("complete")),
                    BodyPiece::Failed(fault) => (
                        Vec::new(),
                        Some(match fault {
                            BodyFault::TooLarge => "too-large",
                            BodyFault::Stalled => "stalled",
                            _ => "aborted",
                        }),
                    ),
                };
                args.push(Bytes(bytes))?;
                args.push(end)
            },
            nothing,
        )
    }

    fn on_stream_close(&mut self, _: &Context, id: &str, end: StreamEnd) -> Result {
        self.event(
            "streamClose",
            |args| {
                args.push(id)?;
                args.push(match end {
                    StreamEnd::Left => "left",
                    StreamEnd::Slow => "slow",
                    StreamEnd::Idle => "idle",
                    StreamEnd::Late => "late",
                    _ => "failed",
                })
            },
            nothing,
        )
    }

    fn on_alarm(&mut self, _: &Context) -> Result {
        self.event("alarm", |_| Ok(()), nothing)
    }

    fn on_timer(&mut self, _: &Context, timer: Timer) -> Result {
        self.event(
            "timer",
            |args| {
                let timer = timer_in(&args.ctx, &timer)?;
                args.push(timer)
            },
            nothing,
        )
    }

    fn on_tick(&mut self, _: &Context) -> Result {
        self.event("tick", |_| Ok(()), nothing)
    }

    fn on_response(&mut self, _: &Context, fetched: Fetched) -> Result {
        self.event(
            "response",
            |args| {
                args.push(fetched.id())?;
                args.push(fetched.tag())?;
                match fetched.response() {
                    Ok(response) => {
                        let response =
                            response_in(&args.ctx, ResponseParts::from(response.clone()))?;
                        args.push(response)
                    }
                    Err(failure) => push_failure(args, &failure),
                }
            },
            nothing,
        )
    }

    fn on_chunk(&mut self, _: &Context, chunk: Chunk) -> Result {
        self.event(
            "chunk",
            |args| {
                let object = Object::new(args.ctx.clone())?;
                object.set("id", chunk.id())?;
                object.set("tag", chunk.tag())?;
                object.set("status", chunk.status())?;
                object.set("offset", number(chunk.offset()))?;
                object.set("bytes", Bytes(chunk.bytes().to_vec()))?;
                args.push(object)
            },
            nothing,
        )
    }

    fn on_call(&mut self, _: &Context, call: Call) -> Result<Reply> {
        self.event(
            "call",
            |args| {
                push_address(args, call.party(), call.room())?;
                args.push(call.id())?;
                args.push(Bytes(call.bytes().to_vec()))
            },
            |ctx, value| Bytes::from_js(ctx, value).map(|bytes| Reply::bytes(bytes.0)),
        )
    }

    fn on_answer(&mut self, _: &Context, answer: Answer) -> Result {
        self.event(
            "answer",
            |args| {
                args.push(answer.id())?;
                args.push(answer.tag())?;
                match answer.bytes() {
                    Ok(bytes) => args.push(Bytes(bytes.to_vec())),
                    Err(failure) => push_failure(args, &failure),
                }
            },
            nothing,
        )
    }

    fn on_publish(&mut self, _: &Context, message: Message) -> Result {
        self.event("publish", |args| args.push(Said(message)), nothing)
    }

    fn on_cron(&mut self, _: &Context, cron: Cron) -> Result {
        self.event(
            "cron",
            |args| {
                args.push(cron.name())?;
                args.push(number(cron.at().as_millis()))
            },
            nothing,
        )
    }

    fn on_expire(&mut self, _: &Context) -> Result {
        self.event("expire", |_| Ok(()), nothing)
    }

    fn on_before_connect(request: Request, lobby: &Lobby) -> Result<Verdict> {
        hook(
            lobby.party(),
            "beforeConnect",
            |args| {
                push_request(args, request)?;
                push_address(args, lobby.party(), lobby.room())
            },
            verdict,
        )
    }

    fn on_before_request(request: Request, lobby: &Lobby) -> Result<Verdict> {
        hook(
            lobby.party(),
            "beforeRequest",
            |args| {
                push_request(args, request)?;
                push_address(args, lobby.party(), lobby.room())
            },
            verdict,
        )
    }

    fn on_fetch(request: Request, _: &ProjectEnv) -> Result<Option<Response>> {
        hook(
            "main",
            "fetch",
            |args| push_request(args, request),
            |ctx, value| {
                if value.is_null() || value.is_undefined() {
                    return Ok(None);
                }
                Ok(Some(Response::from(response_out(&object(ctx, value)?)?)))
            },
        )
    }

    fn on_socket(request: Request, _: &ProjectEnv) -> Result<SocketVerdict> {
        hook("main", "socket", |args| push_request(args, request), socket_verdict)
    }
}
