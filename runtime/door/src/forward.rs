//! Requests for rooms that live on other nodes. Owns the way there: one connection to the room's home for each request.
//!
//! Invariant: among nodes with fixed names a request is forwarded once at most, and in a cluster, whose rooms move, by
//! `forward_hops_max` nodes. The answer is the home's own. The home learns the client's address from `X-Forwarded-For`,
//! which it believes if this node is one of its trusted proxies, or proves that it is of the home's cluster. The number of
//! forwarded requests is bounded, and every wait has an end. It does not know what frames mean, or what a room answers.

pub(crate) mod proof;
mod tunnel;

use crate::cors::PageOrigin;
use crate::listener::{ConnectionSlot, RequestArrival, Scheme};
use crate::status::DoorError;
use crate::upgrade::{self, UpgradeHandshake};
use crate::{FrontDoor, NamedRoom, socket};
use ::http::uri::PathAndQuery;
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use room_core::config::{PeerNode, Space};
use room_core::id::RoomId;
use room_core::limits::fixed::{FORWARD_HOPS_MAX, RESPONSE_HEADERS_MAX};
use room_core::limits::{Limits, ms, size};
use room_rooms::cluster::{ClusterKey, Home, Homes};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Names the nodes that forwarded a request, in order. A node with fixed peers never forwards a request that has it.
pub(crate) const BY: HeaderName = HeaderName::from_static("room-forwarded-by");
/// The scheme that the client used.
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Headers of one connection: RFC 9110 section 7.6.1. The reader of the body answers `Expect`.
const OF_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// The way to the other nodes of a space, for all projects of a process. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    homes: Homes,
    places: Arc<Semaphore>,
    bounds: ForwardBounds,
}

/// The limits of the process. A project has no others.
#[derive(Clone, Copy)]
struct ForwardBounds {
    forwards_max: u64,
    connect_max: Duration,
    answer_max: Duration,
}

impl Forwarder {
    /// Returns the way to the other nodes of this space.
    pub fn new(space: &Space, limits: &Limits) -> Self {
        Self::to(Homes::new(space), limits)
    }

    /// Returns the way to these homes.
    pub fn to(homes: Homes, limits: &Limits) -> Self {
        let bounds = ForwardBounds {
            forwards_max: limits.forwards_max,
            connect_max: ms(limits.forward_connect_ms_max),
            answer_max: ms(limits.forward_answer_ms_max),
        };
        let places = size(limits.forwards_max).min(Semaphore::MAX_PERMITS);
        Self { homes, places: Arc::new(Semaphore::new(places)), bounds }
    }

    /// Returns which node each room lives on.
    pub fn homes(&self) -> &Homes {
        &self.homes
    }
}

/// Lets a request stay that is for this node, and answers one for a room that lives elsewhere.
///
/// # Errors
/// The response, which is the home's own or says why the home did not answer.
///
/// # Cancel safety
/// If dropped before it returns, the room may handle the request all the same.
pub(super) async fn unless_here(
    door: &FrontDoor,
    mut request: Request,
) -> Result<Request, Response> {
    let homes = &door.0.forwarder.homes;
    if homes.is_alone() {
        return Ok(request);
    }
    let named = door.home_named(request.uri());
    let Ok(Some(room)) = &named else {
        request.headers_mut().remove(BY);
        return Ok(request);
    };
    if door.home(room) == Home::Here {
        request.headers_mut().remove(BY);
        return Ok(request);
    }
    // Boxed, so that a request for a room of this node reserves no space for the way to others.
    Box::pin(to_home(door, request, room, &named)).await
}

/// Sends a request to the home of its room, and lets it stay if that is this node.
async fn to_home(
    door: &FrontDoor,
    mut request: Request,
    room: &RoomId,
    named: &NamedRoom,
) -> Result<Request, Response> {
    let homes = &door.0.forwarder.homes;
    let (deadline, mut tried) = (homes.deadline(), None);
    let project = door.0.rooms.logs().project();
    let (way, peer) = loop {
        let home = homes.settled((project, room), tried.as_ref(), deadline).await;
        let peer = match &home {
            Home::Here => {
                request.headers_mut().remove(BY);
                return Ok(request);
            }
            Home::Nobody => return Err(refuse(door, request, &DoorError::Moving, named)),
            Home::Peer(peer, _) => peer,
        };
        if let Err(error) = may_forward(homes, &request, peer) {
            return Err(refuse(door, request, &error, named));
        }
        match HomeWay::open(door, peer).await {
            Ok(way) => break (way, peer.clone()),
            // In a cluster, other nodes take over the rooms of a node that is gone.
            Err(DoorError::NodeDown(_)) if homes.key().is_some() => tried = Some(home),
            Err(error) => {
                return Err(AskedHead::of(door, &request, named).refused(door, &error, named));
            }
        }
    };
    let asked = AskedHead::of(door, &request, named);
    Err(way
        .pass_on(door, &peer, request)
        .await
        .unwrap_or_else(|error| asked.refused(door, &error, named)))
}

