//! The bounds of the mock host, equal to the runtime's defaults.
//!
//! Owns the numbers and the checks that need nothing else. Invariant: what the runtime refuses by
//! default the mock refuses, with the same error. It does not know a project's own `[limits]`.

use crate::error::{ConnectionError, StorageError};
use crate::http::Response;
use crate::message::Message;

/// A longer message is refused; one from a client ends its connection with 1009.
pub(super) const MESSAGE_BYTES_MAX: u32 = 1024 * 1024;
/// A longer key is refused.
pub(super) const KEY_BYTES_MAX: u32 = 2048;
/// A longer value is refused.
pub(super) const VALUE_BYTES_MAX: u32 = 1024 * 1024;
/// More state for a connection is refused.
pub(super) const CONNECTION_STATE_BYTES_MAX: u32 = 16 * 1024;
/// More bytes of keys and values in one turn are refused.
pub(super) const TURN_WRITE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// More writes in one turn are refused.
pub(super) const TURN_WRITES_MAX: usize = 10_000;
/// More messages in one turn are refused; a broadcast counts once for each that gets it.
pub(super) const TURN_SENDS_MAX: usize = 10_000;
/// A page of a listing ends here. Small, so that tests of rooms cross pages.
pub(super) const LIST_PAGE_ENTRIES_MAX: usize = 64;
/// More tags for a connection fail its turn.
const TAGS_MAX: usize = 9;
/// A longer tag fails the turn.
const TAG_BYTES_MAX: usize = 256;
/// A longer reason is refused; the WebSocket protocol has no room for more.
const CLOSE_REASON_BYTES_MAX: usize = 123;

fn fits(bytes: &[u8], max: u32) -> bool {
    u32::try_from(bytes.len()).is_ok_and(|len| len <= max)
}

pub(super) fn check_message(message: &Message) -> Result<(), ConnectionError> {
    if fits(message.as_bytes(), MESSAGE_BYTES_MAX) {
        Ok(())
    } else {
        Err(ConnectionError::MessageTooLarge(MESSAGE_BYTES_MAX))
    }
}

pub(super) fn check_state(state: &[u8]) -> Result<(), ConnectionError> {
    if fits(state, CONNECTION_STATE_BYTES_MAX) {
        Ok(())
    } else {
        Err(ConnectionError::StateTooLarge(CONNECTION_STATE_BYTES_MAX))
    }
}

pub(super) fn check_close(code: u16, reason: &str) -> Result<(), ConnectionError> {
    if code != 1000 && !(3000..=4999).contains(&code) {
        let why = format!("code {code} is neither 1000 nor 3000 to 4999");
        return Err(ConnectionError::InvalidClose(why));
    }
    if reason.len() > CLOSE_REASON_BYTES_MAX {
        let why = format!("the reason is longer than {CLOSE_REASON_BYTES_MAX} bytes");
        return Err(ConnectionError::InvalidClose(why));
    }
    Ok(())
}

pub(super) fn check_key(key: &[u8]) -> Result<(), StorageError> {
    if !key.is_empty() && fits(key, KEY_BYTES_MAX) {
        Ok(())
    } else {
        Err(StorageError::InvalidKey(KEY_BYTES_MAX))
    }
}

pub(super) fn check_value(value: &[u8]) -> Result<(), StorageError> {
    if fits(value, VALUE_BYTES_MAX) {
        Ok(())
    } else {
        Err(StorageError::ValueTooLarge(VALUE_BYTES_MAX))
    }
}

pub(super) fn check_tags(tags: &[String]) -> Result<(), String> {
    if tags.len() > TAGS_MAX {
        return Err(format!("a connection has at most {TAGS_MAX} tags, not {}", tags.len()));
    }
    match tags.iter().find(|tag| tag.is_empty() || tag.len() > TAG_BYTES_MAX) {
        Some(tag) => Err(format!("a tag is 1 to {TAG_BYTES_MAX} bytes, not {}", tag.len())),
        None => Ok(()),
    }
}

pub(super) fn check_response(response: &Response) -> Result<(), String> {
    const SERVERS_OWN: [&str; 4] = ["connection", "transfer-encoding", "content-length", "upgrade"];
    if !(200..=599).contains(&response.status) {
        return Err(format!("a response's status is 200 to 599, not {}", response.status));
    }
    match response.headers.iter().find(|(name, _)| SERVERS_OWN.contains(&name.as_str())) {
        Some((name, _)) => Err(format!("only the server may set the header {name}")),
        None => Ok(()),
    }
}
