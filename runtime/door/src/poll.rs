//! Clients that connect by long polling: each request waits for what the room says, and its answer names the id to continue
//! after. Owns which requests do, and how one is answered.
//!
//! Invariant: the first poll is admitted as a WebSocket is, and each further one is the connection's if it has its secret.
//! Nothing is lost between two polls, or with an answer that does not arrive: the room's log has it. It does not know what
//! a room sends.

mod answer;

use crate::address::{connection_of_query, query_value, with_query};
use crate::carrier::PollCarrier;
use crate::http::append;
use crate::identity;
use crate::listener::{RequestArrival, admit_connect};
use crate::post;
use crate::returning;
use crate::socket::driver::{Driver, RoomMembership};
use crate::socket::{self, HandshakeOutcome, JoinedClient, check_origin};
use crate::status::{DoorError, status_of_refusal};
use crate::{FrontDoor, NamedRoom};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use answer::PollAnswer;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use room_core::byte_budget::BytePermit;
use room_core::config::SseAccess;
use room_core::connection::Transport;
use room_core::event::{AddedHeaders, CloseFrame};
use room_core::id::{ConnectionSecret, RoomId, SequenceNumber};
use room_core::limits::size;
use room_core::logs::LogLevel;
use room_core::metrics::{LabelValues, Refusal};
use room_rooms::room::{ClientPoll, ReturningClient, RoomError};
use room_rooms::rooms::{RoomEntrance, Unreachable};
use serde_json::json;
use std::sync::Arc;
use tokio::time::Instant;

/// The parameter that makes a request a poll.
const POLL: &str = "_poll";
/// The parameter with the number of the presence that the client knows.
const PRESENCE_AT: &str = "_presence_at";

/// A connection whose client a poll may answer now, or the response in place of it.
enum PollOutcome {
    Entered {
        membership: RoomMembership,
        added: AddedHeaders,
        /// The id that the client named; `None` if its connection is new.
        since: Option<SequenceNumber>,
    },
    Response(Response),
}

/// The bytes of an answer, which count among the node's buffered bytes until they are written.
struct CountedBody {
    bytes: Vec<u8>,
    _permit: BytePermit,
}

impl AsRef<[u8]> for CountedBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Returns true if a request is a poll of a connection, or is to open one. One of a party that is not there is a poll, too,
/// and refused as one.
pub(super) fn is_one(door: &FrontDoor, request: &Request, named: &NamedRoom) -> bool {
    *request.method() == Method::GET
        && request.uri().query().is_some_and(|query| query_value(query, POLL).is_some())
        && named.as_ref().ok().and_then(Option::as_ref).is_some_and(|room| {
            door.0.rooms.entrance(room).map_or(true, |it| it.party().sse == SseAccess::On)
        })
}

/// Answers a poll: with what the room has for the client, as soon as there is something.
///
/// # Cancel safety
/// If dropped before it returns, the client has left: its connection waits for the next poll, and nothing is lost.
pub(super) async fn answer(door: &FrontDoor, request: Request, named: &NamedRoom) -> Response {
    let place = request.extensions().get::<RequestArrival>().map(|arrival| arrival.place.clone());
    let answered = match enter(door, request, named).await {
        Ok(PollOutcome::Entered { membership, added, since }) => {
            // A node that stops waits for the answer.
            let waiting = door.0.sockets.track_future(wait(door, membership, since));
            waiting.await.map(|mut response| {
                append(response.headers_mut(), added);
                response
            })
        }
        Ok(PollOutcome::Response(response)) => {
            door.0.metrics.door.refusals.count(Refusal::Hook);
            Ok(response)
        }
        Err(error) => Err(error),
    };
    let response = answered.unwrap_or_else(|error| refuse(door, &error, named));
    drop(place);
    response
}

/// Gives a client its connection: the one whose secret the request has, or a new one.
async fn enter(
    door: &FrontDoor,
    request: Request,
    named: &NamedRoom,
) -> Result<PollOutcome, DoorError> {
    let begun = Instant::now();
    let (mut parts, body) = request.into_parts();
    // Nobody reads the body.
    drop(body);
    let presence_at = take_parameters(&mut parts)?;
    let room = door.room(&parts.uri, named)?;
    let entrance = door.0.rooms.entrance(&room)?;
    let resume_ms = entrance.party().retention.map_or(0, |retention| retention.resume_ms);
    if resume_ms == 0 {
        return Err(DoorError::NoResume(room.party().clone()));
    }
    let mut uri = parts.uri.clone();
    let client = returning::take(&mut uri)?.returning;
    let since = client.map(|client| client.since);
    if let Some(client) = client {
        let asked = (&parts, &uri, client);
        if let Some(membership) = next_of(door, asked, (&room, &entrance), presence_at).await? {
            let added = AddedHeaders::default();
            return Ok(PollOutcome::Entered { membership, added, since });
        }
    }
    let request = Request::from_parts(parts, Body::empty());
    admit_connect(&request)?;
    match socket::join(door, request, named, Transport::LongPoll).await? {
        HandshakeOutcome::Joined(client) => {
            door.0.metrics.door.open_seconds.record(begun.elapsed());
            let JoinedClient { membership, added, .. } = *client;
            Ok(PollOutcome::Entered { membership, added, since })
        }
        HandshakeOutcome::Response(response) => {
            let status = response.status();
            note_refusal(door, named, &format!("with {status}"));
            Ok(PollOutcome::Response(response))
        }
        HandshakeOutcome::Refused(frame, added) => {
            let CloseFrame { code, reason } = frame;
            note_refusal(door, named, &format!("with {code}: {reason}"));
            let status = status_of_refusal(code);
            let body = json!({ "error": "hook", "message": reason, "code": code });
            let mut response = json_response(status, body.to_string().into());
            append(response.headers_mut(), added);
            Ok(PollOutcome::Response(response))
        }
    }
}

