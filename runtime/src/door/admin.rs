//! `/_room/admin/`: what an operator asks of a node that serves. Owns who is let in, and the way of files
//! over HTTP.
//!
//! Invariant: without the token nothing below the path says anything but 401; what comes in and goes out
//! lies in files, whatever its size. It does not know what a backup or an export is.
//!
//! ```text
//! GET  /logs                         the node's log: see `door/logs.rs`
//! POST /backup                       the backup
//! GET  /rooms/:party/:room/export    the room as lines of JSON
//! PUT  /rooms/:party/:room/import    such lines; answers {"room":…,"keys":…}
//! ```
//!
//! The other routes are described where they are served: `rooms` has all rooms at once, `room` one of them,
//! `messages` what passes through it, `storage` its keys.

mod messages;
mod query;
mod room;
mod rooms;
mod storage;
mod target;

use super::status::DoorError;
use super::{FrontDoor, logs};
use crate::config::Audience;
use crate::id::{PartyName, RoomId};
use crate::limits::{ms, size};
use crate::operator::{Operator, OperatorError, Scratch};
use ::http::{HeaderMap, HeaderValue, header};
use axum::body::{Body, HttpBody};
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Extension, Json, Router};
use bytes::BytesMut;
use futures_util::stream::try_unfold;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};

/// Entries of a page whose length is not asked for: about what a person looks at.
const PAGE: u64 = 100;

/// All routes there are, so that no path falls through to the project's files.
pub(super) fn router(operator: Operator) -> Router<FrontDoor> {
    let nothing = async || shown(DoorError::NotFound);
    Router::new()
        .route("/_room/admin/logs", get(logs::watch))
        .route("/_room/admin/backup", post(backup))
        .route("/_room/admin/rooms/{party}/{room}/export", get(export))
        .route("/_room/admin/rooms/{party}/{room}/import", put(import))
        .route("/_room/admin/overview", get(rooms::overview))
        .route("/_room/admin/rooms", get(rooms::list))
        .route("/_room/admin/rooms/{party}/{room}", get(room::inspect).delete(room::delete))
        .route("/_room/admin/rooms/{party}/{room}/close", post(room::close))
        .route("/_room/admin/rooms/{party}/{room}/kick", post(room::kick))
        .route("/_room/admin/rooms/{party}/{room}/messages", get(messages::watch))
        .route("/_room/admin/rooms/{party}/{room}/storage", get(storage::list))
        .route(
            "/_room/admin/rooms/{party}/{room}/storage/{*key}",
            get(storage::get).put(storage::put).delete(storage::delete),
        )
        .route("/_room/admin", any(nothing))
        .route("/_room/admin/", any(nothing))
        .route("/_room/admin/{*path}", any(nothing))
        .layer(from_fn_with_state(operator, let_in))
}

/// Lets the operator in, and nobody else, whatever the path.
async fn let_in(State(operator): State<Operator>, mut request: Request, next: Next) -> Response {
    let offered = bearer(request.headers());
    match offered {
        Some(offered) if operator.token().is(offered) => {
            request.extensions_mut().insert(operator);
            next.run(request).await
        }
        _ => {
            let mut refusal = shown(DoorError::Unauthorized);
            let scheme = HeaderValue::from_static("Bearer");
            refusal.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            refusal
        }
    }
}

/// What follows `Bearer` in the headers.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

async fn backup(
    State(door): State<FrontDoor>,
    Extension(operator): Extension<Operator>,
) -> Response {
    let sent = async { send(&door, operator.backup().await?, "application/octet-stream").await };
    sent.await.unwrap_or_else(shown)
}

async fn export(
    State(door): State<FrontDoor>,
    Extension(operator): Extension<Operator>,
    Path(names): Path<(String, String)>,
) -> Response {
    let sent = async {
        let room = named(&door, &names)?;
        send(&door, operator.export(room).await?, "application/x-ndjson").await
    };
    sent.await.unwrap_or_else(shown)
}

async fn import(
    State(door): State<FrontDoor>,
    Extension(operator): Extension<Operator>,
    Path(names): Path<(String, String)>,
    body: Body,
) -> Response {
    let imported = async {
        let room = named(&door, &names)?;
        if door.0.rooms.is_empty() {
            return Err(DoorError::Starting);
        }
        let lines = receive(&door, body, operator.scratch()?).await?;
        let keys = operator.import(room.clone(), lines).await?;
        Ok(Json(serde_json::json!({ "room": room.to_string(), "keys": keys })).into_response())
    };
    imported.await.unwrap_or_else(shown)
}

fn named(door: &FrontDoor, (party, room): &(String, String)) -> Result<RoomId, DoorError> {
    let party = PartyName::parse(party)?;
    door.here(RoomId::new(party, room, size(door.0.limits.room_name_bytes_max))?)
}

/// Puts a body into a file, within its bounds.
async fn receive(door: &FrontDoor, body: Body, into: Scratch) -> Result<Scratch, DoorError> {
    let limits = &door.0.limits;
    if body.size_hint().lower() > limits.import_bytes_max {
        return Err(DoorError::BodyTooLarge(limits.import_bytes_max));
    }
    let mut body = Limited::new(body, size(limits.import_bytes_max));
    let failed = |error| OperatorError::from(into.failed(&error));
    let receiving = async {
        let mut file = BufWriter::new(File::create(into.path()).await.map_err(failed)?);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
                true => DoorError::BodyTooLarge(limits.import_bytes_max),
                false => DoorError::BodyMissing,
            })?;
            if let Ok(piece) = frame.into_data() {
                file.write_all(&piece).await.map_err(failed)?;
            }
        }
        Ok(file.flush().await.map_err(failed)?)
    };
    let received = tokio::time::timeout(ms(limits.import_ms_max), receiving).await;
    received.unwrap_or(Err(DoorError::BodyMissing))?;
    Ok(into)
}

/// A file as a response. It is gone when the response is, sent or not.
async fn send(
    door: &FrontDoor,
    scratch: Scratch,
    content_type: &'static str,
) -> Result<Response, DoorError> {
    let failed = |error| OperatorError::from(scratch.failed(&error));
    let file = File::open(scratch.path()).await.map_err(failed)?;
    let length = file.metadata().await.map_err(failed)?.len();
    let piece = size(door.0.limits.copy_slice_bytes);
    let pieces = try_unfold((file, scratch), move |(mut file, scratch)| async move {
        let mut bytes = BytesMut::with_capacity(piece);
        let read = file.read_buf(&mut bytes).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (bytes.freeze(), (file, scratch))))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Told beforehand, so that a client knows whether it has all of it.
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whoever comes this far without being refused is the operator, who reads everything.
fn shown(error: DoorError) -> Response {
    error.show(Audience::Developer).into_response()
}

impl From<OperatorError> for DoorError {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::Busy(max) => Self::TransfersFull(max),
            OperatorError::InMemory => Self::InMemory,
            OperatorError::NothingStored(room) => Self::NothingStored(room),
            OperatorError::Lines(text) => Self::Lines(text),
            OperatorError::NoRoom(_)
            | OperatorError::NoConnection(..)
            | OperatorError::NoKey(_) => Self::Missing(error.to_string()),
            OperatorError::Refused(text) => Self::Asked(text),
            OperatorError::TooLong(max) => Self::TooLong(max),
            OperatorError::Room(error) => Self::Room(error),
        }
    }
}
