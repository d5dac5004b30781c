//! Requests of rooms to other servers, as plain data. Owns what such a request may contain, and how it can fail.
//!
//! Invariant: a failure has one code that never changes, and a text that says what is wrong and what to write instead.
//! This module does not know sockets, names of hosts or who asks.

use crate::exchange::{FRAMING, Request, is_header_value, is_token};
use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A request to another server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchRequest {
    /// The request. Its `uri` is a whole URL of the scheme `http` or `https`.
    pub request: Request,
    /// Time until the response must be complete, in milliseconds. [`Limits::fetch_ms_max`] bounds it, and replaces a
    /// missing one.
    pub timeout_ms: Option<u64>,
    /// What happens if the server answers with a redirect.
    pub redirects: Redirects,
}

/// What happens if a server answers with a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Redirects {
    /// It is followed, at most [`Limits::fetch_redirects_max`] times. Each target is checked as the first one was.
    #[default]
    Follow,
    /// The redirect is the response.
    Manual,
    /// The request fails.
    Error,
}

/// The start of a response whose body arrives in pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchHead {
    /// 200 to 599.
    pub status: u16,
    /// The headers, as names in lower case with values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The URL that answered: the last one, after redirects.
    pub url: String,
}

/// Why a request to another server has no response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FetchFailure {
    /// The request cannot be sent.
    #[error("the request is invalid: {0}")]
    Invalid(String),
    /// The project does not list the host.
    #[error(
        "the project may not fetch from {host}: add it to `hosts` of `[fetch]` in room.toml, such as hosts = [\"{host}\"]"
    )]
    HostNotAllowed {
        /// The host, with the port if it is not the scheme's own.
        host: String,
    },
    /// The host has an address that is not public, and the project does not list that address.
    #[error(
        "{host} has the address {address}, which is not public: if rooms may reach it, add the address and its port to `hosts` of `[fetch]` in room.toml"
    )]
    AddressNotAllowed {
        /// The host.
        host: String,
        /// The refused address.
        address: IpAddr,
    },
    /// There is no connection to the server: its name is unknown, it does not accept, or TLS failed.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The server does not speak HTTP as it should.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The response was not complete in time.
    #[error("no complete response within {ms} ms")]
    TimedOut {
        /// The time that it had, in milliseconds.
        ms: u64,
    },
    /// The request or the response exceeds a limit.
    #[error("it is too large: {limit} allows {bytes} bytes")]
    TooLarge {
        /// The name of the limit.
        limit: String,
        /// Its value, in bytes.
        bytes: u64,
    },
    /// The server redirected too often, or the request follows no redirects.
    #[error(
        "more than {0} redirects: fetch the last URL itself, or take the redirect as the response"
    )]
    TooManyRedirects(u32),
    /// The node has reached a limit.
    #[error("the limit {0} is reached: try again later")]
    Busy(String),
}

impl FetchFailure {
    /// Returns the code of this kind of failure. It never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::HostNotAllowed { .. } => "host-not-allowed",
            Self::AddressNotAllowed { .. } => "address-not-allowed",
            Self::Unreachable(_) => "unreachable",
            Self::Protocol(_) => "protocol",
            Self::TimedOut { .. } => "timed-out",
            Self::TooLarge { .. } => "too-large",
            Self::TooManyRedirects(_) => "too-many-redirects",
            Self::Busy(_) => "busy",
        }
    }

    /// Returns true if the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Protocol(_) | Self::TimedOut { .. } | Self::Busy(_) => {
                true
            }
            Self::Invalid(_)
            | Self::HostNotAllowed { .. }
            | Self::AddressNotAllowed { .. }
            | Self::TooLarge { .. }
            | Self::TooManyRedirects(_) => false,
        }
    }
}

/// Returns true for the name, in lower case, of a header that frames a message. Only the process sets those.
pub fn is_framing(name: &str) -> bool {
    FRAMING.contains(&name)
}

/// Headers that only the process sets, besides those that frame a message: they name the server, or are meant for
/// proxies.
const RESERVED: [&str; 5] =
    ["host", "expect", "proxy-authenticate", "proxy-authorization", "proxy-connection"];

