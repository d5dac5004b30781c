//! Publications of other servers. Owns the URLs for them, and what a request has to say.
//!
//! Invariant: nothing reaches a room without a key that is for it, and a publication is answered when its turn is durable.
//! A room that fails keeps no other publication of its batch from its room. It does not know what a room does with one.

mod batch;

use crate::address::room_below;
use crate::cors::PageOrigin;
use crate::hooks::{self, LOOKS_MAX};
use crate::http::read_body;
use crate::post::message_of;
use crate::status::DoorError;
use crate::{FrontDoor, NamedRoom};
use ::http::{HeaderMap, HeaderName, Method, header};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use room_core::config::{PublishKey, PublishKeys};
use room_core::event::Message;
use room_core::id::RoomId;
use room_core::limits::fixed::IDEMPOTENCY_KEY_BYTES_MAX;
use room_rooms::room::{Publication, RepeatedPublication};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The path of batches. Below it are the paths of single publications.
pub(super) const PATH: &str = "/_room/publish";
/// The header with the key that distinguishes a publication.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The answer to a publication.
#[derive(Serialize, Deserialize)]
struct Published {
    /// The number of its turn's event in the room.
    id: String,
}

/// Returns the room of the path of a single publication.
pub(super) fn named(door: &FrontDoor, path: &str) -> NamedRoom {
    let below = path.strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/'));
    match below {
        // One room is two segments, and nothing follows.
        Some(below) if below.matches('/').count() == 1 => room_below(below, &door.0.limits),
        _ => Ok(None),
    }
}

/// Answers `POST /_room/publish/:party/:room`.
pub(super) async fn single(State(door): State<FrontDoor>, request: Request) -> Response {
    let named = named(&door, request.uri().path());
    let page = PageOrigin::of(&door, &named, request.headers());
    if let Some(response) = page.preflight(&request) {
        return response;
    }
    let answer = match publish_one(&door, request, &named).await {
        Ok(published) => Json(published).into_response(),
        Err(error) => door.refuse(&error, &named).into_response(),
    };
    page.admit(answer)
}

/// Answers `POST /_room/publish`.
pub(super) async fn many(State(door): State<FrontDoor>, request: Request) -> Response {
    match batch::publish(&door, request).await {
        Ok(results) => Json(results).into_response(),
        Err(error) => error.show(door.0.audience).into_response(),
    }
}

async fn publish_one(
    door: &FrontDoor,
    request: Request,
    named: &NamedRoom,
) -> Result<Published, DoorError> {
    let keys = keys(door, &request)?;
    let key = key_of(&keys, request.headers())?;
    let room = door.room(request.uri(), named)?;
    check_scope(key, &room)?;
    let (parts, body) = request.into_parts();
    let once = idempotency_key(&parts.headers)?;
    let limits = &door.0.limits;
    let mut permit = door.0.rooms.bytes().permit();
    let body = read_body(body, limits.message_bytes_max, limits, &mut permit).await?;
    let message = message_of(&parts.headers, body)?;
    let id = to_room(door, &room, message, once).await?;
    Ok(Published { id })
}

/// Returns the keys of publishers.
///
/// # Errors
/// [`DoorError::NotFound`]: the project has none. [`DoorError::OnlyPost`].
fn keys(door: &FrontDoor, request: &Request) -> Result<Arc<PublishKeys>, DoorError> {
    let keys = door.publishers();
    match (keys.is_empty(), request.method() == Method::POST) {
        (true, _) => Err(DoorError::NotFound),
        (false, false) => Err(DoorError::OnlyPost),
        (false, true) => Ok(keys),
    }
}

/// Returns the key that a request has.
fn key_of<'a>(keys: &'a PublishKeys, headers: &HeaderMap) -> Result<&'a PublishKey, DoorError> {
    let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let offered = credentials.and_then(|text| text.split_once(' ')).and_then(|(scheme, key)| {
        scheme.eq_ignore_ascii_case("bearer").then(|| keys.find(key.trim())).flatten()
    });
    offered.ok_or(DoorError::PublishKey)
}

fn check_scope(key: &PublishKey, room: &RoomId) -> Result<(), DoorError> {
    match key.is_for(room) {
        true => Ok(()),
        false => Err(DoorError::PublishScope(room.clone())),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, DoorError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    match values.next() {
        None => checked_idempotency_key(text).map(Some),
        Some(_) => Err(DoorError::Publication("it has two Idempotency-Key headers".to_owned())),
    }
}

fn checked_idempotency_key(text: &str) -> Result<String, DoorError> {
    let text = text.trim();
    match (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err(DoorError::Publication(format!(
            "an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes of visible ASCII"
        ))),
    }
}

/// Hands a message to a room of this node, and returns the number of its turn's event.
async fn to_room(
    door: &FrontDoor,
    room: &RoomId,
    message: Message,
    once: Option<String>,
) -> Result<String, DoorError> {
    let until_ms = door.0.clock.wall_ms().saturating_add(door.0.limits.publish_once_ms);
    let once = once.map(|key| RepeatedPublication { key, until_ms });
    for _ in 0..LOOKS_MAX {
        let entrance = door.0.rooms.entrance(room)?;
        if !entrance.party().code.module.handles_publications() {
            return Err(DoorError::NoPublish(room.party().clone()));
        }
        let publication = Publication { message: message.clone(), once: once.clone() };
        if let Some(id) = door.0.rooms.publish(&entrance, publication).await? {
            return Ok(id);
        }
    }
    Err(hooks::outrun())
}
