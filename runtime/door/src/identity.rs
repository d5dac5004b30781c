//! Who a client is. Owns the places where a token may be, and that nobody behind the door gets it.
//!
//! Invariant: a request that is handed on has no token of `[auth]` in it, and who sent it is what the token says and
//! nothing else that the client sends. A token is in one place; only a cookie, which a browser sends by itself, gives way
//! to others. It does not know how a token is checked.

use crate::FrontDoor;
use crate::address::with_query;
use crate::status::DoorError;
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use futures_util::FutureExt;
use percent_encoding::percent_decode_str;
use room_auth::{AuthError, IdentityProof, Jwks, KeyFetch, PartyAuth, TicketGrant, TicketUse};
use room_core::clock::Clock;
use room_core::config::{FetchHosts, Origins, TICKET_QUERY};
use room_core::event::Request;
use room_core::fetch::{FetchFailure, FetchRequest, Redirects};
use room_core::id::{PartyName, RoomId};
use room_core::identity::{Capabilities, Identity};
use room_core::limits::ms;
use room_core::lock::lock;
use room_core::metrics::FetchEnd;
use std::borrow::Cow;
use std::time::Duration;
use tokio::time::Instant;

/// Stands for a room of which only the party matters.
const NO_ROOM: &str = "-";
/// The scheme of the header `authorization`, in lower case.
const BEARER: &str = "bearer";
/// What an offered subprotocol begins with that is a token.
pub(super) const BEARER_PROTOCOL: &str = "bearer.";

/// A client that may go on, and its request as the room may see it.
pub(super) struct Admitted<'a> {
    pub(super) parts: Cow<'a, Parts>,
    pub(super) identity: Option<Identity>,
    /// The use of its ticket, if that is valid once. It counts when the client got in.
    pub(super) used: Option<TicketUse>,
}

impl Admitted<'_> {
    /// Makes the use of a ticket final.
    pub(super) fn got_in(used: Option<TicketUse>) {
        if let Some(used) = used {
            used.keep();
        }
    }
}

/// Where a token was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenPlace {
    /// The client put it there.
    Chosen,
    /// A browser sends it with every request, whichever page makes it.
    Cookie,
}

/// Checks who sent a request for a room.
///
/// # Errors
/// [`DoorError::Auth`].
///
/// # Cancel safety
/// If dropped before it returns, no ticket was used.
pub(super) async fn admit<'a>(
    door: &FrontDoor,
    auth: Option<&PartyAuth>,
    (room, origins): (&RoomId, &Origins),
    parts: &'a Parts,
) -> Result<Admitted<'a>, DoorError> {
    let Some(auth) = auth else {
        return Ok(Admitted { parts: Cow::Borrowed(parts), identity: None, used: None });
    };
    let admitted = checked(door, auth, (room, origins), parts).await;
    admitted.map_err(|error| {
        door.0.metrics.door.auth_refusals.count(error.kind());
        DoorError::Auth(error)
    })
}

async fn checked<'a>(
    door: &FrontDoor,
    auth: &PartyAuth,
    (room, origins): (&RoomId, &Origins),
    parts: &'a Parts,
) -> Result<Admitted<'a>, AuthError> {
    let mut taken = parts.clone();
    let token = take_token((&mut taken.uri, &mut taken.headers), auth)?;
    let Some((token, place)) = token else {
        return match auth.is_required() {
            true => Err(AuthError::Missing),
            false => Ok(Admitted { parts: Cow::Owned(taken), identity: None, used: None }),
        };
    };
    if place == TokenPlace::Cookie && !is_own_page(&taken.headers, origins) {
        return Err(AuthError::Origin);
    }
    let now_ms = door.0.clock.wall_ms();
    let proof = auth.prove(&token, Some(room), now_ms, &door.0.used_tickets).await?;
    let IdentityProof { identity, used } = proof;
    permits(&identity, &parts.method)?;
    Ok(Admitted { parts: Cow::Owned(taken), identity: Some(identity), used })
}

/// Returns a request whose URL names no room without its token, and who sent it. A token that is not valid for it is
/// nobody's: the project's page for signing in is such a URL.
///
/// # Cancel safety
/// If dropped before it returns, nothing happened.
pub(super) async fn look<'a>(
    door: &FrontDoor,
    auth: Option<&PartyAuth>,
    origins: &Origins,
    parts: &'a Parts,
) -> Admitted<'a> {
    let Some(auth) = auth else {
        return Admitted { parts: Cow::Borrowed(parts), identity: None, used: None };
    };
    let mut taken = parts.clone();
    let token = take_token((&mut taken.uri, &mut taken.headers), auth).ok().flatten();
    let identity = match token {
        Some((_, TokenPlace::Cookie)) if !is_own_page(&taken.headers, origins) => None,
        Some((token, _)) => {
            let now_ms = door.0.clock.wall_ms();
            let proof = auth.prove(&token, None, now_ms, &door.0.used_tickets).await;
            proof.ok().map(|proof| proof.identity)
        }
        None => None,
    };
    Admitted { parts: Cow::Owned(taken), identity, used: None }
}

