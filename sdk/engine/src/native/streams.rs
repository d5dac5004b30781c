//! Responses that stay open, for the library.
//!
//! Owns the functions about the request that a room handles and the responses that it has not completed. Invariant: a
//! refusal of the host becomes an error with its code. It does not know `ReadableStream`.

use room_sdk::host::{Current, Host as _};
use room_sdk::{Result as SdkResult, StreamError};
use rquickjs::{Ctx, Object, Result};

use super::natives;
use crate::mode::in_room;
use crate::values::{Bytes, Text, failed, response_out};

natives! {
    "request" => request,
    "defer" => defer,
    "respond" => respond,
    "begin" => begin,
    "write" => write,
    "end" => end,
    "abort" => abort,
    "openStreams" => open_streams,
}

fn told<T>(ctx: &Ctx<'_>, result: SdkResult<T, StreamError>) -> Result<T> {
    result.map_err(|error| {
        let code = match &error {
            StreamError::NotFound => "not-found",
            StreamError::TooLarge(_) => "too-large",
            StreamError::TooMany { .. } => "too-many",
            _ => "invalid",
        };
        failed(ctx, code, error)
    })
}

fn request<'js>(ctx: Ctx<'js>) -> Result<Option<Object<'js>>> {
    in_room(&ctx)?;
    let Some((id, body_follows)) = Current::request() else {
        return Ok(None);
    };
    let object = Object::new(ctx)?;
    object.set("id", id)?;
    object.set("bodyFollows", body_follows)?;
    Ok(Some(object))
}

fn defer(ctx: Ctx<'_>) -> Result<String> {
    in_room(&ctx)?;
    told(&ctx, Current::defer())
}

fn respond(ctx: Ctx<'_>, id: Text, response: Object<'_>) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::respond(&id.0, response_out(&response)?.into()))
}

fn begin(ctx: Ctx<'_>, id: Text, head: Object<'_>) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::begin(&id.0, response_out(&head)?.into()))
}

fn write(ctx: Ctx<'_>, id: Text, piece: Bytes) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::write(&id.0, &piece.0))
}

fn end(ctx: Ctx<'_>, id: Text) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::end(&id.0))
}

fn abort(ctx: Ctx<'_>, id: Text) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::abort(&id.0))
}

fn open_streams(ctx: Ctx<'_>) -> Result<Vec<String>> {
    in_room(&ctx)?;
    Ok(Current::open_streams())
}
