//! The opening of a WebSocket. Owns how a client gets from its handshake to a room, or is refused, by whichever transport.
//!
//! Invariant: a handshake is answered when the room has let the client in, or by a socket that closes at once with the
//! reason. It does not know what frames mean, or what happens on the open socket: `driver` does.

pub(crate) mod driver;
mod session;

use crate::address::connection_of_query;
use crate::carrier::{IDS_PROTOCOL, MessageForm, PartySocket, ROOM_PROTOCOL};
use crate::fetch::{self, SocketWay};
use crate::hooks::{self, Decision, LOOKS_MAX};
use crate::http::{append, plain, respond};
use crate::identity::{self, Admitted};
use crate::listener::admit_connect;
use crate::returning::ReturnQuery;
use crate::status::DoorError;
use crate::upgrade::{Socket, UpgradeHandshake, chosen_protocol};
use crate::{FrontDoor, NamedRoom, returning};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue, header};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use driver::RoomMembership;
pub(crate) use driver::spread;
use futures_util::{SinkExt, StreamExt};
use room_core::connection::Transport;
use room_core::event::{AddedHeaders, CloseFrame};
use room_core::id::{ConnectionSecret, RoomId};
use room_core::identity::Identity;
use room_core::limits::{Limits, ms};
use room_core::logs::LogLevel;
use room_core::metrics::Refusal;
use room_guest::DoorCall;
use room_rooms::room::{
    ConnectingClient, ConnectionKey, IncomingRequest, Outboxes, ReturningClient, Rewind,
};
use room_rooms::rooms::RoomEntrance;
use session::SessionHead;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message as Wire, protocol as wire};
use tokio_util::task::TaskTracker;

/// Opens a WebSocket to the room of the request's path. The handshake is answered only when the room has let the client
/// in, or by a socket that closes at once with the reason.
pub(super) async fn open(door: FrontDoor, mut request: Request) -> Response {
    let (begun, metrics) = (Instant::now(), door.0.metrics.door.clone());
    let named = door.named(request.uri());
    if let Err(error) = admit_connect(&request) {
        metrics.refusals.count(error.refusal());
        // No log line for each: a flood would fill the log.
        return error.show(door.0.audience).into_response();
    }
    let mut handshake =
        match UpgradeHandshake::of(&mut request, &door.0.limits, door.0.rooms.bytes()) {
            Ok(handshake) => handshake,
            Err(error) => {
                metrics.refusals.count(error.refusal());
                return door.refuse(&error, &named).into_response();
            }
        };
    let refusal = match join(&door, request, &named, Transport::WebSocket).await {
        Ok(HandshakeOutcome::Joined(client)) => {
            let JoinedClient { membership, whose, form, protocol, added, session } = *client;
            handshake.choose(protocol);
            handshake.add(added);
            metrics.open_seconds.record(begun.elapsed());
            return match session {
                Some(head) => {
                    handshake.allow_envelopes();
                    session::welcome(&door, handshake, (membership, whose), head)
                }
                None => welcome(&door, handshake, membership, form),
            };
        }
        Ok(HandshakeOutcome::Response(response)) => {
            metrics.refusals.count(Refusal::Hook);
            let status = response.status();
            let text = format!("a client was turned away by on_before_connect with {status}");
            door.note(LogLevel::Info, &named, &text);
            return response;
        }
        Ok(HandshakeOutcome::Refused(frame, added)) => {
            metrics.refusals.count(Refusal::Hook);
            handshake.add(added);
            let (code, why) = (frame.code, &frame.reason);
            let text = format!("a client was turned away by on_before_connect with {code}: {why}");
            door.note(LogLevel::Info, &named, &text);
            frame
        }
        Err(error) => {
            metrics.refusals.count(error.refusal());
            let shown = door.refuse(&error, &named);
            // A client sends its buffered messages as soon as the socket is open, and would lose them here. So the
            // socket is not opened at all if a later attempt may succeed.
            if shown.retry_after.is_some() {
                return shown.into_response();
            }
            shown.frame
        }
    };
    refuse(handshake, refusal, &door.0.limits, &door.0.sockets)
}