/// Refuses a request that a ticket does not allow. What a WebSocket sends and hears is checked later.
fn permits(identity: &Identity, method: &Method) -> Result<(), AuthError> {
    let (wanted, what) = match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => return Ok(()),
        _ => (Capabilities::WRITE, "anything but reading"),
    };
    match identity.capabilities().has(wanted) {
        true => Ok(()),
        false => Err(AuthError::Forbidden(what)),
    }
}

/// Refuses a plain request whose ticket does not allow to read the response.
pub(super) fn may_read(identity: Option<&Identity>) -> Result<(), AuthError> {
    match Identity::capabilities_of(identity).has(Capabilities::READ) {
        true => Ok(()),
        false => Err(AuthError::Forbidden("reading")),
    }
}

/// Returns true if no page of another site sends the request. Browsers send a user's cookies with a WebSocket of every
/// page, and say only which page it is.
fn is_own_page(headers: &HeaderMap, origins: &Origins) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let mut pages = headers.get_all(header::ORIGIN).iter();
    pages.all(|origin| origin.to_str().is_ok_and(|origin| origins.owns(origin, host)))
}

/// Takes the token out of the head of a session, for the further rooms that its client joins. A cookie stays where it
/// is: each of those rooms decides whether the client's page may use it. `auth` is that of the first room's party.
pub(super) fn take_session_token(parts: &mut Parts, auth: Option<&PartyAuth>) -> Option<String> {
    let mut found = Vec::new();
    take_header(&mut parts.headers, &mut found);
    take_protocol(&mut parts.headers, &mut found);
    if let Some(auth) = auth {
        take_query(&mut parts.uri, auth.query(), &mut found);
    }
    found.into_iter().next()
}

/// Gives a request this token, in place of the others that its headers have.
pub(super) fn put_token(parts: &mut Parts, token: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) {
        parts.headers.insert(header::AUTHORIZATION, value);
    }
}

/// Returns true if a request has a token, valid or not.
pub(super) fn has_token(parts: &Parts, auth: &PartyAuth) -> bool {
    let (mut uri, mut headers) = (parts.uri.clone(), parts.headers.clone());
    take_token((&mut uri, &mut headers), auth).map_or(true, |token| token.is_some())
}

/// Takes the token out of a request.
fn take_token(
    (uri, headers): (&mut Uri, &mut HeaderMap),
    auth: &PartyAuth,
) -> Result<Option<(String, TokenPlace)>, AuthError> {
    let mut found = Vec::new();
    take_header(headers, &mut found);
    take_protocol(headers, &mut found);
    take_query(uri, auth.query(), &mut found);
    let mut cookies = Vec::new();
    if let Some(name) = auth.cookie() {
        take_cookie(headers, name, &mut cookies);
    }
    let place = if found.is_empty() { TokenPlace::Cookie } else { TokenPlace::Chosen };
    let mut tokens = if found.is_empty() { cookies } else { found }.into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(token), None) => Ok(Some((token, place))),
        (Some(_), Some(_)) => Err(AuthError::Several),
        (None, _) => Ok(None),
    }
}

/// Takes `authorization: Bearer TOKEN`: RFC 6750 section 2.1. Another scheme is not ours.
fn take_header(headers: &mut HeaderMap, found: &mut Vec<String>) {
    let is_bearer = |value: &HeaderValue| {
        let text = value.to_str().ok()?;
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        scheme.eq_ignore_ascii_case(BEARER).then(|| token.trim().to_owned())
    };
    replace(headers, &header::AUTHORIZATION, |value| match is_bearer(value) {
        Some(token) => {
            found.push(token);
            None
        }
        None => Some(value.clone()),
    });
}

/// Takes the offered subprotocol `bearer.TOKEN`, for clients that can set nothing else.
fn take_protocol(headers: &mut HeaderMap, found: &mut Vec<String>) {
    replace(headers, &header::SEC_WEBSOCKET_PROTOCOL, |value| {
        let Ok(text) = value.to_str() else { return Some(value.clone()) };
        if !text.contains(BEARER_PROTOCOL) {
            return Some(value.clone());
        }
        let mut others = Vec::new();
        for word in text.split(',').map(str::trim) {
            match word.strip_prefix(BEARER_PROTOCOL) {
                Some(token) => found.push(token.to_owned()),
                None => others.push(word),
            }
        }
        (!others.is_empty()).then(|| HeaderValue::try_from(others.join(", ")).ok()).flatten()
    });
}