/// Checks that a request may go on to a peer.
fn may_forward(homes: &Homes, request: &Request, peer: &PeerNode) -> Result<(), DoorError> {
    let by = request.headers().get(BY).map(|by| by.to_str().unwrap_or_default());
    match (homes.key(), by) {
        (_, None) => Ok(()),
        (Some(_), Some(by)) if by.split(',').count() < FORWARD_HOPS_MAX => Ok(()),
        (Some(_), Some(_)) => Err(DoorError::Moving),
        (None, Some(_)) => {
            Err(DoorError::Looped { home: peer.name().clone(), own: homes.own().clone() })
        }
    }
}

/// The parts of a request's head that the answer needs when the request could not be forwarded.
struct AskedHead {
    page: PageOrigin,
    asks_for_socket: bool,
}

impl AskedHead {
    fn of(door: &FrontDoor, request: &Request, named: &NamedRoom) -> Self {
        let page = PageOrigin::of(door, named, request.headers());
        Self { page, asks_for_socket: upgrade::is_asked_for(request.headers()) }
    }

    fn refused(&self, door: &FrontDoor, error: &DoorError, named: &NamedRoom) -> Response {
        if self.asks_for_socket {
            door.0.metrics.door.refusals.count(error.refusal());
        }
        self.page.admit(door.refuse(error, named).into_response())
    }
}

/// Answers a request that no other attempt helps. A WebSocket is opened and closed with the reason.
fn refuse(
    door: &FrontDoor,
    mut request: Request,
    error: &DoorError,
    named: &NamedRoom,
) -> Response {
    let shown = door.refuse(error, named);
    if !upgrade::is_asked_for(request.headers()) {
        return shown.into_response();
    }
    door.0.metrics.door.refusals.count(error.refusal());
    match UpgradeHandshake::of(&mut request, &door.0.limits, door.0.rooms.bytes()) {
        Ok(handshake) => socket::refuse(handshake, shown.frame, &door.0.limits, &door.0.sockets),
        Err(error) => error.show(door.0.audience).into_response(),
    }
}

/// An open connection to the home of a room.
struct HomeWay {
    sender: http1::SendRequest<Body>,
    /// Held until the forwarded request has ended.
    place: OwnedSemaphorePermit,
}

impl HomeWay {
    async fn open(door: &FrontDoor, home: &PeerNode) -> Result<Self, DoorError> {
        let Forwarder { places, bounds, .. } = &door.0.forwarder;
        let place = places.clone().try_acquire_owned();
        let place = place.map_err(|_| DoorError::ForwardsFull(bounds.forwards_max))?;
        let down = || DoorError::NodeDown(home.name().clone());
        let tcp = timeout(bounds.connect_max, TcpStream::connect(home.address())).await;
        let tcp = tcp.map_err(|_| down())?.map_err(|_| down())?;
        // As for clients: without this option, small frames wait for the acknowledgement of earlier ones.
        drop(tcp.set_nodelay(true));
        let client = http1::Builder::new()
            .max_headers(RESPONSE_HEADERS_MAX * 2)
            .handshake(TokioIo::new(tcp));
        let (sender, connection) = client.await.map_err(|_| down())?;
        // It ends with the response's body, or becomes a tunnel.
        door.0.sockets.spawn(async move { drop(connection.with_upgrades().await) });
        Ok(Self { sender, place })
    }

    /// Sends a request, and returns the home's response.
    async fn pass_on(
        mut self,
        door: &FrontDoor,
        home: &PeerNode,
        mut request: Request,
    ) -> Result<Response, DoorError> {
        let Forwarder { homes, bounds, .. } = &door.0.forwarder;
        let down = || DoorError::NodeDown(home.name().clone());
        let arrival = request.extensions().get::<RequestArrival>().cloned();
        let socket = match upgrade::is_asked_for(request.headers()) {
            true => request.extensions_mut().remove::<OnUpgrade>(),
            false => None,
        };
        let scheme = arrival.as_ref().map_or(Scheme::Http, |arrival| arrival.scheme);
        let own = (homes.own().as_str(), homes.key());
        let request = prepared(request, own, scheme, socket.is_some());
        let response = match timeout(bounds.answer_max, self.sender.send_request(request)).await {
            Ok(Ok(response)) => response,
            // The body that the client sends broke off.
            Ok(Err(error)) if error.is_user() => return Err(DoorError::BodyMissing),
            Ok(Err(_)) => return Err(down()),
            Err(_) => return Err(DoorError::NodeSilent(home.name().clone())),
        };
        match (response.status(), socket) {
            (StatusCode::SWITCHING_PROTOCOLS, Some(client)) => {
                let held = (self.place, arrival.map(|arrival| arrival.place));
                Ok(switched(door, response, client, held))
            }
            (StatusCode::SWITCHING_PROTOCOLS, None) => Err(down()),
            _ => Ok(handed_on(response, self.place)),
        }
    }
}

