//! Clients, log and the room itself, for the library.
//!
//! Owns the functions about connections, savepoints, names, variables, the log and the clock. Invariant: a refusal of the
//! host becomes an error with its code. It does not know the objects that authors see.

use std::time::SystemTime;

use room_sdk::host::{ConnectionData, Current, Host as _};
use room_sdk::log::Level;
use room_sdk::{ConnectionError, Delivery, Result as SdkResult};
use rquickjs::prelude::Opt;
use rquickjs::{Ctx, Object, Result};

use super::natives;
use crate::mode::{Mode, in_hook, in_room, running};
use crate::stack::{HeapPositions, SCRIPT_NAME};
use crate::values::{Bytes, Said, Text, failed, number, refuse, response_out};

natives! {
    "connections" => connections,
    "connectionIds" => connection_ids,
    "connection" => connection,
    "transport" => transport,
    "send" => send,
    "broadcast" => broadcast,
    "sendFleeting" => send_fleeting,
    "broadcastFleeting" => broadcast_fleeting,
    "close" => close,
    "setState" => set_state,
    "party" => party,
    "name" => name,
    "savepoint" => savepoint,
    "rollBack" => roll_back,
    "release" => release,
    "refuse" => refuse_request,
    "addResponseHeader" => add_response_header,
    "log" => log,
    "now" => now,
    "vars" => vars,
    "mode" => mode,
}

fn code(error: &ConnectionError) -> &'static str {
    match error {
        ConnectionError::NotFound => "not-found",
        ConnectionError::StateTooLarge(_) => "state-too-large",
        ConnectionError::MessageTooLarge(_) => "message-too-large",
        ConnectionError::TooManySends { .. } => "too-many-sends",
        ConnectionError::InvalidClose(_) => "invalid-close",
        ConnectionError::InvalidKey(_) => "invalid-key",
        _ => "refused",
    }
}

fn told<T>(ctx: &Ctx<'_>, result: SdkResult<T, ConnectionError>) -> Result<T> {
    result.map_err(|error| failed(ctx, code(&error), error))
}

fn describe<'js>(ctx: &Ctx<'js>, data: ConnectionData) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("id", data.id)?;
    object.set("uri", data.uri)?;
    object.set("tags", data.tags)?;
    object.set("state", Bytes(data.state))?;
    Ok(object)
}

fn connections<'js>(ctx: Ctx<'js>, tag: Opt<Option<Text>>) -> Result<Vec<Object<'js>>> {
    in_room(&ctx)?;
    let tag = tag.0.flatten();
    let list = Current::connections(tag.as_ref().map(|tag| tag.0.as_str()));
    list.into_iter().map(|data| describe(&ctx, data)).collect()
}

fn connection_ids(ctx: Ctx<'_>, tag: Opt<Option<Text>>) -> Result<Vec<String>> {
    in_room(&ctx)?;
    let tag = tag.0.flatten();
    Ok(Current::connection_ids(tag.as_ref().map(|tag| tag.0.as_str())))
}

fn connection<'js>(ctx: Ctx<'js>, id: Text) -> Result<Option<Object<'js>>> {
    in_room(&ctx)?;
    Current::connection(&id.0).map(|data| describe(&ctx, data)).transpose()
}