/// Takes a cookie, and leaves the others.
fn take_cookie(headers: &mut HeaderMap, name: &str, found: &mut Vec<String>) {
    replace(headers, &header::COOKIE, |value| {
        let pairs = |text: &[u8]| -> Vec<Vec<u8>> {
            text.split(|byte| *byte == b';').map(|pair| pair.trim_ascii().to_vec()).collect()
        };
        let (own, others): (Vec<_>, Vec<_>) = pairs(value.as_bytes())
            .into_iter()
            .partition(|pair| pair.split(|byte| *byte == b'=').next() == Some(name.as_bytes()));
        if own.is_empty() {
            return Some(value.clone());
        }
        let values = own.iter().filter_map(|pair| pair.get(name.len() + 1..));
        let texts = values.map(|value| String::from_utf8_lossy(value).trim_matches('"').to_owned());
        // A server ends a session by an empty one.
        found.extend(texts.filter(|text| !text.is_empty()));
        (!others.is_empty()).then(|| HeaderValue::try_from(others.join(&b"; "[..])).ok()).flatten()
    });
}

/// Takes the parameters that have a token or a ticket.
fn take_query(uri: &mut Uri, name: Option<&str>, found: &mut Vec<String>) {
    let Some(query) = uri.query() else { return };
    let decoded =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut others = Vec::new();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decoded(key);
        if key == TICKET_QUERY || Some(key.as_str()) == name {
            found.push(decoded(value));
        } else {
            others.push(pair);
        }
    }
    if found.is_empty() || others.len() == query.split('&').count() {
        return;
    }
    *uri = with_query(uri, &others.join("&"));
}

/// Replaces each value of a header, or removes it.
fn replace(
    headers: &mut HeaderMap,
    name: &HeaderName,
    mut with: impl FnMut(&HeaderValue) -> Option<HeaderValue>,
) {
    if !headers.contains_key(name) {
        return;
    }
    let values: Vec<HeaderValue> = headers.get_all(name).iter().filter_map(&mut with).collect();
    headers.remove(name);
    for value in values {
        headers.append(name.clone(), value);
    }
}

/// Returns the moment at which the connection of a token ends.
pub(super) fn end_of(ends_ms: Option<u64>, clock: Clock) -> Option<Instant> {
    let left_ms = ends_ms?.saturating_sub(clock.wall_ms());
    // A time that the clock cannot count to is never.
    Instant::now().checked_add(Duration::from_millis(left_ms))
}

impl FrontDoor {
    /// Returns the keys of an issuer, which are fetched when a token needs them. As long as neither the URL nor the hosts
    /// change, they are the same ones.
    pub fn issuer_keys(&self, url: &str, hosts: &FetchHosts) -> Jwks {
        let mut known = lock(&self.0.issuer);
        if let Some((own_url, own_hosts, keys)) = &*known
            && own_url == url
            && own_hosts == hosts
        {
            return keys.clone();
        }
        let keys = Jwks::new(self.fetch_of_keys(url, hosts), &self.0.limits);
        *known = Some((url.to_owned(), hosts.clone(), keys.clone()));
        keys
    }

    /// Makes a ticket for rooms of this project. The inner error is a sentence for the one who asks.
    ///
    /// # Errors
    /// [`DoorError`]: there is no such party.
    pub fn ticket(&self, grant: TicketGrant) -> Result<Result<String, String>, DoorError> {
        let room = RoomId::new(PartyName::parse(&grant.party)?, NO_ROOM, usize::MAX)?;
        let entrance = self.0.rooms.entrance(&room)?;
        let Some(mint) = &entrance.party().code.mint else {
            let off = "the project has no [auth] in room.toml, so no ticket opens its rooms";
            return Ok(Err(off.to_owned()));
        };
        let number = uuid::Uuid::new_v4().as_u128();
        Ok(mint.make(grant, self.0.clock.wall_ms(), number))
    }