/// Returns the request as the home gets it.
fn prepared(
    request: Request,
    (own, key): (&str, Option<&ClusterKey>),
    scheme: Scheme,
    socket: bool,
) -> Request {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned();
    parts.uri = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    let upgrade = parts.headers.remove(header::UPGRADE).filter(|_| socket);
    remove_of_connection(&mut parts.headers);
    let fixed = HeaderValue::from_static;
    if let Some(upgrade) = upgrade {
        parts.headers.insert(header::UPGRADE, upgrade);
        parts.headers.insert(header::CONNECTION, fixed("Upgrade"));
    }
    // A request of HTTP/1.0 need not name a host.
    parts.headers.entry(header::HOST).or_insert(fixed("localhost"));
    parts.headers.insert(PROTO, fixed(scheme.as_str()));
    let by = parts.headers.get(BY).and_then(|by| by.to_str().ok());
    let by = by.map_or_else(|| own.to_owned(), |by| format!("{by}, {own}"));
    if let Ok(by) = HeaderValue::from_str(&by) {
        parts.headers.insert(BY, by);
    }
    let mut request = Request::from_parts(parts, body);
    if let Some(key) = key {
        proof::add(&mut request, key);
    }
    request
}

/// Removes the headers that are about one connection, also those that `Connection` lists.
fn remove_of_connection(headers: &mut HeaderMap) {
    let listed = headers.get_all(header::CONNECTION).into_iter();
    let listed = listed.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let listed: Vec<HeaderName> = listed.filter_map(|name| name.trim().parse().ok()).collect();
    // `X-Forwarded-For` is this node's own word, which no client takes back.
    let taken = |name: &&HeaderName| !name.as_str().starts_with("x-forwarded-");
    for name in listed.iter().filter(taken).chain(&OF_CONNECTION) {
        headers.remove(name);
    }
}

/// Returns the home's response to a plain request. The place is held until its body ends.
fn handed_on(
    response: hyper::Response<hyper::body::Incoming>,
    place: OwnedSemaphorePermit,
) -> Response {
    let (mut parts, body) = response.into_parts();
    remove_of_connection(&mut parts.headers);
    parts.extensions.clear();
    let body = body.map_frame(move |frame| {
        let _held = &place;
        frame
    });
    Response::from_parts(parts, Body::new(body))
}

/// Returns the home's answer to a handshake, and joins the two connections once the client has it.
fn switched(
    door: &FrontDoor,
    mut response: hyper::Response<hyper::body::Incoming>,
    client: OnUpgrade,
    held: (OwnedSemaphorePermit, Option<ConnectionSlot>),
) -> Response {
    let home = hyper::upgrade::on(&mut response);
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    let (limits, closing) = (door.0.limits.clone(), door.0.closing.clone());
    // The home pings its clients. Two intervals and the time for an answer later, it is gone.
    let idle_max = ms(limits.ping_interval_ms) * 2 + ms(limits.pong_ms_max);
    door.0.sockets.spawn(async move {
        let _held = held;
        let leave = async {
            closing.cancelled().await;
            tokio::time::sleep(socket::spread(&limits)).await;
        };
        tokio::select! {
            () = tunnel::join(client, home, idle_max) => {}
            () = leave => {}
        }
    });
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        };
        list.iter().map(pair).collect()
    }

    fn request(list: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().uri("http://h/party/a?b").body(Body::empty()).unwrap();
        *request.headers_mut() = headers(list);
        request
    }

    #[test]
    fn the_home_gets_the_request_without_what_was_about_the_clients_connection() {
        let asked = request(&[
            ("host", "chat.example.com"),
            ("connection", "keep-alive, x-own, X-Forwarded-For"),
            ("keep-alive", "timeout=5"),
            ("x-own", "1"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("upgrade", "h2c"),
            ("x-forwarded-for", "192.0.2.7"),
            ("accept", "*/*"),
        ]);
        let sent = prepared(asked, ("a", None), Scheme::Https, false);
        assert_eq!(sent.uri().to_string(), "/party/a?b");
        let expected = headers(&[
            ("host", "chat.example.com"),
            ("x-forwarded-for", "192.0.2.7"),
            ("accept", "*/*"),
            ("x-forwarded-proto", "https"),
            ("room-forwarded-by", "a"),
        ]);
        assert_eq!(sent.headers(), &expected);
    }

    #[test]
    fn a_handshake_stays_one() {
        let asked = request(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]);
        let sent = prepared(asked, ("a", None), Scheme::Http, true);
        let expected = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("host", "localhost"),
            ("x-forwarded-proto", "http"),
            ("room-forwarded-by", "a"),
        ]);
        assert_eq!(sent.headers(), &expected);
    }
}
