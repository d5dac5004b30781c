//! Messages of clients that have no socket, by a POST for each. Owns what such a request has to say.
//!
//! Invariant: a request becomes a message only of the connection whose secret it has, and is answered when the message's
//! turn is durable. No table of the door says which connections there are: the room knows. It does not know rooms.

use crate::address::query_value;
use crate::http::read_body;
use crate::socket::check_origin;
use crate::status::DoorError;
use crate::{FrontDoor, NamedRoom};
use ::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use room_core::config::SseAccess;
use room_core::event::{Message, Text};
use room_core::id::ConnectionSecret;
use room_rooms::room::{ClientPost, RoomError};

/// The header with the connection's secret.
pub(super) const SECRET: HeaderName = HeaderName::from_static("x-room-secret");
/// The parameter with the connection's id.
const CONNECTION_PARAMETER: &str = "_connection";
/// The parameter with the secret, for clients that cannot set a header (`navigator.sendBeacon`).
const SECRET_PARAMETER: &str = "_secret";

/// Returns true if a request is a message of a connection.
pub(super) fn is_one(door: &FrontDoor, request: &Request, named: &NamedRoom) -> bool {
    *request.method() == Method::POST
        && parameter(request, CONNECTION_PARAMETER).is_some()
        && named.as_ref().ok().and_then(Option::as_ref).is_some_and(|room| {
            door.0.rooms.entrance(room).is_ok_and(|it| it.party().sse == SseAccess::On)
        })
}

/// Hands the message to the room.
///
/// # Errors
/// [`DoorError`] says why the message had no turn.
///
/// # Cancel safety
/// If dropped before it returns, the room may handle the message all the same.
pub(super) async fn receive(
    door: &FrontDoor,
    request: Request,
    named: &NamedRoom,
) -> Result<Response, DoorError> {
    let room = door.room(request.uri(), named)?;
    let entrance = door.0.rooms.entrance(&room)?;
    check_origin(&entrance, request.headers())?;
    let connection = parameter(&request, CONNECTION_PARAMETER).unwrap_or_default();
    let secret = secret_of(&request).ok_or(RoomError::NotYours);
    let secret = secret.map_err(|error| DoorError::Room(error.into()))?;
    let (parts, body) = request.into_parts();
    let limits = &door.0.limits;
    let mut permit = door.0.rooms.bytes().permit();
    let body = read_body(body, limits.message_bytes_max, limits, &mut permit).await?;
    let message = message_of(&parts.headers, body)?;
    door.0.metrics.door.messages_received.increment(1);
    if let (Some(answer), Message::Text(text)) = (&entrance.party().auto_response, &message)
        && text.as_str() == answer.request
    {
        // The room may sleep, and the client has no other way to be answered by the door.
        return Ok(answer.response.clone().into_response());
    }
    door.0.rooms.post(&room, ClientPost { connection, secret, message }).await?;
    Ok((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response())
}

fn parameter(request: &Request, name: &str) -> Option<String> {
    request.uri().query().and_then(|query| query_value(query, name))
}

fn secret_of(request: &Request) -> Option<ConnectionSecret> {
    match request.headers().get(SECRET) {
        Some(secret) => ConnectionSecret::parse(secret.to_str().ok()?),
        None => ConnectionSecret::parse(&parameter(request, SECRET_PARAMETER)?),
    }
}

/// Returns a body as a message: a text if its type says that it is one.
///
/// # Errors
/// [`DoorError::NotText`].
pub(super) fn message_of(headers: &HeaderMap, body: Bytes) -> Result<Message, DoorError> {
    match headers.get(header::CONTENT_TYPE).is_some_and(|kind| is_text(kind.as_bytes())) {
        true => Text::try_from(body).map(Message::Text).map_err(|_| DoorError::NotText),
        false => Ok(Message::Binary(body)),
    }
}

/// Returns true for the types of texts: `text/…`, `application/json` and `…+json`.
fn is_text(kind: &[u8]) -> bool {
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let kind = kind.to_ascii_lowercase();
    kind.starts_with(b"text/") || kind == b"application/json" || kind.ends_with(b"+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Option<&str>, body: &'static [u8]) -> Result<Message, DoorError> {
        let kind = kind.map(|kind| (header::CONTENT_TYPE, kind.parse().unwrap()));
        message_of(&kind.into_iter().collect(), Bytes::from_static(body))
    }

    #[test]
    fn the_content_type_says_whether_a_message_is_text() {
        for kind in [
            "text/plain",
            "TEXT/HTML;charset=UTF-8",
            "application/json ; x=y",
            "application/ld+JSON",
        ] {
            assert_eq!(message(Some(kind), b"{}"), Ok(Message::text("{}")), "{kind}");
            assert_eq!(message(Some(kind), b"\xff"), Err(DoorError::NotText), "{kind}");
        }
        for kind in [None, Some("application/octet-stream"), Some("image/png"), Some("textual/x")] {
            let bytes = Ok(Message::Binary(Bytes::from_static(b"\xff")));
            assert_eq!(message(kind, b"\xff"), bytes, "{kind:?}");
        }
    }
}
