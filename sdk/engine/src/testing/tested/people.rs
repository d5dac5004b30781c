//! The clients of a room under test: WebSockets, requests, and the hooks before both.
//!
//! Owns what clients do and what they got. Invariant: see [`super`]. It does not know what a room asks others.

use std::time::Duration;

use room_sdk::host::ResponseParts;
use room_sdk::test::{TestResponse, identity_of};
use room_sdk::{BodyFault, Delivery, Identity, Message, Request, SocketVerdict, StreamEnd};
use rquickjs::{Ctx, IntoJs as _, Object, Result, Value};

use crate::ScriptRoom;
use crate::native::natives;
use crate::native::presence::{lasting, told};
use crate::testing::rooms::{self, act};
use crate::values::{Bytes, Said, Text, optional, refuse, request_out, response_in, type_error};

natives! {
    "connect" => connect,
    "clientSend" => client_send,
    "clientReceived" => client_received,
    "clientDeliveries" => client_deliveries,
    "clientClose" => client_close,
    "clientLose" => client_lose,
    "clientClosed" => client_closed,
    "clientShow" => client_show,
    "clientHide" => client_hide,
    "clientFlag" => client_flag,
    "clientResponse" => client_response,
    "clientHeader" => client_header,
    "begin" => begin,
    "responseHead" => response_head,
    "responseTake" => response_take,
    "responseEnd" => response_end,
    "responseCut" => response_cut,
    "responsePiece" => response_piece,
    "outsideFetch" => outside_fetch,
    "outsideSocket" => outside_socket,
}

fn connect(ctx: Ctx<'_>, room: u32, id: Text, options: Object<'_>) -> Result<u32> {
    let room = rooms::room(&ctx, room)?;
    let pairs = |name: &str| -> Result<Vec<[Text; 2]>> {
        let pairs: Vec<Vec<Text>> = options.get(name)?;
        Ok(pairs.into_iter().filter_map(|pair| pair.try_into().ok()).collect())
    };
    let mut client = room.client(&id.0).path(&options.get::<_, Text>("path")?.0);
    for [name, value] in pairs("query")? {
        client = client.query(&name.0, &value.0);
    }
    for [name, value] in pairs("headers")? {
        client = client.header(&name.0, &value.0);
    }
    if let Some(identity) = claims(&ctx, &options)? {
        client = client.identity(identity);
    }
    if let Some(ticket) = optional::<Text>(&options, "ticket")? {
        client = client.ticket(&ticket.0);
    }
    match options.get::<_, Text>("transport")?.0.as_str() {
        "sse" => client = client.transport(room_sdk::Transport::Sse),
        "long-poll" => client = client.transport(room_sdk::Transport::LongPoll),
        _ => {}
    }
    Ok(rooms::keep_client(act(&room, || client.connect())))
}

/// Who a test says that a client is.
fn claims(ctx: &Ctx<'_>, given: &Object<'_>) -> Result<Option<Identity>> {
    let Some(text) = optional::<Text>(given, "claims")? else { return Ok(None) };
    identity_of(&text.0).map(Some).map_err(|error| type_error(ctx, &error))
}

fn client_send(ctx: Ctx<'_>, room: u32, client: u32, message: Said) -> Result<()> {
    let (room, client) = (rooms::room(&ctx, room)?, rooms::client(&ctx, client)?);
    if let Some(close) = client.closed() {
        let text = format!(
            "the connection is closed ({} {:?}), so it sends nothing",
            close.code, close.reason
        );
        return Err(refuse(&ctx, "closed", text.trim_end()));
    }
    act(&room, || match message.0 {
        room_sdk::Message::Text(text) => client.send_text(text),
        room_sdk::Message::Binary(bytes) => client.send_binary(bytes),
    });
    Ok(())
}

/// Takes what arrived, each message with `"volatile"`, the key behind `"latest:"`, or an empty text.
fn client_deliveries<'js>(ctx: Ctx<'js>, client: u32) -> Result<Vec<Vec<Value<'js>>>> {
    let arrived = rooms::client(&ctx, client)?.deliveries();
    let pair = |(message, delivery): (Message, Delivery)| {
        let how = match delivery {
            Delivery::Volatile => "volatile".to_owned(),
            Delivery::Latest(key) => format!("latest:{key}"),
            _ => String::new(),
        };
        Ok(vec![Said(message).into_js(&ctx)?, how.into_js(&ctx)?])
    };
    arrived.into_iter().map(pair).collect()
}

fn client_received<'js>(ctx: Ctx<'js>, client: u32) -> Result<Vec<Value<'js>>> {
    let received = rooms::client(&ctx, client)?.received();
    received.into_iter().map(|message| Said(message).into_js(&ctx)).collect()
}

fn client_close(ctx: Ctx<'_>, room: u32, client: u32, code: u16, reason: Text) -> Result<()> {
    let (room, client) = (rooms::room(&ctx, room)?, rooms::client(&ctx, client)?);
    act(&room, || client.close(code, &reason.0));
    Ok(())
}

fn client_lose(ctx: Ctx<'_>, room: u32, client: u32) -> Result<()> {
    let (room, client) = (rooms::room(&ctx, room)?, rooms::client(&ctx, client)?);
    act(&room, || client.lose());
    Ok(())
}

fn client_show(ctx: Ctx<'_>, client: u32, data: Text) -> Result<()> {
    told(&ctx, rooms::client(&ctx, client)?.show_json(&data.0))
}

fn client_hide(ctx: Ctx<'_>, client: u32) -> Result<()> {
    told(&ctx, rooms::client(&ctx, client)?.hide())
}

