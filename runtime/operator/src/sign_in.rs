//! `/_room/sign-in`: signing in to the dashboard by a link in the terminal. Owns the single-use codes in such links.
//!
//! Invariant: a code is valid once, and only for a page of this server that a browser on this machine has opened by a
//! name of this machine. A page of another site cannot use a code, even if it knew one. It cannot send the `Origin` of
//! this server, it cannot send a body of JSON without a preflight request, and it cannot call the server by a name of
//! its own (DNS rebinding). It does not know what the token permits.

use crate::AdminToken;
use crate::guard::Credentials;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use room_core::lock::lock;
use room_door::client_addr;
use serde::Deserialize;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

/// The longest body, in bytes: a code has 64.
const BODY_BYTES_MAX: usize = 1_024;
/// Why a code is refused. The text does not reveal whether the code was ever valid.
const SPENT: &str =
    "this link has been used: press d in the terminal of `room dev` for another one";

/// The codes that have not been used yet.
pub(super) struct SignInCodes {
    codes: Mutex<VecDeque<AdminToken>>,
    max: usize,
}

/// The body of the page's request.
#[derive(Deserialize)]
struct SignInRequest {
    code: String,
}

impl SignInCodes {
    /// Returns an empty set. If more than `max` codes are unused, the oldest is dropped.
    pub(super) fn new(max: usize) -> Self {
        Self { codes: Mutex::default(), max }
    }

    /// Creates a code.
    pub(super) fn issue(&self) -> String {
        let code = AdminToken::random();
        let secret = code.secret().to_owned();
        let mut codes = self.codes();
        codes.push_back(code);
        while codes.len() > self.max {
            codes.pop_front();
        }
        secret
    }

    /// Returns true if this code is valid, and makes it invalid.
    pub(super) fn redeem(&self, offered: &str) -> bool {
        let mut codes = self.codes();
        let found = codes.iter().position(|code| code.is(offered));
        found.is_some_and(|at| codes.remove(at).is_some())
    }

    fn codes(&self) -> MutexGuard<'_, VecDeque<AdminToken>> {
        lock(&self.codes)
    }
}

/// Returns the route of the codes, for a server whose clients are all developers.
pub(super) fn router(credentials: Credentials) -> Router {
    Router::new().route("/_room/sign-in", post(sign_in)).with_state(credentials)
}

/// Exchanges a code for the operator's token. The body `{"code":"…"}` is answered by `{"token":"…"}`.
async fn sign_in(State(credentials): State<Credentials>, request: Request) -> Response {
    if let Some(problem) = problem(client_addr(&request), request.headers()) {
        return refused(problem);
    }
    let body = to_bytes(Body::new(request.into_body()), BODY_BYTES_MAX).await;
    let asked = body.ok().and_then(|body| serde_json::from_slice::<SignInRequest>(&body).ok());
    match asked.and_then(|asked| credentials.redeem(&asked.code)) {
        Some(token) => {
            let told = serde_json::json!({ "token": token.secret() });
            ([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response()
        }
        None => refused(SPENT),
    }
}

fn refused(problem: &str) -> Response {
    let told = serde_json::json!({ "error": problem });
    (StatusCode::FORBIDDEN, [(header::CACHE_CONTROL, "no-store")], Json(told)).into_response()
}

/// Returns why this request signs nobody in, whatever its code is.
fn problem(client: Option<IpAddr>, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if !client.is_some_and(|addr| addr.to_canonical().is_loopback()) {
        return Some(
            "a link signs in browsers on the machine of `room dev` only: use its token elsewhere",
        );
    }
    let host = text(header::HOST).unwrap_or_default();
    if !is_this_machine(host) {
        return Some(
            "open the link as it was printed: its host must be localhost, 127.0.0.1 or [::1]",
        );
    }
    let own = [format!("http://{host}"), format!("https://{host}")];
    let is_own = text(header::ORIGIN).is_some_and(|origin| own.iter().any(|own| own == origin));
    let is_foreign = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin");
    if !is_own || is_foreign {
        return Some("only the dashboard's own page can use a link");
    }
    let is_json =
        text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    (!is_json).then_some("the body must be JSON: {\"code\":\"…\"}")
}

/// Returns true for the names by which a machine calls itself, with or without a port.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || plain.parse::<IpAddr>().is_ok_and(|addr| addr.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: &str, site: &str) -> HeaderMap {
        let pairs = [
            (header::HOST, host),
            (header::ORIGIN, origin),
            (header::CONTENT_TYPE, "application/json"),
            (header::HeaderName::from_static("sec-fetch-site"), site),
        ];
        pairs.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_sign_in_code_works_once_and_the_oldest_excess_code_is_dropped() {
        let codes = SignInCodes::new(3);
        let made: Vec<String> = (0..4).map(|_| codes.issue()).collect();
        assert!(!codes.redeem(&made[0]), "the oldest");
        assert!(!codes.redeem("") && !codes.redeem(&made[1][1..]));
        assert!(codes.redeem(&made[2]) && !codes.redeem(&made[2]));
        assert!(codes.redeem(&made[1]) && codes.redeem(&made[3]));
    }

    #[test]
    fn only_a_page_on_this_machine_may_sign_in() {
        let here: Option<IpAddr> = Some([127, 0, 0, 1].into());
        for host in ["localhost:1999", "LOCALHOST", "127.0.0.1:1", "[::1]:1999"] {
            let own = headers(host, &format!("http://{host}"), "same-origin");
            assert_eq!(problem(here, &own), None, "{host}");
        }
        let own = headers("localhost:1999", "http://localhost:1999", "same-origin");
        for elsewhere in [None, Some([10, 0, 0, 2].into())] {
            assert!(problem(elsewhere, &own).is_some_and(|said| said.contains("machine")));
        }
        // A name that resolves to this machine but is not one of its own: DNS rebinding.
        for host in [
            "evil.example:1999",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "10.0.0.1",
        ] {
            let rebound = headers(host, &format!("http://{host}"), "same-origin");
            assert!(
                problem(here, &rebound).is_some_and(|said| said.contains("its host")),
                "{host}"
            );
        }
        for (origin, site) in [
            ("http://evil.example", "cross-site"),
            ("http://localhost:3000", "same-site"),
            ("http://localhost:1999", "cross-site"),
            ("null", "same-origin"),
        ] {
            let foreign = headers("localhost:1999", origin, site);
            assert!(
                problem(here, &foreign).is_some_and(|said| said.contains("own page")),
                "{origin}"
            );
        }
        let mut form = own.clone();
        form.insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        assert!(problem(here, &form).is_some_and(|said| said.contains("JSON")));
        let mut bare = own;
        bare.remove(header::ORIGIN);
        assert!(problem(here, &bare).is_some());
    }
}