/// Answers a handshake with a socket that closes at once with this frame. The socket counts among `sockets` until then.
pub(super) fn refuse(
    handshake: UpgradeHandshake,
    frame: CloseFrame,
    limits: &Limits,
    sockets: &TaskTracker,
) -> Response {
    let (response, socket) = handshake.accept();
    let close_max = ms(limits.close_ms_max);
    sockets.spawn(async move {
        if let Some((socket, _place)) = socket.await {
            turn_away(socket, frame, close_max).await;
        }
    });
    response
}

/// The result of a handshake.
pub(super) enum HandshakeOutcome {
    Joined(Box<JoinedClient>),
    Response(Response),
    /// With the hook's headers.
    Refused(CloseFrame, AddedHeaders),
}

/// A client that its room has admitted.
pub(super) struct JoinedClient {
    pub(super) membership: RoomMembership,
    /// The room, and who the client is there.
    whose: (RoomId, Option<Identity>),
    form: MessageForm,
    /// The subprotocol that is answered.
    protocol: Option<HeaderValue>,
    /// The hook's headers.
    pub(super) added: AddedHeaders,
    /// What it joins further rooms with, if it may.
    session: Option<Box<SessionHead>>,
}

/// Lets a client into the room of its URL.
pub(super) async fn join(
    door: &FrontDoor,
    request: Request,
    named: &NamedRoom,
    transport: Transport,
) -> Result<HandshakeOutcome, DoorError> {
    let (mut parts, _) = request.into_parts();
    let ReturnQuery { returning, rewind } = returning::take(&mut parts.uri)?;
    let room = match (named, door.0.rooms.is_empty()) {
        (Ok(None), false) => match fetch::socket(door, &parts).await? {
            SocketWay::Enter(room) => door.here(room)?,
            SocketWay::Respond(response) => return Ok(HandshakeOutcome::Response(response)),
            SocketWay::Refuse(frame) => {
                return Ok(HandshakeOutcome::Refused(frame, AddedHeaders::default()));
            }
        },
        _ => door.room(&parts.uri, named)?,
    };
    let outboxes = door.0.rooms.outboxes();
    let asked = EntryRequest { room, returning, rewind, entry: RoomEntry::Handshake(transport) };
    enter(door, &parts, asked, (&outboxes, PartySocket::KEY)).await
}

/// What a client asks for, besides its request.
struct EntryRequest {
    room: RoomId,
    returning: Option<ReturningClient>,
    rewind: Option<Rewind>,
    entry: RoomEntry,
}

/// By which way a client gets to a room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RoomEntry {
    /// Its own handshake, which chooses how messages are framed.
    Handshake(Transport),
    /// An open session, which has chosen that already.
    Session,
}

