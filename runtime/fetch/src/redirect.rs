//! One request of a chain of redirects. Owns what changes from one to the next, by the rules of the Fetch standard.
//!
//! Invariant: credentials of the request go to no other origin than the one that it was made for. Pure: it does not know
//! connections, and does not check hosts.

use crate::target::{self, Target};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use http_body_util::Full;
use room_core::event;
use room_core::fetch::{FetchFailure, FetchHead};
use url::Url;

/// A request that is to be sent.
pub(crate) struct FetchStep {
    pub(crate) method: Method,
    pub(crate) url: Url,
    headers: HeaderMap,
    body: Bytes,
}

/// The header by which a server recognises a repeated request.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const USER_AGENT: &str = concat!("room/", env!("CARGO_PKG_VERSION"));
/// Headers that describe a body, and go with it.
const OF_BODY: [HeaderName; 4] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_TYPE,
];

/// Returns the place that a response redirects to, if it does.
pub(crate) fn location(head: &FetchHead) -> Option<&[u8]> {
    let redirects = matches!(head.status, 301 | 302 | 303 | 307 | 308);
    let location = head.headers.iter().find(|(name, _)| name == "location");
    location.filter(|_| redirects).map(|(_, value)| value.as_slice())
}

impl FetchStep {
    /// Returns the first request, with the headers that the request has not set itself.
    ///
    /// # Errors
    /// [`FetchFailure::Invalid`].
    pub(crate) fn first(
        request: &event::Request,
        idempotency_key: Option<&str>,
    ) -> Result<Self, FetchFailure> {
        let invalid = FetchFailure::Invalid;
        let url = Url::parse(&request.uri).map_err(|error| {
            let uri = &request.uri;
            invalid(format!("{uri:?}: {error}; write a whole URL, as https://api.example.com/v1"))
        })?;
        if let Some(problem) = target::problem(&url) {
            return Err(invalid(problem));
        }
        let method = Method::from_bytes(request.method.as_bytes());
        let method = method.map_err(|error| invalid(error.to_string()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name = HeaderName::try_from(name.as_str());
            let name = name.map_err(|error| invalid(error.to_string()))?;
            let value = HeaderValue::from_bytes(value);
            headers.append(name, value.map_err(|error| invalid(error.to_string()))?);
        }
        let mut own = |name, value| {
            headers.entry(name).or_insert(value);
        };
        own(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        own(header::ACCEPT, HeaderValue::from_static("*/*"));
        // Nothing is decoded here, so nothing compressed is asked for.
        own(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(key) = idempotency_key {
            let value = HeaderValue::from_str(key);
            own(IDEMPOTENCY_KEY, value.map_err(|error| invalid(error.to_string()))?);
        }
        Ok(Self { method, url, headers, body: request.body.clone() })
    }

    /// Returns the request that follows a redirect.
    ///
    /// # Errors
    /// [`FetchFailure::Protocol`]: the server names no place that can be requested.
    pub(crate) fn redirected(self, status: u16, location: &[u8]) -> Result<Self, FetchFailure> {
        let wrong = |why: &str| {
            let place = String::from_utf8_lossy(location);
            FetchFailure::Protocol(format!("it redirects to {place:?}: {why}"))
        };
        let place = std::str::from_utf8(location).map_err(|_| wrong("it is not text"))?;
        let url = self.url.join(place).map_err(|error| wrong(&error.to_string()))?;
        if let Some(problem) = target::problem(&url) {
            return Err(wrong(&problem));
        }
        let mut next = Self { url, ..self };
        let becomes_get = match status {
            301 | 302 => next.method == Method::POST,
            303 => next.method != Method::GET && next.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            (next.method, next.body) = (Method::GET, Bytes::new());
            for name in OF_BODY {
                next.headers.remove(name);
            }
        }
        if next.url.origin() != self.url.origin() {
            next.headers.remove(header::AUTHORIZATION);
            next.headers.remove(header::COOKIE);
        }
        Ok(next)
    }

    /// Returns true if the server may receive the request twice: RFC 9110 section 9.2.2.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(
            self.method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        )
    }

    /// Returns the request as it is sent to a target.
    ///
    /// # Errors
    /// [`FetchFailure::Invalid`].
    pub(crate) fn message(
        &self,
        target: &Target,
    ) -> Result<http::Request<Full<Bytes>>, FetchFailure> {
        let invalid = |error: http::Error| FetchFailure::Invalid(error.to_string());
        let mut message = http::Request::builder()
            .method(self.method.clone())
            .uri(target.path.as_str())
            .version(Version::HTTP_11)
            .header(header::HOST, target.authority())
            .body(Full::new(self.body.clone()))
            .map_err(invalid)?;
        let headers = message.headers_mut();
        headers.extend(self.headers.clone());
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step(method: &str, url: &str) -> FetchStep {
        let headers = ["authorization", "cookie", "content-type", "x-own"];
        let headers = headers.map(|name| (name.to_owned(), b"1".to_vec()));
        let request = event::Request {
            method: method.to_owned(),
            uri: url.to_owned(),
            headers: headers.into(),
            body: Bytes::from_static(b"body"),
        };
        FetchStep::first(&request, Some("key")).unwrap()
    }

    /// Returns the method, the URL, the body and which of the headers are left.
    fn shown(step: &FetchStep) -> (String, String, usize, String) {
        let names = ["authorization", "cookie", "content-type", "x-own", "idempotency-key"];
        let left: Vec<&str> =
            names.into_iter().filter(|name| step.headers.contains_key(*name)).collect();
        (step.method.to_string(), step.url.to_string(), step.body.len(), left.join(" "))
    }

    #[test]
    fn a_redirect_changes_the_method_as_browsers_do() {
        let all = "authorization cookie content-type x-own idempotency-key";
        let bare = "authorization cookie x-own idempotency-key";
        for (status, method, then, bytes, headers) in [
            (301, "POST", "GET", 0, bare),
            (302, "POST", "GET", 0, bare),
            (302, "PUT", "PUT", 4, all),
            (303, "PUT", "GET", 0, bare),
            (303, "HEAD", "HEAD", 4, all),
            (307, "POST", "POST", 4, all),
            (308, "POST", "POST", 4, all),
        ] {
            let next = step(method, "https://a.example/x/y").redirected(status, b"../z").unwrap();
            let expected =
                (then.to_owned(), "https://a.example/z".to_owned(), bytes, headers.to_owned());
            assert_eq!(shown(&next), expected, "{status} {method}");
        }
    }

    #[test]
    fn credentials_stay_at_their_origin() {
        for (place, left) in [
            (
                &b"https://a.example:443/"[..],
                "authorization cookie content-type x-own idempotency-key",
            ),
            (b"https://b.example/", "content-type x-own idempotency-key"),
            (b"//b.example/", "content-type x-own idempotency-key"),
            (b"https://a.example:8443/", "content-type x-own idempotency-key"),
            (b"http://a.example/", "content-type x-own idempotency-key"),
        ] {
            let next = step("POST", "https://a.example/").redirected(307, place).unwrap();
            assert_eq!(shown(&next).3, left);
        }
    }

    #[test]
    fn a_redirect_to_what_cannot_be_requested_breaks_the_protocol() {
        for place in [
            &b"ftp://a.example/"[..],
            b"https://me:pw@a.example/",
            b"http://[",
            b"\xff",
            b"https://a.example./",
        ] {
            let failure = step("GET", "https://a.example/").redirected(302, place).err().unwrap();
            assert_eq!(failure.code(), "protocol", "{failure}");
        }
    }

    #[test]
    fn a_response_redirects_only_with_its_status_and_a_place() {
        let head = |status, name: &str| FetchHead {
            status,
            headers: vec![(name.to_owned(), b"/x".to_vec())],
            url: String::new(),
        };
        assert_eq!(location(&head(302, "location")), Some(&b"/x"[..]));
        for other in
            [head(200, "location"), head(300, "location"), head(304, "location"), head(302, "x")]
        {
            assert_eq!(location(&other), None);
        }
    }

    #[test]
    fn headers_of_the_client_are_set_unless_the_room_sets_them() {
        let mut request = event::Request {
            method: "GET".to_owned(),
            uri: "https://a.example/".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let own = FetchStep::first(&request, Some("key")).unwrap();
        assert_eq!(own.headers["user-agent"], USER_AGENT);
        assert_eq!(own.headers["idempotency-key"], "key");
        assert_eq!(own.headers["accept-encoding"], "identity");
        request.headers = vec![
            ("User-Agent".to_owned(), b"mine".to_vec()),
            ("Idempotency-Key".to_owned(), b"mine".to_vec()),
        ];
        let own = FetchStep::first(&request, Some("key")).unwrap();
        assert_eq!(
            (&own.headers["user-agent"], own.headers.len()),
            (&HeaderValue::from_static("mine"), 4)
        );
        assert_eq!(own.headers["idempotency-key"], "mine");
    }

    proptest! {
        #[test]
        fn following_any_place_never_panics(place in prop::collection::vec(any::<u8>(), 0..64), status in 300_u16..310) {
            let _ = step("POST", "https://a.example/x").redirected(status, &place);
        }
    }
}
