//! Who is in the room, for the library.
//!
//! Owns the functions about users. Invariant: a refusal of the host becomes an error with its code, and what a user shows
//! goes through as JSON. It does not know how clients learn of a change.

use room_sdk::host::{Current, Host as _, UserRecord};
use room_sdk::{PresenceError, Result as SdkResult};
use rquickjs::{Ctx, Object, Result};

use super::natives;
use crate::mode::in_room;
use crate::values::{Text, failed, whole};

natives! {
    "setPresence" => set_presence,
    "clearPresence" => clear_presence,
    "flagPresence" => flag_presence,
    "presentUsers" => present_users,
    "presentUser" => present_user,
}

/// Gives a script the error of a refusal.
pub(crate) fn told<T>(ctx: &Ctx<'_>, result: SdkResult<T, PresenceError>) -> Result<T> {
    let code = |error: &PresenceError| match error {
        PresenceError::NotKept => "not-kept",
        PresenceError::NotFound => "not-found",
        PresenceError::NotPresent => "not-present",
        PresenceError::Forbidden => "forbidden",
        PresenceError::TooLarge(_) => "too-large",
        PresenceError::BeyondLimit { .. } => "beyond-limit",
        _ => "invalid",
    };
    result.map_err(|error| failed(ctx, code(&error), error))
}

/// Returns a time of a script in whole milliseconds.
pub(crate) fn lasting(ctx: &Ctx<'_>, ms: f64) -> Result<u32> {
    Ok(u32::try_from(whole(ctx, "the time of a flag", ms)?).unwrap_or(u32::MAX))
}

/// Returns a user as a script has it. What it shows is JSON.
pub(crate) fn user_in<'js>(ctx: &Ctx<'js>, record: UserRecord) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("user", record.name)?;
    object.set("data", record.data)?;
    object.set("connections", record.connections)?;
    object.set("flags", record.flags)?;
    Ok(object)
}

fn set_presence(ctx: Ctx<'_>, id: Text, data: Text) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::set_presence(&id.0, &data.0))
}

fn clear_presence(ctx: Ctx<'_>, id: Text) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::clear_presence(&id.0))
}

fn flag_presence(ctx: Ctx<'_>, id: Text, flag: Text, ms: f64) -> Result<()> {
    in_room(&ctx)?;
    let for_ms = lasting(&ctx, ms)?;
    told(&ctx, Current::flag_presence(&id.0, &flag.0, for_ms))
}

fn present_users<'js>(ctx: Ctx<'js>) -> Result<Vec<Object<'js>>> {
    in_room(&ctx)?;
    let users = told(&ctx, Current::present_users())?;
    users.into_iter().map(|user| user_in(&ctx, user)).collect()
}

fn present_user<'js>(ctx: Ctx<'js>, name: Text) -> Result<Option<Object<'js>>> {
    in_room(&ctx)?;
    told(&ctx, Current::present_user(&name.0))?.map(|user| user_in(&ctx, user)).transpose()
}
