//! Who is in a room, for clients that ask. Owns which requests do, and the answer.
//!
//! Invariant: the answer wakes no guest, and starts no room: nobody is in a room that is not in memory. A client of a party
//! with `[auth]` needs a token or a ticket that lets it read. It does not know users.

use crate::address::query_value;
use crate::identity::{self, Admitted};
use crate::listener::admit_connect;
use crate::socket::check_origin;
use crate::status::DoorError;
use crate::{FrontDoor, NamedRoom};
use ::http::{Method, header};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use room_auth::AuthError;
use room_core::presence::{PresenceRefusal, users_of};
use room_rooms::room::RoomError;
use std::collections::BTreeMap;

/// The parameter by which a client asks who is there.
const PRESENCE: &str = "_presence";

/// Returns true if a request asks who is in a room.
pub(super) fn is_one(request: &Request, named: &NamedRoom) -> bool {
    *request.method() == Method::GET
        && request.uri().query().is_some_and(|query| query_value(query, PRESENCE).is_some())
        && matches!(named, Ok(Some(_)))
}

/// Answers who is in the room.
///
/// # Errors
/// [`DoorError`] says why the client does not learn that.
///
/// # Cancel safety
/// If dropped before it returns, nothing happened.
pub(super) async fn answer(
    door: &FrontDoor,
    request: Request,
    named: &NamedRoom,
) -> Result<Response, DoorError> {
    admit_connect(&request)?;
    let (parts, body) = request.into_parts();
    // Nobody reads the body.
    drop(body);
    let room = door.room(&parts.uri, named)?;
    let entrance = door.0.rooms.entrance(&room)?;
    check_origin(&entrance, &parts.headers)?;
    let party = entrance.party();
    let whose = (&room, &party.origins);
    let admitted = identity::admit(door, party.auth.as_ref(), whose, &parts).await?;
    let Admitted { identity, used, .. } = admitted;
    if party.auth.is_some() && identity.is_none() {
        return Err(AuthError::Missing.into());
    }
    identity::may_read(identity.as_ref())?;
    if party.presence.is_none() {
        return Err(DoorError::Room(RoomError::from(PresenceRefusal::NotKept).into()));
    }
    let users = door.0.rooms.present_users(&room).await;
    let users = users.map_err(|error| DoorError::Room(error.into()))?;
    Admitted::got_in(used);
    let users = users.unwrap_or_else(|| users_of(&BTreeMap::new()));
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, users).into_response())
}
