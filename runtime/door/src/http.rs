//! Plain HTTP to rooms. Owns the translation between HTTP's messages and a room's.
//!
//! Invariant: a request is read whole, within its bounds, before a room receives it, unless its party takes bodies in
//! pieces. It does not know which room answers.

use crate::exchange::{self, RequestBody};
use crate::hooks::{self, Decision, LOOKS_MAX};
use crate::identity::{self, Admitted};
use crate::listener::{RequestArrival, Scheme};
use crate::status::{ClientError, DoorError, status_of_refusal};
use crate::upgrade;
use crate::{FrontDoor, NamedRoom};
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use room_core::byte_budget::BytePermit;
use room_core::event;
use room_core::identity::Identity;
use room_core::limits::{Limits, ms, size};
use room_core::metrics::{DoorMetrics, StatusClass};
use room_guest::DoorCall;
use room_rooms::room::IncomingRequest;
use std::sync::Arc;
use tower::util::MapResponseLayer;

/// Answers `/_room/health`: whether the node can serve rooms, and nothing else, because anybody may ask. Operators read
/// the rest at `/_room/admin/overview`.
pub(super) async fn health(State(door): State<FrontDoor>) -> Response {
    match door.0.rooms.storage_failure() {
        None => "ok\n".into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "storage failed\n").into_response(),
    }
}

/// Counts every response to a client by its status.
pub(super) fn count_requests(
    metrics: Arc<DoorMetrics>,
) -> MapResponseLayer<impl Fn(Response) -> Response + Clone> {
    MapResponseLayer::new(move |response: Response| {
        metrics.requests.count(match response.status().as_u16() {
            ..200 => StatusClass::Switched,
            200..300 => StatusClass::Success,
            300..400 => StatusClass::Redirected,
            400..500 => StatusClass::ClientError,
            500.. => StatusClass::ServerError,
        });
        response
    })
}

/// Sends the request to the room of its path, unless a hook decides otherwise.
///
/// # Errors
/// [`DoorError`] says why no room answered.
///
/// # Cancel safety
/// If dropped before it returns, the room handles the request all the same.
pub(super) async fn ask_room(
    door: &FrontDoor,
    request: Request,
    named: &NamedRoom,
) -> Result<Response, DoorError> {
    let room = door.room(request.uri(), named)?;
    let (parts, body) = request.into_parts();
    let limits = &door.0.limits;
    let mut body = RequestBody::new(body, door.0.rooms.bytes().permit());
    for _ in 0..LOOKS_MAX {
        let entrance = door.0.rooms.entrance(&room)?;
        let party = entrance.party();
        // Before the body is read: a stranger's costs nothing.
        let whose = (&room, &party.origins);
        let admitted = identity::admit(door, party.auth.as_ref(), whose, &parts).await?;
        let Admitted { parts: shown, identity, used } = admitted;
        identity::may_read(identity.as_ref())?;
        let (bytes, follows) = body.for_event(party.request_bodies, limits).await?;
        let request = IncomingRequest { request: plain(&shown, bytes), identity };
        let ends = request.identity.as_ref().and_then(Identity::ends_ms);
        let hook = hooks::ask(door, DoorCall::BeforeRequest, &entrance, request);
        let (decision, added) = hook.await?;
        let mut response = match decision {
            Decision::Forward(request) => {
                match door.0.rooms.request(&entrance, request, follows).await? {
                    Some(answer) => {
                        Admitted::got_in(used);
                        let end = identity::end_of(ends, door.0.clock);
                        exchange::answer(answer, body, (follows, end), limits).await?
                    }
                    None => continue,
                }
            }
            Decision::Respond(response) => respond(response),
            Decision::Refuse(frame) => {
                (status_of_refusal(frame.code), frame.reason).into_response()
            }
        };
        append(response.headers_mut(), added);
        return Ok(response);
    }
    Err(hooks::outrun())
}

/// Reads a body of at most `bytes_max`, which must arrive within `body_ms_max`.
///
/// # Errors
/// [`DoorError::BodyTooLarge`], [`DoorError::BodyMissing`], [`DoorError::BuffersFull`]. The permit covers the bytes
/// read.
///
/// # Cancel safety
/// If dropped before it returns, the bytes read are lost.
pub async fn read_body(
    body: Body,
    bytes_max: u64,
    limits: &Limits,
    permit: &mut BytePermit,
) -> Result<Bytes, DoorError> {
    // A body whose announced length is too large is refused without reading it.
    if body.size_hint().lower() > bytes_max {
        return Err(DoorError::BodyTooLarge(bytes_max));
    }
    let read = collect(body, bytes_max, permit);
    let read = tokio::time::timeout(ms(limits.body_ms_max), read).await;
    read.unwrap_or(Err(DoorError::BodyMissing))
}

/// Collects a body as it arrives, as long as the permit covers its bytes.
async fn collect(body: Body, bytes_max: u64, permit: &mut BytePermit) -> Result<Bytes, DoorError> {
    let (mut body, mut bytes) = (Limited::new(body, size(bytes_max)), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => DoorError::BodyTooLarge(bytes_max),
            false => DoorError::BodyMissing,
        })?;
        // Trailers are not passed on.
        let Ok(data) = frame.into_data() else { continue };
        if !permit.cover(bytes.len() + data.len()) {
            return Err(DoorError::BuffersFull);
        }
        if bytes.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// Returns a request as a room sees it.
pub(super) fn plain(parts: &Parts, body: Bytes) -> event::Request {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme =
        parts.extensions.get::<RequestArrival>().map_or(Scheme::Http, |arrival| arrival.scheme);
    let headers = parts.headers.iter();
    event::Request {
        method: parts.method.as_str().to_owned(),
        uri: format!("{}://{}{path}", scheme.as_str(), host.unwrap_or("localhost")),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body,
    }
}

/// Returns a room's response as HTTP. It was checked when its turn ended. A status without content (RFC 9110 sections
/// 15.3.5, 15.3.6, 15.4.5) is sent without the room's body, because a client would take that for the next response.
pub(super) fn respond(response: event::Response) -> Response {
    let status = StatusCode::from_u16(response.status).unwrap_or_default();
    let body = match status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => {
            Body::empty()
        }
        _ => Body::from(response.body),
    };
    let mut out = Response::new(body);
    *out.status_mut() = status;
    append(out.headers_mut(), response.headers);
    out
}

/// Adds headers, which were checked, after those that an answer has.
pub(super) fn append(answer: &mut HeaderMap, headers: impl IntoIterator<Item = (String, Vec<u8>)>) {
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.append(name, value);
        }
    }
}

impl IntoResponse for ClientError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        if let Some(challenge) = self.challenge {
            let challenge = HeaderValue::from_static(challenge);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            // RFC 6455 section 4.4, RFC 9110 section 15.5.22.
            let fixed = HeaderValue::from_static;
            let headers = response.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_VERSION, fixed(upgrade::VERSION));
            headers.insert(header::UPGRADE, fixed("websocket"));
            headers.insert(header::CONNECTION, fixed("upgrade"));
        }
        response
    }
}