fn transport(ctx: Ctx<'_>, id: Text) -> Result<Option<&'static str>> {
    in_room(&ctx)?;
    Ok(Current::transport(&id.0).map(room_sdk::Transport::as_str))
}

fn send(ctx: Ctx<'_>, id: Text, message: Said) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::send(&id.0, message.0))
}

/// Sends with a key that a newer message replaces it by, or without a key to a client that keeps up.
fn send_fleeting(ctx: Ctx<'_>, id: Text, message: Said, key: Opt<Option<Text>>) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::send_as(&id.0, message.0, &delivery(key)))
}

fn broadcast_fleeting(
    ctx: Ctx<'_>,
    message: Said,
    without: Vec<Text>,
    key: Opt<Option<Text>>,
) -> Result<()> {
    in_room(&ctx)?;
    let without: Vec<String> = without.into_iter().map(|id| id.0).collect();
    told(&ctx, Current::broadcast_as(message.0, None, &without, &delivery(key)))
}

fn delivery(key: Opt<Option<Text>>) -> Delivery {
    key.0.flatten().map_or(Delivery::Volatile, |key| Delivery::Latest(key.0))
}

fn broadcast(ctx: Ctx<'_>, message: Said, tag: Option<Text>, without: Vec<Text>) -> Result<()> {
    in_room(&ctx)?;
    let without: Vec<String> = without.into_iter().map(|id| id.0).collect();
    told(&ctx, Current::broadcast(message.0, tag.as_ref().map(|tag| tag.0.as_str()), &without))
}

fn close(ctx: Ctx<'_>, id: Text, code: u16, reason: Text) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::close(&id.0, code, &reason.0))
}

fn set_state(ctx: Ctx<'_>, id: Text, state: Bytes) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::set_state(&id.0, &state.0))
}

fn party(ctx: Ctx<'_>) -> Result<String> {
    in_room(&ctx)?;
    Ok(Current::party())
}

fn name(ctx: Ctx<'_>) -> Result<String> {
    in_room(&ctx)?;
    Ok(Current::name())
}

fn savepoint(ctx: Ctx<'_>) -> Result<u32> {
    in_room(&ctx)?;
    Current::savepoint().map_err(|error| failed(&ctx, "too-deep", error))
}

fn roll_back(ctx: Ctx<'_>, savepoint: u32) -> Result<()> {
    in_room(&ctx)?;
    Current::roll_back(savepoint);
    Ok(())
}

fn release(ctx: Ctx<'_>, savepoint: u32) -> Result<()> {
    in_room(&ctx)?;
    Current::release(savepoint);
    Ok(())
}

fn refuse_request(ctx: Ctx<'_>, response: Object<'_>) -> Result<()> {
    in_room(&ctx)?;
    Current::refuse(response_out(&response)?.into());
    Ok(())
}

fn add_response_header(ctx: Ctx<'_>, name: Text, value: Text) -> Result<()> {
    in_hook(&ctx)?;
    Current::add_response_header(&name.0.to_ascii_lowercase(), value.0.as_bytes());
    Ok(())
}

fn log<'js>(
    ctx: Ctx<'js>,
    level: Text,
    message: Text,
    fields: Opt<Option<Object<'js>>>,
) -> Result<()> {
    if Mode::now() == Mode::Global {
        // There is no room whose log it could be in; a script that logs as it is evaluated is not refused.
        return Ok(());
    }
    #[cfg(any(feature = "testing", not(target_family = "wasm")))]
    if Mode::now() == Mode::Test {
        crate::testing::said(&message.0);
        return Ok(());
    }
    let level = match level.0.as_str() {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        other => {
            return Err(refuse(
                &ctx,
                "invalid-level",
                &format!("{other:?} is not a level of the log"),
            ));
        }
    };
    let mut pairs = Vec::new();
    if let Some(fields) = fields.0.flatten() {
        for entry in fields.props::<String, Text>() {
            pairs.push(entry?);
        }
    }
    let pairs: Vec<(&str, String)> =
        pairs.iter().map(|(name, text)| (name.as_str(), text.0.clone())).collect();
    // The library logs what fails in a later turn of a handler, with its stack.
    let table = ctx.userdata::<HeapPositions>().filter(|_| message.0.contains(SCRIPT_NAME));
    let text = table.map(|table| table.0.rewrite_text(&message.0));
    Current::log(level, text.as_ref().unwrap_or(&message.0), &pairs);
    Ok(())
}

fn now(ctx: Ctx<'_>) -> Result<f64> {
    running(&ctx)?;
    if Mode::now() == Mode::Test {
        return Ok(number(clock_ms()));
    }
    Ok(number(Current::now_ms()))
}

/// The clock of the process, as `Date.now()` reads it: a runner of tests sets it to that of the rooms.
#[expect(clippy::disallowed_methods, reason = "there is no room whose clock it could be")]
fn clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn vars<'js>(ctx: Ctx<'js>) -> Result<Object<'js>> {
    running(&ctx)?;
    let object = Object::new(ctx)?;
    if Mode::now() == Mode::Test {
        // Variables are those of a room.
        return Ok(object);
    }
    for (name, value) in Current::vars() {
        object.set(name, value)?;
    }
    Ok(object)
}

fn mode() -> &'static str {
    Mode::now().name()
}
