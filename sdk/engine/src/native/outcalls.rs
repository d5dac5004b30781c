//! Requests to other servers and rooms, for the library.
//!
//! Owns the functions that ask. Invariant: in a room a request is an output of the turn and its answer an event; only a
//! hook waits. It does not know promises.

use room_sdk::host::{
    Current, FetchOptions, Host as _, OutcallRecord, OutcallTarget, RequestParts, RoomAddress,
    hook_fetch,
};
use room_sdk::{OutcallError, Redirects};
use rquickjs::{Ctx, Object, Result};

use super::natives;
use crate::mode::{in_hook, in_room};
use crate::values::{Bytes, Text, failed, optional, refuse, request_out, response_in, whole};

natives! {
    "fetch" => fetch,
    "fetchNow" => fetch_now,
    "fetchRoom" => fetch_room,
    "callRoom" => call_room,
    "cancelOutcall" => cancel_outcall,
    "outcalls" => outcalls,
    "rooms" => rooms,
}

fn redirects(ctx: &Ctx<'_>, options: &Object<'_>) -> Result<Redirects> {
    let redirect: Option<Text> = optional(options, "redirect")?;
    match redirect.as_ref().map(|redirect| redirect.0.as_str()) {
        None | Some("follow") => Ok(Redirects::Follow),
        Some("manual") => Ok(Redirects::Manual),
        Some("error") => Ok(Redirects::Error),
        Some(other) => Err(refuse(
            ctx,
            "invalid",
            &format!("redirect has to be \"follow\", \"manual\" or \"error\", and is {other:?}"),
        )),
    }
}

fn timeout(ctx: &Ctx<'_>, options: &Object<'_>) -> Result<Option<u64>> {
    let timeout: Option<f64> = optional(options, "timeoutMs")?;
    timeout.map(|timeout| whole(ctx, "timeoutMs", timeout)).transpose()
}

fn tag(options: &Object<'_>) -> Result<String> {
    Ok(optional::<Text>(options, "tag")?.unwrap_or_default().0)
}

fn address(options: &Object<'_>) -> Result<RoomAddress> {
    Ok(RoomAddress {
        party: options.get::<_, Text>("party")?.0,
        room: options.get::<_, Text>("room")?.0,
    })
}

fn ask(ctx: &Ctx<'_>, tag: String, target: OutcallTarget) -> Result<String> {
    Current::ask(OutcallRecord { tag, target }).map_err(|error| {
        let code = match &error {
            OutcallError::BeyondLimit { .. } => "beyond-limit",
            _ => "invalid",
        };
        failed(ctx, code, error)
    })
}

fn fetch(ctx: Ctx<'_>, options: Object<'_>) -> Result<String> {
    in_room(&ctx)?;
    let target = OutcallTarget::Fetch {
        request: request_out(&options)?.into(),
        options: FetchOptions {
            timeout_ms: timeout(&ctx, &options)?,
            redirects: redirects(&ctx, &options)?,
            retries: optional(&options, "retries")?.unwrap_or_default(),
            chunks: optional(&options, "chunks")?.unwrap_or_default(),
            best_effort: optional(&options, "bestEffort")?.unwrap_or_default(),
        },
    };
    ask(&ctx, tag(&options)?, target)
}

fn fetch_now<'js>(ctx: Ctx<'js>, options: Object<'js>) -> Result<Object<'js>> {
    in_hook(&ctx)?;
    let cache: Option<Object> = optional(&options, "cache")?;
    let cache = match cache {
        Some(cache) => {
            Some((cache.get::<_, Text>("key")?.0, whole(&ctx, "cache.ms", cache.get("ms")?)?))
        }
        None => None,
    };
    let request: RequestParts = request_out(&options)?;
    let asked =
        hook_fetch(request.into(), timeout(&ctx, &options)?, redirects(&ctx, &options)?, cache);
    match Current::fetch_now(asked) {
        Ok(response) => response_in(&ctx, response.into()),
        Err(failure) => Err(failed(&ctx, failure.code(), &failure)),
    }
}

fn fetch_room(ctx: Ctx<'_>, options: Object<'_>) -> Result<String> {
    in_room(&ctx)?;
    let target =
        OutcallTarget::Request { to: address(&options)?, request: request_out(&options)?.into() };
    ask(&ctx, tag(&options)?, target)
}

fn call_room(ctx: Ctx<'_>, options: Object<'_>) -> Result<String> {
    in_room(&ctx)?;
    let data: Bytes = options.get("data")?;
    let target = OutcallTarget::Call { to: address(&options)?, data: data.0 };
    ask(&ctx, tag(&options)?, target)
}

fn cancel_outcall(ctx: Ctx<'_>, id: Text) -> Result<bool> {
    in_room(&ctx)?;
    Ok(Current::cancel_outcall(&id.0))
}

fn outcalls<'js>(ctx: Ctx<'js>) -> Result<Vec<Object<'js>>> {
    in_room(&ctx)?;
    let mut list = Vec::new();
    for pending in Current::outcalls() {
        let object = Object::new(ctx.clone())?;
        object.set("id", pending.id)?;
        object.set("tag", pending.tag)?;
        object.set("target", pending.target)?;
        object.set("tries", pending.tries)?;
        list.push(object);
    }
    Ok(list)
}

fn rooms<'js>(ctx: Ctx<'js>, party: Text, after: Option<Text>) -> Result<Object<'js>> {
    in_room(&ctx)?;
    let page = Current::rooms(&party.0, after.as_ref().map(|after| after.0.as_str()));
    let (names, more) = page.map_err(|error| failed(&ctx, "invalid", error))?;
    let object = Object::new(ctx)?;
    object.set("names", names)?;
    object.set("more", more)?;
    Ok(object)
}
