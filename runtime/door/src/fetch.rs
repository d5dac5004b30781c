//! URLs that name no room and no file. Owns how the project's own code answers them.
//!
//! Invariant: the code runs as a hook does, in a fresh instance without a room and within the bounds of hooks. One party
//! is asked, `main` if the project has it, and never about the server's own paths. It does not know what is answered.

use crate::FrontDoor;
use crate::assets::is_reserved;
use crate::hooks::{self, HookInstance};
use crate::http::{plain, read_body, respond};
use crate::identity::{self, Admitted};
use crate::status::DoorError;
use ::http::request::Parts;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use room_core::event::{self, CloseFrame};
use room_core::id::{PartyName, RoomId};
use room_core::limits::size;
use room_guest::SocketVerdict;

/// The name under which its log lines are, which no client can connect to by a mistake of the code.
const NO_ROOM: &str = "-";

/// What becomes of a WebSocket whose URL names no room.
pub(super) enum SocketWay {
    Enter(RoomId),
    Respond(Response),
    Refuse(CloseFrame),
}

/// Returns the project's own answer to a request, if it has one.
///
/// # Errors
/// [`DoorError`]: the code failed, or the request is too large.
pub(super) async fn answer(
    door: &FrontDoor,
    request: Request,
) -> Result<Option<Response>, DoorError> {
    let (parts, body) = request.into_parts();
    if !is_asked(door, &parts)? {
        return Ok(None);
    }
    let limits = &door.0.limits;
    let mut permit = door.0.rooms.bytes().permit();
    let body = read_body(body, limits.body_bytes_max, limits, &mut permit).await?;
    let Some((mut instance, admitted)) = instance(door, &parts).await? else { return Ok(None) };
    let answered = instance.guest.fetch(&plain(&admitted.parts, body)).await;
    match answered.map_err(|fault| hooks::failed(fault.into()))? {
        Some(response) => checked(door, response).map(Some),
        None => Ok(None),
    }
}

/// Returns what becomes of a WebSocket.
///
/// # Errors
/// [`DoorError::NotFound`] if the project does not know the URL; other ones if the code failed.
pub(super) async fn socket(door: &FrontDoor, parts: &Parts) -> Result<SocketWay, DoorError> {
    if !is_asked(door, parts)? {
        return Err(DoorError::NotFound);
    }
    let found = instance(door, parts).await?;
    let Some((mut instance, admitted)) = found else { return Err(DoorError::NotFound) };
    let verdict = instance.guest.socket(&plain(&admitted.parts, Bytes::new())).await;
    match verdict.map_err(|fault| hooks::failed(fault.into()))? {
        SocketVerdict::Enter(party, room) => {
            let name_bytes_max = size(door.0.limits.room_name_bytes_max);
            let room = PartyName::parse(&party)
                .and_then(|party| RoomId::new(party, &room, name_bytes_max));
            let problem =
                |error| hooks::mistaken(format!("on_socket names no valid room: {error}"));
            room.map(SocketWay::Enter).map_err(problem)
        }
        SocketVerdict::Respond(response) => checked(door, response).map(SocketWay::Respond),
        SocketVerdict::Refuse(frame) => hooks::refusal(&frame).map(SocketWay::Refuse),
        SocketVerdict::Unknown => Err(DoorError::NotFound),
    }
}

/// Returns true if the project's code may be asked about a URL.
fn is_asked(door: &FrontDoor, parts: &Parts) -> Result<bool, DoorError> {
    let asked = parts.uri.path_and_query().map_or(0, |asked| asked.as_str().len());
    let max = door.0.limits.uri_bytes_max;
    if asked > size(max) {
        return Err(DoorError::UriTooLong(max));
    }
    Ok(!is_reserved(parts.uri.path()))
}

fn checked(door: &FrontDoor, response: event::Response) -> Result<Response, DoorError> {
    match response.problem(door.0.limits.response_bytes_max) {
        None => Ok(respond(response)),
        Some(problem) => Err(hooks::mistaken(problem)),
    }
}

/// Returns an instance of the code, if the project has some that answers, which knows who sent the request.
async fn instance<'a>(
    door: &'a FrontDoor,
    parts: &'a Parts,
) -> Result<Option<(HookInstance<'a>, Admitted<'a>)>, DoorError> {
    let Some(party) = door.0.rooms.spokesman(|party| party.code.module.has_fetch()) else {
        return Ok(None);
    };
    let room = RoomId::new(party, NO_ROOM, usize::MAX)?;
    match door.0.rooms.entrance(&room) {
        Ok(entrance) if entrance.party().code.module.has_fetch() => {
            let party = entrance.party();
            let admitted = identity::look(door, party.auth.as_ref(), &party.origins, parts).await;
            let mut instance = hooks::instance(door, party, &room).await?;
            instance.guest.introduce(admitted.identity.clone());
            Ok(Some((instance, admitted)))
        }
        _ => Ok(None),
    }
}
