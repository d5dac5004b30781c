//! What a test sees of a room: its storage, times, connections and log.
//!
//! Owns these records. Invariant: looking changes nothing, but that the errors of turns are taken. It does not know how a
//! room gets to them.

use room_sdk::log::Level;
use rquickjs::{Ctx, Object, Result};

use crate::native::natives;
use crate::native::presence::{told, user_in};
use crate::testing::rooms;
use crate::values::{Bytes, Text, number, timer_in};

natives! {
    "stored" => stored,
    "storedKeys" => stored_keys,
    "alarm" => alarm,
    "timers" => timers,
    "ticks" => ticks,
    "connectionIds" => connection_ids,
    "usersSeen" => users_seen,
    "streamIds" => stream_ids,
    "logs" => logs,
    "takeErrors" => take_errors,
}

fn stored(ctx: Ctx<'_>, room: u32, key: Text) -> Result<Option<Bytes>> {
    let storage = rooms::room(&ctx, room)?.storage();
    let mut entries = storage.iter();
    let found = entries.find(|(own, _)| *own == key.0.as_bytes());
    Ok(found.map(|(_, value)| Bytes(value.to_vec())))
}

fn stored_keys(ctx: Ctx<'_>, room: u32, prefix: Text) -> Result<Vec<String>> {
    let storage = rooms::room(&ctx, room)?.storage();
    let keys = storage.iter().filter(|(key, _)| key.starts_with(prefix.0.as_bytes()));
    Ok(keys.map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect())
}

fn alarm(ctx: Ctx<'_>, room: u32) -> Result<Option<f64>> {
    Ok(rooms::room(&ctx, room)?.alarm().map(|at| number(at.as_millis())))
}

fn timers<'js>(ctx: Ctx<'js>, room: u32) -> Result<Vec<Object<'js>>> {
    let timers = rooms::room(&ctx, room)?.timers();
    timers.iter().map(|timer| timer_in(&ctx, timer)).collect()
}

/// The pause of the ticks, which a room in memory has while `setTimeout` waits.
fn ticks(ctx: Ctx<'_>, room: u32) -> Result<Option<f64>> {
    Ok(rooms::room(&ctx, room)?.ticks().map(|pause| pause.as_secs_f64() * 1_000.0))
}

fn connection_ids(ctx: Ctx<'_>, room: u32) -> Result<Vec<String>> {
    Ok(rooms::room(&ctx, room)?.connection_ids())
}

fn users_seen<'js>(ctx: Ctx<'js>, room: u32) -> Result<Vec<Object<'js>>> {
    let users = told(&ctx, rooms::room(&ctx, room)?.user_records())?;
    users.into_iter().map(|user| user_in(&ctx, user)).collect()
}

fn stream_ids(ctx: Ctx<'_>, room: u32) -> Result<Vec<String>> {
    Ok(rooms::room(&ctx, room)?.stream_ids())
}

fn logs<'js>(ctx: Ctx<'js>, room: u32) -> Result<Vec<Object<'js>>> {
    let describe = |line: room_sdk::test::LogLine| {
        let object = Object::new(ctx.clone())?;
        let level = match line.level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            _ => "error",
        };
        object.set("level", level)?;
        object.set("message", line.message)?;
        let fields = Object::new(ctx.clone())?;
        for (name, value) in line.fields {
            fields.set(name, value)?;
        }
        object.set("fields", fields)?;
        Ok(object)
    };
    rooms::room(&ctx, room)?.logs().into_iter().map(describe).collect()
}

fn take_errors(ctx: Ctx<'_>, room: u32) -> Result<Vec<String>> {
    Ok(rooms::room(&ctx, room)?.take_errors())
}
