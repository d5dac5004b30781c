//! One HTTP request and its response, as plain data. Owns the rules for what a guest may put into a response.
//!
//! Invariant: a header that frames a message is set by the process alone. This module does not know who sends a request,
//! nor over which connection.

use crate::encoding;
use crate::limits::fixed::RESPONSE_HEADERS_MAX;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The whole URL.
    pub uri: String,
    /// In the order in which they came, with names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    #[serde(with = "encoding::bytes")]
    pub body: Bytes,
}

impl Request {
    /// Returns its size in a mailbox, in bytes.
    pub fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.method.len() + self.uri.len() + headers + self.body.len()
    }
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// The headers, as names with values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    #[serde(with = "encoding::bytes")]
    pub body: Bytes,
}

/// Headers that frame a message: only the server can set them correctly.
pub(crate) const FRAMING: [&str; 7] =
    ["connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

impl Response {
    /// Returns why it is not a valid HTTP response, as a sentence for the room's author; `None` if it is
    /// valid.
    pub fn problem(&self, body_bytes_max: u64) -> Option<String> {
        if !(200..=599).contains(&self.status) {
            return Some(format!("the response's status is {}, not 200 to 599", self.status));
        }
        if self.body.len() as u64 > body_bytes_max {
            return Some(format!(
                "the response's body has {} bytes, response_bytes_max allows {body_bytes_max}",
                self.body.len()
            ));
        }
        if self.headers.len() > RESPONSE_HEADERS_MAX {
            return Some(format!(
                "the response has {} headers, at most {RESPONSE_HEADERS_MAX} are allowed",
                self.headers.len()
            ));
        }
        self.headers.iter().find_map(|(name, value)| header_problem(name, value))
    }
}

/// Returns why a header cannot be in a response, as a sentence for the room's author.
pub(crate) fn header_problem(name: &str, value: &[u8]) -> Option<String> {
    if name.is_empty() || !name.bytes().all(is_token) {
        return Some(format!("{name:?} is not a valid name for a response header"));
    }
    if FRAMING.contains(&name.to_ascii_lowercase().as_str()) {
        return Some(format!("a room cannot set the response header {name:?}"));
    }
    (!is_header_value(value))
        .then(|| format!("the response header {name:?} has control characters in it"))
}

/// Returns true for a character of a header's name: RFC 9110 section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns true for the value of a header: RFC 9110 section 5.5.
pub(crate) fn is_header_value(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_response_is_named() {
        let response = |status, name: &str, value: &[u8]| Response {
            status,
            headers: vec![(name.to_owned(), value.to_vec())],
            body: Bytes::from_static(b"body"),
        };
        assert_eq!(response(200, "x-ok", b"yes").problem(4), None);
        assert!(response(101, "x-ok", b"yes").problem(4).unwrap().contains("101"));
        assert!(response(200, "x-ok", b"yes").problem(3).unwrap().contains("response_bytes_max"));
        assert!(response(200, "a b", b"yes").problem(4).unwrap().contains("a b"));
        assert!(response(200, "X-Evil", b"a\r\nb: c").problem(4).unwrap().contains("control"));
        assert!(response(200, "Content-Length", b"1").problem(4).is_some());
    }
}
