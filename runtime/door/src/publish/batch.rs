//! Batches of publications. Owns their form, and the answer for each of their messages.
//!
//! Invariant: the messages of a batch to one room reach it in their order, and each has a result of its own, in the order
//! of the batch. It does not know keys, or what a publication does.

use super::{
    IDEMPOTENCY_KEY, PATH, Published, check_scope, checked_idempotency_key, key_of, keys, to_room,
};
use crate::http::read_body;
use crate::status::DoorError;
use crate::{FrontDoor, forward};
use ::http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, StatusCode, header};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream::{StreamExt, iter};
use http_body_util::{BodyExt, Limited};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use room_core::config::PublishKey;
use room_core::event::Message;
use room_core::id::{PartyName, RoomId};
use room_core::limits::fixed::{PUBLISH_ANSWER_BYTES_MAX, PUBLISH_PARALLEL_MAX};
use room_core::limits::size;
use room_rooms::cluster::Home;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The body of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishBatch {
    messages: Vec<BatchMessage>,
}

/// One message of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchMessage {
    party: Option<String>,
    room: String,
    text: Option<String>,
    json: Option<Value>,
    base64: Option<String>,
    idempotency_key: Option<String>,
}

/// The answers to a batch.
#[derive(Serialize)]
pub(super) struct BatchResults {
    results: Vec<BatchResult>,
}

/// The answer to one message.
#[derive(Clone, Serialize)]
struct BatchResult {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The seconds after which the same message may be published.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

/// A message that can be published.
struct CheckedMessage {
    message: Message,
    once: Option<String>,
}

/// Publishes a batch.
///
/// # Errors
/// [`DoorError`]: none of it was published.
pub(super) async fn publish(door: &FrontDoor, request: Request) -> Result<BatchResults, DoorError> {
    let keys = keys(door, &request)?;
    let key = key_of(&keys, request.headers())?;
    let (parts, body) = request.into_parts();
    let limits = &door.0.limits;
    let mut permit = door.0.rooms.bytes().permit();
    let body = read_body(body, limits.publish_batch_bytes_max, limits, &mut permit).await?;
    let batch: PublishBatch = serde_json::from_slice(&body)
        .map_err(|error| DoorError::Publication(format!("the body is no batch: {error}")))?;
    if batch.messages.len() as u64 > limits.publish_batch_max {
        return Err(DoorError::BatchTooLarge(limits.publish_batch_max));
    }
    let mut results = vec![None; batch.messages.len()];
    let mut by_room: BTreeMap<RoomId, Vec<(usize, CheckedMessage)>> = BTreeMap::new();
    for (at, message) in batch.messages.into_iter().enumerate() {
        match checked(door, key, message) {
            Ok((room, message)) => by_room.entry(room).or_default().push((at, message)),
            Err(error) => results[at] = Some(failed(door, &error)),
        }
    }
    let headers = &parts.headers;
    let rooms = by_room.into_iter().map(|(room, messages)| async move {
        let mut done = Vec::with_capacity(messages.len());
        for (at, message) in messages {
            done.push((at, publish_to(door, headers, &room, message).await));
        }
        done
    });
    let mut rooms = iter(rooms).buffer_unordered(PUBLISH_PARALLEL_MAX);
    while let Some(done) = rooms.next().await {
        for (at, result) in done {
            results[at] = Some(result);
        }
    }
    Ok(BatchResults { results: results.into_iter().flatten().collect() })
}

fn checked(
    door: &FrontDoor,
    key: &PublishKey,
    message: BatchMessage,
) -> Result<(RoomId, CheckedMessage), DoorError> {
    let limits = &door.0.limits;
    let BatchMessage { party, room, text, json, base64, idempotency_key } = message;
    let party = PartyName::parse(party.as_deref().unwrap_or("main"))?;
    let room = RoomId::new(party, &room, size(limits.room_name_bytes_max))?;
    check_scope(key, &room)?;
    let message = match (text, json, base64) {
        (Some(text), None, None) => Message::text(text),
        (None, Some(json), None) => Message::text(json.to_string()),
        (None, None, Some(base64)) => {
            let bytes = BASE64_STANDARD.decode(base64);
            let wrong = |_| DoorError::Publication("its base64 is invalid".to_owned());
            Message::Binary(bytes.map_err(wrong)?.into())
        }
        _ => {
            let what = "a message has one of text, json and base64".to_owned();
            return Err(DoorError::Publication(what));
        }
    };
    if message.len() as u64 > limits.message_bytes_max {
        return Err(DoorError::BodyTooLarge(limits.message_bytes_max));
    }
    let once = idempotency_key.map(|key| checked_idempotency_key(&key)).transpose()?;
    Ok((room, CheckedMessage { message, once }))
}

async fn publish_to(
    door: &FrontDoor,
    headers: &HeaderMap,
    room: &RoomId,
    message: CheckedMessage,
) -> BatchResult {
    if door.home(room) != Home::Here {
        return by_home(door, headers, room, message).await;
    }
    match to_room(door, room, message.message, message.once).await {
        Ok(id) => BatchResult { status: 200, id: Some(id), error: None, retry_after: None },
        Err(error) => failed(door, &error),
    }
}

fn failed(door: &FrontDoor, error: &DoorError) -> BatchResult {
    let shown = error.show(door.0.audience);
    let (status, retry_after) = (shown.status.as_u16(), shown.retry_after);
    BatchResult { status, id: None, error: Some(shown.text), retry_after }
}

/// Has the home of a room publish the message.
async fn by_home(
    door: &FrontDoor,
    headers: &HeaderMap,
    room: &RoomId,
    message: CheckedMessage,
) -> BatchResult {
    let Some(request) = single_request(headers, room, message) else {
        let what = "its idempotency key cannot be sent to another node".to_owned();
        return failed(door, &DoorError::Publication(what));
    };
    match forward::unless_here(door, request).await {
        Err(response) => read_answer(response).await,
        // The nodes have changed.
        Ok(_) => failed(door, &crate::hooks::outrun()),
    }
}

/// Returns the request for one message, as the publisher would have sent it.
fn single_request(headers: &HeaderMap, room: &RoomId, message: CheckedMessage) -> Option<Request> {
    let name = utf8_percent_encode(room.name(), NON_ALPHANUMERIC);
    let uri = format!("{PATH}/{}/{name}", room.party());
    let (kind, body) = match message.message {
        Message::Text(text) => ("text/plain; charset=utf-8", Bytes::from(text)),
        Message::Binary(bytes) => ("application/octet-stream", bytes),
    };
    let mut request = HttpRequest::new(Body::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.parse().ok()?;
    let own = request.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for name in [header::AUTHORIZATION, header::HOST] {
        own.extend(headers.get(&name).cloned().map(|value| (name, value)));
    }
    if let Some(once) = message.once {
        own.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(once).ok()?);
    }
    Some(request)
}

async fn read_answer(response: Response) -> BatchResult {
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = Limited::new(response.into_body(), PUBLISH_ANSWER_BYTES_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let id = serde_json::from_slice::<Published>(&body).ok().map(|published| published.id);
    let error = match (status, &id) {
        (StatusCode::OK, Some(_)) => None,
        _ => Some(String::from_utf8_lossy(&body).into_owned()),
    };
    BatchResult { status: status.as_u16(), id, error, retry_after }
}