/// Checks the origin, runs the hook and enters the room with one snapshot of the code in place for the room. If other
/// code is in place when the client is to join, all of it is repeated.
async fn enter(
    door: &FrontDoor,
    parts: &Parts,
    asked: EntryRequest,
    (outboxes, key): (&Outboxes, ConnectionKey),
) -> Result<HandshakeOutcome, DoorError> {
    let EntryRequest { room, returning, rewind, entry } = asked;
    let id = connection_of_query(parts.uri.query(), &door.0.limits)?;
    let transport = match entry {
        RoomEntry::Handshake(transport) => transport,
        RoomEntry::Session => Transport::WebSocket,
    };
    for _ in 0..LOOKS_MAX {
        let entrance = door.0.rooms.entrance(&room)?;
        check_origin(&entrance, &parts.headers)?;
        let party = entrance.party();
        let whose = (&room, &party.origins);
        let admitted = identity::admit(door, party.auth.as_ref(), whose, parts).await?;
        let Admitted { parts: shown, identity, used } = admitted;
        let request = IncomingRequest { request: plain(&shown, Bytes::new()), identity };
        let hook = hooks::ask(door, DoorCall::BeforeConnect, &entrance, request);
        let (request, added) = match hook.await? {
            (Decision::Forward(request), added) => (request, added),
            (Decision::Respond(response), added) => {
                let mut response = respond(response);
                append(response.headers_mut(), added);
                return Ok(HandshakeOutcome::Response(response));
            }
            (Decision::Refuse(frame), added) => return Ok(HandshakeOutcome::Refused(frame, added)),
        };
        let IncomingRequest { request, identity } = request;
        let protocol = chosen_protocol(&shown.headers, &request).map_err(hooks::mistaken)?;
        let form = match &protocol {
            Some(protocol) if protocol == IDS_PROTOCOL => MessageForm::WithIds,
            _ => MessageForm::Plain,
        };
        let is_session = entry == RoomEntry::Session
            || transport == Transport::WebSocket
                && protocol.as_ref().is_some_and(|protocol| protocol == ROOM_PROTOCOL);
        let has_secret =
            transport != Transport::WebSocket || form == MessageForm::WithIds || is_session;
        let secret = has_secret.then(ConnectionSecret::random);
        let visitor = ConnectingClient {
            id: id.clone(),
            request,
            transport,
            identity: identity.clone(),
            secret,
            returning,
            rewind,
        };
        let to = (outboxes, key);
        if let Some(joined) = door.0.rooms.connect(&entrance, visitor, to).await? {
            Admitted::got_in(used);
            let membership = RoomMembership { key, joined, outboxes: outboxes.clone() };
            let opens_session = is_session && entry != RoomEntry::Session;
            let head = || Box::new(SessionHead::of(parts, party.auth.as_ref()));
            let (session, whose) = (opens_session.then(head), (room, identity));
            let client = JoinedClient { membership, whose, form, protocol, added, session };
            return Ok(HandshakeOutcome::Joined(Box::new(client)));
        }
    }
    Err(hooks::outrun())
}

/// Refuses a page whose origin the project does not list. Browsers let any page open a WebSocket to any server, with
/// the user's cookies, and send only the page's origin. Other clients need not send an origin, and may send any.
pub(super) fn check_origin(entrance: &RoomEntrance, headers: &HeaderMap) -> Result<(), DoorError> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("an origin that is not text");
        if !entrance.party().origins.let_in(origin, host) {
            return Err(DoorError::Origin(origin.to_owned()));
        }
    }
    Ok(())
}

fn welcome(
    door: &FrontDoor,
    handshake: UpgradeHandshake,
    membership: RoomMembership,
    form: MessageForm,
) -> Response {
    let (response, socket) = handshake.accept();
    let (limits, closing) = (door.0.limits.clone(), door.0.closing.clone());
    let metrics = door.0.metrics.door.clone();
    let end = identity::end_of(membership.joined.ends_ms, door.0.clock);
    door.0.sockets.spawn(async move {
        // The drop of its membership reports a client that leaves during the handshake.
        if let Some((socket, _place)) = socket.await {
            let carrier = PartySocket::new(form, &limits, Instant::now(), end);
            driver::run(socket, carrier, membership, limits, closing, &metrics).await;
        }
    });
    response
}

/// Accepts a socket and closes it, so that the client can read why.
async fn turn_away(mut socket: Socket, frame: CloseFrame, close_max: Duration) {
    let goodbye = async {
        if socket.send(Wire::Close(to_wire(&frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // A client that does not answer in time is not waited for.
    drop(tokio::time::timeout(close_max, goodbye).await);
    shut_down(&mut socket).await;
}

/// Shuts the connection down as RFC 6455 section 7.1.1 requires: the client reads the end after the last frame, and
/// the bytes that it still sends are discarded.
async fn shut_down(socket: &mut Socket) {
    // The connection is over, even if the client was gone already.
    drop(socket.get_mut().shutdown().await);
}

fn to_wire(frame: &CloseFrame) -> Option<wire::CloseFrame> {
    let coded = frame.code != CloseFrame::NO_CODE;
    coded
        .then(|| wire::CloseFrame { code: frame.code.into(), reason: frame.reason.as_str().into() })
}
