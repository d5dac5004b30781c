//! A room under test and its clock.
//!
//! Owns the making of rooms, and what a server does to one: its times, its end, its restarts. Invariant: see [`super`]. It
//! does not know clients.

use std::time::Duration;

use room_sdk::Timestamp;
use room_sdk::test::{TestProject, TestRoom};
use rquickjs::{Ctx, Object, Result};

use crate::ScriptRoom;
use crate::native::natives;
use crate::testing::rooms::{self, act};
use crate::values::{Bytes, Said, Text, number, optional, refuse, whole};

natives! {
    "makeRoom" => make_room,
    "makeProject" => make_project,
    "settle" => settle,
    "advance" => advance,
    "cron" => cron,
    "publish" => publish,
    "expire" => expire,
    "now" => now,
    "reload" => reload,
    "dropInstance" => drop_instance,
}

/// The texts of pairs.
fn pairs(object: &Object<'_>, name: &str) -> Result<Vec<(String, String)>> {
    let pairs: Vec<Vec<Text>> = optional(object, name)?.unwrap_or_default();
    let texts = pairs.into_iter().filter_map(|pair| <[Text; 2]>::try_from(pair).ok());
    Ok(texts.map(|[first, second]| (first.0, second.0)).collect())
}

fn make_room(ctx: Ctx<'_>, options: Object<'_>) -> Result<u32> {
    let (name, party): (Text, Text) = (options.get("name")?, options.get("party")?);
    rooms::check_party(&ctx, &party.0)?;
    let mut builder = TestRoom::<ScriptRoom>::builder(&name.0).party(&party.0);
    for (name, value) in rooms::vars().into_iter().chain(pairs(&options, "vars")?) {
        builder = builder.var(&name, &value);
    }
    for (party, name) in pairs(&options, "others")? {
        builder = builder.other_room(&party, &name);
    }
    let stored: Vec<Object> = optional(&options, "stored")?.unwrap_or_default();
    for entry in stored {
        let (key, value): (Text, Bytes) = (entry.get("key")?, entry.get("value")?);
        builder = builder.stored_bytes(key.0, value.0);
    }
    if let Some(clock) = optional::<f64>(&options, "clock")? {
        builder = builder.clock(Timestamp::from_millis(whole(&ctx, "the clock", clock)?));
    }
    if let Some(bytes) = optional::<f64>(&options, "bytesMax")? {
        builder = builder.room_bytes_max(whole(&ctx, "bytesMax", bytes)?);
    }
    if let Some(messages) = optional::<u32>(&options, "history")? {
        builder = builder.history(messages as usize);
    }
    if options.get("presence")? {
        builder = builder.presence();
    }
    if let Some(grace) = optional::<f64>(&options, "presenceGrace")? {
        let grace = whole(&ctx, "the grace of presence", grace)?;
        builder = builder.presence_grace(Duration::from_millis(grace));
    }
    let room = match optional::<u32>(&options, "project")? {
        Some(project) => rooms::project(&ctx, project)?.borrow_mut().add(builder),
        None => builder.build(),
    };
    Ok(rooms::keep_room(room))
}

fn make_project() -> u32 {
    rooms::keep_project(TestProject::new())
}

fn settle(ctx: Ctx<'_>, project: u32) -> Result<()> {
    rooms::project(&ctx, project)?.borrow().settle();
    Ok(())
}

fn advance(ctx: Ctx<'_>, room: u32, millis: f64) -> Result<()> {
    let room = rooms::room(&ctx, room)?;
    let by = Duration::from_millis(whole(&ctx, "the time to advance by", millis)?);
    act(&room, || room.advance(by));
    Ok(())
}

fn cron(ctx: Ctx<'_>, room: u32, name: Text, at: f64) -> Result<()> {
    let room = rooms::room(&ctx, room)?;
    let at = Timestamp::from_millis(whole(&ctx, "the time of a cron", at)?);
    act(&room, || room.cron(&name.0, at));
    Ok(())
}

fn publish(ctx: Ctx<'_>, room: u32, message: Said) -> Result<()> {
    let room = rooms::room(&ctx, room)?;
    act(&room, || room.publish(message.0));
    Ok(())
}

fn expire(ctx: Ctx<'_>, room: u32) -> Result<()> {
    let room = rooms::room(&ctx, room)?;
    if !room.connection_ids().is_empty() {
        let text = "a room that somebody is connected to does not expire: close its clients first";
        return Err(refuse(&ctx, "in-use", text));
    }
    act(&room, || room.expire());
    Ok(())
}

fn now(ctx: Ctx<'_>, room: u32) -> Result<f64> {
    Ok(number(rooms::room(&ctx, room)?.now().as_millis()))
}

fn reload(ctx: Ctx<'_>, room: u32) -> Result<()> {
    let room = rooms::room(&ctx, room)?;
    act(&room, || room.restart());
    Ok(())
}

fn drop_instance(ctx: Ctx<'_>, room: u32) -> Result<()> {
    rooms::room(&ctx, room)?.hibernate();
    Ok(())
}
