//! The hooks before a room. Owns the fresh instances that hooks run in.
//!
//! Invariant: a hook has no access to a room: no storage and no connections. In a request that it forwards it can
//! change the headers, the query and the path below the room's, and never which room receives it. It does not know what the door does with its decision.

use crate::FrontDoor;
use crate::address::forwarded_url;
use crate::status::DoorError;
use room_core::event::{AddedHeaders, CloseFrame, Request, Response};
use room_core::id::RoomId;
use room_core::limits::ms;
use room_guest::{DoorCall, GuestFault, HookAnswer, HookVerdict, Instance, LiveSamples};
use room_rooms::room::{IncomingRequest, RoomError};
use room_rooms::rooms::{Party, RoomEntrance};
use tokio::sync::{AcquireError, SemaphorePermit};

/// The close code if a hook returned an error: PartyKit answers 401 then.
const ERROR_CODE: u16 = 4401;
/// The close codes that a hook may refuse with.
const REFUSALS: std::ops::RangeInclusive<u16> = 4000..=4999;

/// The number of times a client is checked at most. A check is repeated if the code was replaced, and each time needs a
/// deployment.
pub(super) const LOOKS_MAX: usize = 8;

/// The decision of a hook.
pub(super) enum Decision {
    /// The request goes to the room.
    Forward(IncomingRequest),
    /// The response goes to the client.
    Respond(Response),
    /// The client is refused.
    Refuse(CloseFrame),
}

/// Runs the hook of an entrance on a request for its room. Returns its decision, and the headers that it adds to the
/// client's answer.
///
/// # Errors
/// [`DoorError`]: the hook failed, or too many hooks run.
///
/// # Cancel safety
/// If dropped before it returns, nothing is left of the hook.
pub(super) async fn ask(
    door: &FrontDoor,
    call: DoorCall,
    entrance: &RoomEntrance,
    asked: IncomingRequest,
) -> Result<(Decision, AddedHeaders), DoorError> {
    let room = entrance.room();
    let mut instance = instance(door, entrance.party(), room).await?;
    let IncomingRequest { request, identity } = asked;
    instance.guest.introduce(identity.clone());
    match instance.guest.ask_door(call, &request, room).await {
        Ok(HookAnswer { verdict, added }) => {
            let asked = IncomingRequest { request, identity };
            Ok((decide(verdict, asked, room, door)?, added))
        }
        Err(GuestFault::Rejected(text)) => {
            let refusal = Decision::Refuse(CloseFrame::new(ERROR_CODE, &text));
            Ok((refusal, AddedHeaders::default()))
        }
        Err(fault) => Err(failed(fault.into())),
    }
}

/// A fresh instance without a room, and the permits that it counts by.
pub(super) struct HookInstance<'a> {
    pub(super) guest: Instance,
    _permits: HookPermits<'a>,
}

/// Of the hooks that may wait for other servers, of the project and of the process.
type HookPermits<'a> = (Option<SemaphorePermit<'a>>, SemaphorePermit<'a>, SemaphorePermit<'a>);

/// Makes a fresh instance, when fewer hooks run than the limits allow.
///
/// # Errors
/// [`DoorError`]: it does not start, or too many hooks run.
pub(super) async fn instance<'a>(
    door: &'a FrontDoor,
    party: &Party,
    room: &RoomId,
) -> Result<HookInstance<'a>, DoorError> {
    let limit = ms(door.0.limits.connect_ms_max);
    let permits = permits(door, party);
    let Ok(Ok(permits)) = tokio::time::timeout(limit, permits).await else {
        return Err(DoorError::HooksFull(match party.fetch_hosts.is_empty() {
            true => "door_instances_max",
            false => "fetching_hooks_max or door_instances_max",
        }));
    };
    let samples = LiveSamples::of_system(door.0.clock);
    let guest = Instance::new(&party.code, room, samples).await;
    let mut guest = guest.map_err(|fault| failed(fault.into()))?;
    guest.allow_fetches(door.0.hook_client.of(&party.fetch_hosts));
    Ok(HookInstance { guest, _permits: permits })
}

/// Waits for the permits of a hook. The project's own come first, so that waiting requests of one project take no
/// permits of the process.
async fn permits<'a>(door: &'a FrontDoor, party: &Party) -> Result<HookPermits<'a>, AcquireError> {
    let fetching = match party.fetch_hosts.is_empty() {
        true => None,
        false => Some(door.0.fetching_hooks.acquire().await?),
    };
    Ok((fetching, door.0.hooks.acquire().await?, door.0.all_hooks.acquire().await?))
}

fn decide(
    verdict: HookVerdict,
    IncomingRequest { request: original, identity }: IncomingRequest,
    room: &RoomId,
    door: &FrontDoor,
) -> Result<Decision, DoorError> {
    let limits = &door.0.limits;
    match verdict {
        HookVerdict::Forward(Request { headers, uri, .. }) => {
            let named = |path: &str| door.room_of(path);
            let uri = forwarded_url(&original.uri, &uri, room, named, limits).map_err(mistaken)?;
            let request = Request { headers, uri, ..original };
            Ok(Decision::Forward(IncomingRequest { request, identity }))
        }
        HookVerdict::Respond(response) => match response.problem(limits.response_bytes_max) {
            None => Ok(Decision::Respond(response)),
            Some(problem) => Err(mistaken(problem)),
        },
        HookVerdict::Refuse(frame) => refusal(&frame).map(Decision::Refuse),
    }
}

/// Returns the frame with which a client is refused.
///
/// # Errors
/// [`DoorError`]: the code may not refuse with this close code.
pub(super) fn refusal(frame: &CloseFrame) -> Result<CloseFrame, DoorError> {
    match REFUSALS.contains(&frame.code) {
        true => Ok(CloseFrame::new(frame.code, &frame.reason)),
        false => Err(mistaken(format!("a hook may refuse with 4000 to 4999, not {}", frame.code))),
    }
}

/// Returns the error for a client whose check was repeated too often: each time, other code was deployed.
pub(super) fn outrun() -> DoorError {
    failed(RoomError::Busy)
}

/// Returns the error for a hook's decision that cannot be carried out.
pub(super) fn mistaken(problem: String) -> DoorError {
    failed(GuestFault::Rejected(problem).into())
}

/// Returns the error for a hook that failed.
pub(super) fn failed(error: RoomError) -> DoorError {
    DoorError::Room(error.into())
}