impl FetchRequest {
    /// Checks everything that can be checked without a network: what a turn asks for is refused in the turn.
    ///
    /// # Errors
    /// [`FetchFailure::Invalid`] or [`FetchFailure::TooLarge`].
    pub fn check(&self, limits: &Limits) -> Result<(), FetchFailure> {
        let Request { method, uri, headers, body } = &self.request;
        let invalid = |why: String| Err(FetchFailure::Invalid(why));
        if method.is_empty() || !method.bytes().all(is_token) {
            return invalid(format!("{method:?} is not a method: write \"GET\" or \"POST\""));
        }
        // A tunnel would go past every check, and a trace would show credentials.
        if ["connect", "trace", "track"].contains(&method.to_ascii_lowercase().as_str()) {
            return invalid(format!("the method {method} cannot be fetched"));
        }
        if headers.len() as u64 > limits.fetch_headers_max {
            let (count, max) = (headers.len(), limits.fetch_headers_max);
            return invalid(format!("it has {count} headers, fetch_headers_max allows {max}"));
        }
        if let Some(problem) = headers.iter().find_map(|(name, value)| header_problem(name, value))
        {
            return invalid(problem);
        }
        let head: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        within("fetch_header_bytes_max", head + uri.len(), limits.fetch_header_bytes_max)?;
        within("fetch_request_bytes_max", body.len(), limits.fetch_request_bytes_max)
    }
}

/// Returns [`FetchFailure::TooLarge`] if there are more bytes than a limit allows.
fn within(limit: &str, bytes: usize, max: u64) -> Result<(), FetchFailure> {
    match bytes as u64 > max {
        true => Err(FetchFailure::TooLarge { limit: limit.to_owned(), bytes: max }),
        false => Ok(()),
    }
}

fn header_problem(name: &str, value: &[u8]) -> Option<String> {
    if name.is_empty() || !name.bytes().all(is_token) {
        return Some(format!("{name:?} is not a valid name for a header"));
    }
    let lower = name.to_ascii_lowercase();
    if is_framing(&lower) || RESERVED.contains(&lower.as_str()) {
        return Some(format!("a room cannot set the header {name:?}: leave it out"));
    }
    (!is_header_value(value)).then(|| format!("the header {name:?} has control characters in it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn get(headers: &[(&str, &[u8])]) -> FetchRequest {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        FetchRequest {
            request: Request {
                method: "GET".to_owned(),
                uri: "https://a.example/".to_owned(),
                headers: headers.collect(),
                body: Bytes::new(),
            },
            timeout_ms: None,
            redirects: Redirects::Follow,
        }
    }

    #[test]
    fn headers_that_frame_a_request_or_name_its_server_are_refused() {
        let limits = Limits::default();
        assert_eq!(get(&[("x-ok", b"yes"), ("Cookie", b"a=1")]).check(&limits), Ok(()));
        for name in ["Host", "content-length", "Transfer-Encoding", "connection", "TE", "upgrade"] {
            let failure = get(&[(name, b"1")]).check(&limits).unwrap_err();
            assert!(failure.to_string().contains(name), "{failure}");
        }
        for (name, value) in [("a b", &b"1"[..]), ("", b"1"), ("x-evil", b"a\r\nb: c")] {
            assert_eq!(get(&[(name, value)]).check(&limits).unwrap_err().code(), "invalid");
        }
    }

    #[test]
    fn methods_that_open_tunnels_are_refused() {
        for method in ["", "CONNECT", "trace", "GET /", "G\r\nT"] {
            let mut request = get(&[]);
            request.request.method = method.to_owned();
            let failure = request.check(&Limits::default()).unwrap_err();
            assert_eq!(failure.code(), "invalid", "{method:?}");
        }
    }

    #[test]
    fn requests_beyond_a_limit_name_it() {
        let limits = Limits {
            fetch_headers_max: 1,
            fetch_header_bytes_max: 64,
            fetch_request_bytes_max: 8,
            ..Limits::default()
        };
        let many = get(&[("a", b"1"), ("b", b"2")]).check(&limits).unwrap_err();
        assert!(many.to_string().contains("fetch_headers_max allows 1"), "{many}");
        let long = get(&[("a", &[b'x'; 64])]).check(&limits).unwrap_err();
        assert!(long.to_string().contains("fetch_header_bytes_max"), "{long}");
        let mut heavy = get(&[]);
        heavy.request.body = Bytes::from_static(b"123456789");
        let heavy = heavy.check(&limits).unwrap_err();
        let limit = "fetch_request_bytes_max".to_owned();
        assert_eq!(heavy, FetchFailure::TooLarge { limit, bytes: 8 });
    }
}