fn note_refusal(door: &FrontDoor, named: &NamedRoom, how: &str) {
    let text = format!("a client was turned away by on_before_connect {how}");
    door.note(LogLevel::Info, named, &text);
}

/// Continues the connection whose secret a poll has, without a hook: the client is in already. A poll with a token of its
/// own is admitted as a new client is, so that a newer token takes the older one's place. `None` if there is nothing to continue.
async fn next_of(
    door: &FrontDoor,
    (parts, uri, client): (&Parts, &Uri, ReturningClient),
    (room, entrance): (&RoomId, &RoomEntrance),
    presence_at: Option<u64>,
) -> Result<Option<RoomMembership>, DoorError> {
    check_origin(entrance, &parts.headers)?;
    let auth = entrance.party().auth.as_ref();
    if auth.is_some_and(|auth| identity::has_token(parts, auth)) {
        return Ok(None);
    }
    let connection = connection_of_query(uri.query(), &door.0.limits)?;
    let (outboxes, key) = (door.0.rooms.outboxes(), PollCarrier::KEY);
    let poll = ClientPoll { connection, client, presence_at };
    match door.0.rooms.poll(room, poll, (&outboxes, key)).await {
        Ok(joined) => Ok(Some(RoomMembership { key, joined, outboxes })),
        // It gets a new connection, whose welcome names the gap.
        Err(Unreachable::Room(RoomError::NotYours)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Takes the parameters of polls out of the URL, and puts a secret that the header has into the parameter by which any
/// client comes back. Returns the number of the presence that the client knows, if it asks for what changed since.
fn take_parameters(parts: &mut Parts) -> Result<Option<u64>, DoorError> {
    let query = parts.uri.query().unwrap_or_default();
    let presence_at = query_value(query, PRESENCE_AT).map(|at| at.parse()).transpose();
    let presence_at = presence_at.map_err(|_| DoorError::Query {
        name: PRESENCE_AT,
        problem: "it is `presence_at` of the answer before, or 0".to_owned(),
    })?;
    let is_poll = |pair: &&str| {
        pair.split('=').next().is_some_and(|name| name == POLL || name == PRESENCE_AT)
    };
    let mut pairs: Vec<_> =
        query.split('&').filter(|pair| !is_poll(pair)).map(str::to_owned).collect();
    let secret = parts.headers.remove(post::SECRET);
    let secret = secret.as_ref().and_then(|secret| secret.to_str().ok());
    if let Some(secret) = secret.and_then(ConnectionSecret::parse) {
        pairs.retain(|pair| pair.split('=').next() != Some("_resume"));
        pairs.push(format!("_resume={}", secret.reveal()));
    }
    parts.uri = with_query(&parts.uri, &pairs.join("&"));
    Ok(presence_at)
}

/// Waits until the room has something for the client, or for as long as a poll waits, and returns the answer.
async fn wait(
    door: &FrontDoor,
    membership: RoomMembership,
    since: Option<SequenceNumber>,
) -> Result<Response, DoorError> {
    let limits = door.0.limits.clone();
    let permit = door.0.rooms.bytes().permit();
    let mut answer = PollAnswer::after(since, size(limits.poll_answer_bytes_max), permit);
    let end = identity::end_of(membership.joined.ends_ms, door.0.clock);
    let carrier = PollCarrier::new(&limits, Instant::now(), end);
    let driver = Driver::new(carrier, membership, limits, Arc::default()).in_one_batch();
    tokio::select! {
        _farewell = driver.write(&mut answer) => {}
        _farewell = driver.keep_time(&door.0.closing) => {}
    }
    drop(driver);
    if answer.is_refused() {
        return Err(DoorError::BuffersFull);
    }
    door.0.metrics.door.polls.count(answer.end());
    let (body, permit) = answer.into_json();
    let body = Bytes::from_owner(CountedBody { bytes: body, _permit: permit });
    Ok(json_response(StatusCode::OK, body))
}

/// Answers why there is no connection, or no answer of it.
fn refuse(door: &FrontDoor, error: &DoorError, named: &NamedRoom) -> Response {
    door.0.metrics.door.refusals.count(error.refusal());
    let shown = door.refuse(error, named);
    let name = Refusal::ALL[error.refusal().place()];
    let mut body = json!({ "error": name, "message": shown.text });
    if let Some(seconds) = shown.retry_after {
        body["retry_after"] = seconds.into();
    }
    let mut response = shown.into_response();
    *response.body_mut() = body.to_string().into();
    set_headers(response.headers_mut());
    response
}

fn json_response(status: StatusCode, body: Bytes) -> Response {
    let mut response = (status, body).into_response();
    set_headers(response.headers_mut());
    response
}

fn set_headers(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
