//! What the room has sent, for the library.
//!
//! Owns the function that reads it. Invariant: a refusal of the host becomes an error with its code. It does not know what
//! is remembered.

use room_sdk::HistoryError;
use room_sdk::host::{Current, Host as _, SentOptions};
use rquickjs::{Ctx, Object, Result};

use super::natives;
use crate::mode::in_room;
use crate::values::{Said, Text, failed, number, optional};

natives! {
    "history" => history,
}

fn history<'js>(ctx: Ctx<'js>, options: Object<'js>) -> Result<Object<'js>> {
    in_room(&ctx)?;
    let id = |name| Ok::<_, rquickjs::Error>(optional::<Text>(&options, name)?.map(|id| id.0));
    let limit = optional::<u32>(&options, "limit")?;
    let options = SentOptions { limit, before: id("before")?, after: id("after")? };
    let read = Current::history(&options).map_err(|error| {
        let code = match &error {
            HistoryError::NotKept => "not-kept",
            HistoryError::Forgotten => "forgotten",
            _ => "invalid",
        };
        failed(&ctx, code, error)
    })?;
    let describe = |sent: room_sdk::Sent| {
        let object = Object::new(ctx.clone())?;
        object.set("id", sent.id)?;
        object.set("at", number(sent.at.as_millis()))?;
        object.set("tag", sent.tag)?;
        object.set("message", Said(sent.message))?;
        Ok::<_, rquickjs::Error>(object)
    };
    let messages = read.messages.into_iter().map(describe).collect::<Result<Vec<_>>>()?;
    let page = Object::new(ctx.clone())?;
    page.set("messages", messages)?;
    page.set("more", read.more)?;
    Ok(page)
}