fn client_flag(ctx: Ctx<'_>, client: u32, flag: Text, ms: f64) -> Result<()> {
    let lasting = Duration::from_millis(u64::from(lasting(&ctx, ms)?));
    told(&ctx, rooms::client(&ctx, client)?.flag(&flag.0, lasting))
}

fn client_closed<'js>(ctx: Ctx<'js>, client: u32) -> Result<Option<Object<'js>>> {
    let Some(close) = rooms::client(&ctx, client)?.closed() else { return Ok(None) };
    let object = Object::new(ctx)?;
    object.set("code", close.code)?;
    object.set("reason", close.reason)?;
    object.set("wasClean", close.clean)?;
    Ok(Some(object))
}

fn client_response<'js>(ctx: Ctx<'js>, client: u32) -> Result<Option<Object<'js>>> {
    let response = rooms::client(&ctx, client)?.response();
    response.map(|response| response_in(&ctx, ResponseParts::from(response))).transpose()
}

fn client_header(ctx: Ctx<'_>, client: u32, name: Text) -> Result<Vec<String>> {
    Ok(rooms::client(&ctx, client)?.header_all(&name.0))
}

fn begin(ctx: Ctx<'_>, room: u32, request: Object<'_>, in_pieces: bool) -> Result<u32> {
    let room = rooms::room(&ctx, room)?;
    let identity = claims(&ctx, &request)?;
    let mut request: Request = request_out(&request)?.into();
    if let Some(identity) = identity {
        request = request.with_identity(identity);
    }
    let response =
        act(&room, || if in_pieces { room.upload(request) } else { room.begin(request) });
    Ok(rooms::keep_response(response))
}

fn response_head<'js>(ctx: Ctx<'js>, response: u32) -> Result<Option<Object<'js>>> {
    let head = rooms::response(&ctx, response)?.head();
    head.map(|head| response_in(&ctx, ResponseParts::from(head))).transpose()
}

fn response_take(ctx: Ctx<'_>, response: u32) -> Result<Bytes> {
    Ok(Bytes(rooms::response(&ctx, response)?.take()))
}

/// How the response ended, if it did.
fn response_end(ctx: Ctx<'_>, response: u32) -> Result<Option<&'static str>> {
    let response = rooms::response(&ctx, response)?;
    Ok(end_of(&response))
}

fn end_of(response: &TestResponse<ScriptRoom>) -> Option<&'static str> {
    if response.is_complete() {
        return Some("complete");
    }
    response.is_broken_off().then_some("broken-off")
}

fn response_cut(ctx: Ctx<'_>, room: u32, response: u32, end: Text) -> Result<()> {
    let (room, response) = (rooms::room(&ctx, room)?, rooms::response(&ctx, response)?);
    let end = match end.0.as_str() {
        "left" => StreamEnd::Left,
        "slow" => StreamEnd::Slow,
        "idle" => StreamEnd::Idle,
        "late" => StreamEnd::Late,
        other => return Err(type_error(&ctx, &format!("{other:?} is not an end of a response"))),
    };
    act(&room, || response.cut(end));
    Ok(())
}

/// A piece of a request's body: `end` is `null`, `complete`, or how the body failed.
fn response_piece(
    ctx: Ctx<'_>,
    room: u32,
    response: u32,
    bytes: Bytes,
    end: Option<Text>,
) -> Result<()> {
    let (room, response) = (rooms::room(&ctx, room)?, rooms::response(&ctx, response)?);
    let fault = |fault: BodyFault| act(&room, || response.fail_body(fault));
    match end.as_ref().map(|end| end.0.as_str()) {
        None => act(&room, || response.send_piece(bytes.0)),
        Some("complete") => act(&room, || response.send_last(bytes.0)),
        Some("too-large") => fault(BodyFault::TooLarge),
        Some("stalled") => fault(BodyFault::Stalled),
        Some("aborted") => fault(BodyFault::Aborted),
        Some(other) => {
            return Err(type_error(&ctx, &format!("{other:?} is not a failure of a body")));
        }
    }
    Ok(())
}

fn outside_fetch<'js>(
    ctx: Ctx<'js>,
    room: u32,
    request: Object<'js>,
) -> Result<Option<Object<'js>>> {
    let room = rooms::room(&ctx, room)?;
    let request = request_out(&request)?.into();
    let response = act(&room, || room.fetch(request));
    response.map(|response| response_in(&ctx, ResponseParts::from(response))).transpose()
}

/// The verdict of `onSocket`; `null` if it failed.
fn outside_socket<'js>(
    ctx: Ctx<'js>,
    room: u32,
    request: Object<'js>,
) -> Result<Option<Object<'js>>> {
    let room = rooms::room(&ctx, room)?;
    let request = request_out(&request)?.into();
    let Some(verdict) = act(&room, || room.socket(request)) else { return Ok(None) };
    let object = Object::new(ctx.clone())?;
    match verdict {
        SocketVerdict::Enter { party, room } => {
            object.set("party", party)?;
            object.set("room", room)?;
        }
        SocketVerdict::Respond(response) => {
            object.set("respond", response_in(&ctx, ResponseParts::from(response))?)?;
        }
        SocketVerdict::Refuse { code, reason } => {
            let refusal = Object::new(ctx)?;
            refusal.set("code", code)?;
            refusal.set("reason", reason)?;
            object.set("refuse", refusal)?;
        }
        SocketVerdict::Unknown => {}
    }
    Ok(Some(object))
}
