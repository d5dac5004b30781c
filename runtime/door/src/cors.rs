//! Requests of pages of other sites: CORS, as the Fetch standard has it. Owns the headers by which a browser lets such a
//! page read a response.
//!
//! Invariant: a response never lets every page read it together with the user's cookies. What a room sets itself stays.
//! It does not know what a response says.

use crate::{FrontDoor, NamedRoom};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use room_core::config::{Cors, CorsRight};

/// The methods that a page may use without being asked for more than its own.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// The seconds for which a browser keeps the answer to a preflight. Browsers keep it for two hours at most.
const KEPT_SECONDS: &str = "86400";
/// The headers of a response that every page may read, and those that no page may.
const NOT_LISTED: [&str; 9] = [
    "cache-control",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "last-modified",
    "pragma",
    "set-cookie",
    "vary",
];

/// The page that a request comes from, if it comes from one, as the party of its room sees it.
pub(super) struct PageOrigin {
    cors: Cors,
    origin: Option<HeaderValue>,
}

impl PageOrigin {
    /// Returns the page of a request for a room.
    pub(super) fn of(door: &FrontDoor, named: &NamedRoom, headers: &HeaderMap) -> Self {
        let entrance = named.as_ref().ok().and_then(Option::as_ref);
        let entrance = entrance.and_then(|room| door.0.rooms.entrance(room).ok());
        let cors = entrance.map(|entrance| entrance.party().cors.clone()).unwrap_or_default();
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none()).cloned();
        Self { cors, origin }
    }

    fn right(&self) -> CorsRight {
        let origin = self.origin.as_ref().and_then(|origin| origin.to_str().ok());
        origin.map_or(CorsRight::Nothing, |origin| self.cors.right_of(origin))
    }

    /// Returns the answer to a browser that asks what a page may do, if the request does. No room receives it.
    pub(super) fn preflight(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let asks = *request.method() == Method::OPTIONS && self.origin.is_some();
        if self.cors == Cors::Off || !asks {
            return None;
        }
        let mut response = match self.right() {
            CorsRight::Nothing => {
                (StatusCode::FORBIDDEN, "the party's cors does not list this origin\n")
                    .into_response()
            }
            CorsRight::Read | CorsRight::ReadWithCookies => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                let methods = match is_listed(method) {
                    true => HeaderValue::from_static(METHODS),
                    false => method.clone(),
                };
                let answer = response.headers_mut();
                answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
                // A star would not stand for `authorization`, nor for anything in a request with cookies.
                for asked in headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                    answer.append(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
                }
                let kept = HeaderValue::from_static(KEPT_SECONDS);
                answer.insert(header::ACCESS_CONTROL_MAX_AGE, kept);
                response
            }
        };
        self.allow(response.headers_mut());
        for name in [header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_REQUEST_HEADERS]
        {
            response.headers_mut().append(header::VARY, HeaderValue::from(name));
        }
        Some(response)
    }

    /// Lets the page read a response, if the party allows it and the room did not decide itself.
    pub(super) fn admit(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return response;
        }
        let readable = self.right() != CorsRight::Nothing;
        if readable && !headers.contains_key(header::ACCESS_CONTROL_EXPOSE_HEADERS) {
            headers
                .extend(exposed(headers).map(|list| (header::ACCESS_CONTROL_EXPOSE_HEADERS, list)));
        }
        self.allow(headers);
        response
    }

    fn allow(&self, headers: &mut HeaderMap) {
        if let Cors::Origins(_) = self.cors {
            // Also without a page: a cache may answer a page with this response.
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        // With `true` the header is the same for every page, and is there without a page, too.
        if self.cors == Cors::Every {
            headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        if let (CorsRight::ReadWithCookies, Some(origin)) = (self.right(), &self.origin) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}

fn is_listed(method: &HeaderValue) -> bool {
    METHODS.split(", ").any(|listed| listed.as_bytes() == method.as_bytes())
}

/// Returns the names of a response's headers that a page can read only if they are listed. A star would not stand for
/// them in a response to a request with cookies.
fn exposed(headers: &HeaderMap) -> Option<HeaderValue> {
    let names = headers.keys().map(HeaderName::as_str);
    let is_own = |name: &&str| !NOT_LISTED.contains(name) && !name.starts_with("access-control-");
    let names: Vec<&str> = names.filter(is_own).collect();
    (!names.is_empty()).then(|| HeaderValue::from_str(&names.join(", ")).ok()).flatten()
}
