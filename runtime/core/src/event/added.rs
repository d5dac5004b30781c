//! The headers that a hook adds to the answer of a request. Owns their bounds and their check.
//!
//! Invariant: each of them may be in an answer as it is, and none of them frames a message or belongs to the handshake
//! of a WebSocket. It does not know to which answer they are added.

use crate::exchange::header_problem;
use crate::limits::fixed::{ADDED_HEADERS_BYTES_MAX, ADDED_HEADERS_MAX};

/// Headers of the handshake: the server sets them (RFC 6455 section 11.3).
const HANDSHAKE: &str = "sec-websocket-";

/// The headers that a hook has added, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AddedHeaders {
    headers: Vec<(String, Vec<u8>)>,
    bytes: usize,
}

impl AddedHeaders {
    /// Adds a header after the others.
    ///
    /// # Errors
    /// A sentence for the author of the hook: the header is invalid, or there are too many. Nothing is added.
    pub fn add(&mut self, name: String, value: Vec<u8>) -> Result<(), String> {
        if let Some(problem) = header_problem(&name, &value) {
            return Err(problem);
        }
        if name.to_ascii_lowercase().starts_with(HANDSHAKE) {
            return Err(format!(
                "a hook cannot add the response header {name:?}; `sec-websocket-protocol` of the request that goes on \
                 chooses the subprotocol"
            ));
        }
        if self.headers.len() >= ADDED_HEADERS_MAX {
            return Err(format!(
                "a hook adds at most {ADDED_HEADERS_MAX} headers (added_headers_max)"
            ));
        }
        let bytes = self.bytes + name.len() + value.len();
        if bytes > ADDED_HEADERS_BYTES_MAX {
            return Err(format!(
                "the headers that a hook adds have at most {ADDED_HEADERS_BYTES_MAX} bytes (added_headers_bytes_max)"
            ));
        }
        self.bytes = bytes;
        self.headers.push((name, value));
        Ok(())
    }
}

impl IntoIterator for AddedHeaders {
    type Item = (String, Vec<u8>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.headers.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(headers: &mut AddedHeaders, name: &str, value: &[u8]) -> Result<(), String> {
        headers.add(name.to_owned(), value.to_vec())
    }

    #[test]
    fn headers_of_the_server_and_invalid_ones_are_refused() {
        let mut headers = AddedHeaders::default();
        for name in ["Upgrade", "connection", "content-length", "Sec-WebSocket-Accept", "a b", ""] {
            let problem = add(&mut headers, name, b"1").unwrap_err();
            assert!(problem.contains(&format!("{name:?}")), "{problem}");
        }
        let problem = add(&mut headers, "set-cookie", b"a=1\r\nx: y").unwrap_err();
        assert!(problem.contains("control characters"), "{problem}");
        for value in [b"a=1".as_slice(), b"b=2"] {
            add(&mut headers, "set-cookie", value).unwrap();
        }
        let values: Vec<_> = headers.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [b"a=1", b"b=2"]);
    }

    #[test]
    fn their_number_and_their_size_are_bounded() {
        let mut headers = AddedHeaders::default();
        for _ in 0..ADDED_HEADERS_MAX {
            add(&mut headers, "x", b"1").unwrap();
        }
        assert!(add(&mut headers, "x", b"1").unwrap_err().contains("added_headers_max"));
        let mut headers = AddedHeaders::default();
        let large = vec![b'x'; ADDED_HEADERS_BYTES_MAX - 1];
        assert!(add(&mut headers, "ab", &large).unwrap_err().contains("added_headers_bytes_max"));
        add(&mut headers, "a", &large).unwrap();
        assert!(add(&mut headers, "a", b"").unwrap_err().contains("added_headers_bytes_max"));
    }
}