    fn fetch_of_keys(&self, url: &str, hosts: &FetchHosts) -> KeyFetch {
        let (client, metrics) = (self.0.fetch_client.clone(), self.0.metrics.door.clone());
        let (url, hosts) = (url.to_owned(), hosts.clone());
        let limit = ms(self.0.limits.hook_fetch_ms_max);
        std::sync::Arc::new(move || {
            let (client, metrics, hosts) = (client.clone(), metrics.clone(), hosts.clone());
            let request = Request {
                method: "GET".to_owned(),
                uri: url.clone(),
                headers: vec![("accept".to_owned(), b"application/json".to_vec())],
                body: bytes::Bytes::new(),
            };
            // A redirect would let the issuer's server choose where the node connects to.
            let fetch = FetchRequest { request, timeout_ms: None, redirects: Redirects::Error };
            async move {
                let asked = client.fetch(&fetch, &hosts, None);
                let fetched = tokio::time::timeout(limit, asked).await;
                let late = FetchFailure::TimedOut { ms: 0 };
                let outcome = fetched.unwrap_or(Err(late));
                metrics.jwks_fetches.count(match &outcome {
                    Ok(response) => FetchEnd::of_status(response.status),
                    Err(failure) => FetchEnd::of_code(failure.code()),
                });
                if let Err(failure) = &outcome {
                    tracing::warn!(%failure, "the keys of the issuer cannot be fetched");
                }
                let good = outcome.ok().filter(|response| response.status == 200);
                good.map(|response| response.body.to_vec())
            }
            .boxed()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = ::http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap().into_parts().0
    }

    /// Returns the tokens of a request, and what is left of it.
    fn taken(uri: &str, headers: &[(&str, &str)]) -> (Vec<String>, String) {
        let mut parts = parts(uri, headers);
        let mut found = Vec::new();
        take_header(&mut parts.headers, &mut found);
        take_protocol(&mut parts.headers, &mut found);
        take_query(&mut parts.uri, Some("token"), &mut found);
        take_cookie(&mut parts.headers, "session", &mut found);
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            format!(" {name}={}", value.to_str().unwrap_or("?"))
        };
        let headers: String = parts.headers.iter().map(text).collect();
        (found, format!("{}{headers}", parts.uri))
    }

    #[test]
    fn a_token_is_taken_from_its_place_and_everything_else_stays() {
        for (uri, headers, token, left) in [
            ("/party/a", &[("authorization", "Bearer abc")][..], "abc", "/party/a"),
            ("/party/a", &[("authorization", "bearer  abc ")], "abc", "/party/a"),
            ("/party/a?token=abc", &[], "abc", "/party/a"),
            ("/party/a?x=1&token=a%62c&y=", &[], "abc", "/party/a?x=1&y="),
            ("/party/a?%74oken=abc&_pk=1", &[], "abc", "/party/a?_pk=1"),
            ("/party/a?ticket=rt1.a.b", &[], "rt1.a.b", "/party/a"),
            ("http://h/party/a?token=abc", &[], "abc", "http://h/party/a"),
            (
                "/party/a",
                &[("sec-websocket-protocol", "chat, bearer.a.b-c, x")],
                "a.b-c",
                "/party/a sec-websocket-protocol=chat, x",
            ),
            ("/party/a", &[("sec-websocket-protocol", "bearer.abc")], "abc", "/party/a"),
            ("/party/a", &[("cookie", "a=1; session=abc;b=2")], "abc", "/party/a cookie=a=1; b=2"),
            ("/party/a", &[("cookie", "session=\"abc\"")], "abc", "/party/a"),
        ] {
            assert_eq!(taken(uri, headers), (vec![token.to_owned()], left.to_owned()), "{uri}");
        }
    }

    #[test]
    fn a_request_without_a_token_stays_as_it_is() {
        for (uri, headers, left) in [
            ("/party/a", &[("authorization", "Basic abc")][..], "/party/a authorization=Basic abc"),
            ("/party/a?tokens=1&Token=2", &[], "/party/a?tokens=1&Token=2"),
            ("/party/a?", &[], "/party/a?"),
            ("/party/a", &[("cookie", "mysession=1")], "/party/a cookie=mysession=1"),
            ("/party/a", &[("cookie", "session=")], "/party/a"),
            (
                "/party/a",
                &[("sec-websocket-protocol", "bearer, b")],
                "/party/a sec-websocket-protocol=bearer, b",
            ),
        ] {
            assert_eq!(taken(uri, headers), (Vec::new(), left.to_owned()), "{uri}");
        }
    }

    #[test]
    fn each_token_is_found_so_that_two_are_refused() {
        let (found, _) = taken(
            "/party/a?token=1&token=2&ticket=3",
            &[("authorization", "Bearer 4"), ("authorization", "Bearer 5")],
        );
        assert_eq!(found, ["4", "5", "1", "2", "3"]);
    }
}
