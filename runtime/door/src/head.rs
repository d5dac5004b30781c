//! The checks of every request's head, before any route sees the request. Owns the `Host` header's check, and the
//! requests that go to no route: WebSockets, clients of an address that has too many connections, and requests for rooms
//! of other nodes.
//!
//! Invariant: a request that passed names exactly one host, or is of HTTP/1.0 and names none. So the URL that a room
//! sees is valid. It does not know what a request asks for.

use crate::listener::RequestArrival;
use crate::status::DoorError;
use crate::{FrontDoor, forward, socket, upgrade};
use ::http::uri::Authority;
use ::http::{HeaderMap, Version, header};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Lets requests with a valid head pass, and answers the others. A request for a WebSocket goes to no route: whatever
/// its path is, its client reads the reason from a close frame.
pub(super) async fn check(State(door): State<FrontDoor>, request: Request, next: Next) -> Response {
    if let Some(error) = problem(&request) {
        return error.show(door.0.audience).into_response();
    }
    let request = match forward::unless_here(&door, request).await {
        Ok(request) => request,
        Err(response) => return response,
    };
    if upgrade::is_asked_for(request.headers()) {
        return socket::open(door, request).await;
    }
    next.run(request).await
}

/// Returns why a request is refused, whatever it asks for.
pub(super) fn problem(request: &Request) -> Option<DoorError> {
    let crowded = request.extensions().get::<RequestArrival>().and_then(|arrival| arrival.crowded);
    let host = || host_problem(request.version(), request.headers()).map(DoorError::Head);
    crowded.map(DoorError::AddressFull).or_else(host)
}

/// Returns what is wrong with a request's `Host`: RFC 9112 section 3.2.
fn host_problem(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        return (version >= Version::HTTP_11).then_some("it has no Host header");
    };
    if hosts.next().is_some() {
        return Some("it has two Host headers");
    }
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    let good =
        authority.is_some_and(|host| !host.as_str().contains('@') && !host.host().is_empty());
    (!good).then_some("its Host header names no host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_host() {
        let problem = |version, hosts: &[&str]| {
            let hosts = hosts.iter().map(|host| (header::HOST, host.parse().unwrap()));
            host_problem(version, &hosts.collect::<HeaderMap>())
        };
        for host in ["localhost", "localhost:1999", "chat.example.com", "127.0.0.1:1", "[::1]:80"] {
            assert_eq!(problem(Version::HTTP_11, &[host]), None, "{host}");
        }
        for host in ["", "a b", "a/b", "a?b", "me@a", ":80", "a#b", "a\\b", "http://a"] {
            assert!(problem(Version::HTTP_11, &[host]).is_some(), "{host:?}");
        }
        assert_eq!(problem(Version::HTTP_11, &[]), Some("it has no Host header"));
        assert_eq!(problem(Version::HTTP_11, &["a", "a"]), Some("it has two Host headers"));
        assert_eq!(problem(Version::HTTP_10, &[]), None);
    }
}
