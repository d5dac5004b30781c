//! The room and the key that the path of an operator's request names. Owns the parsing of paths.
//!
//! Invariant: each part of the path is percent-decoded once. A key may be any bytes, and a slash in it may be encoded
//! or not. It does not know what the request does with the room.

use super::query::{Query, invalid};
use crate::{Operator, OperatorError};
use http::Uri;
use percent_encoding::percent_decode_str;
use room_core::id::{PartyName, RoomId};
use room_core::limits::size;
use room_core::span::Key;
use room_door::DoorError;

/// The room that a path names.
pub(super) struct RoomTarget {
    pub(super) room: RoomId,
}

impl RoomTarget {
    /// Returns the room of a path.
    ///
    /// # Errors
    /// [`DoorError::Name`], or the room is on another node.
    pub(super) fn of(operator: &Operator, uri: &Uri) -> Result<Self, OperatorError> {
        let (party, room, _) = parts(uri.path()).ok_or(DoorError::NotFound)?;
        let party = percent_decode_str(party).decode_utf8_lossy();
        let party = PartyName::parse(&party)?;
        let room = RoomId::from_segment(party, room, size(operator.0.limits.room_name_bytes_max))?;
        Ok(Self { room: operator.0.door.here(room)? })
    }

    /// Returns the room and the key of a path, whose query must be empty.
    ///
    /// # Errors
    /// As [`RoomTarget::of`]; [`OperatorError::Invalid`] if the key is too short or too long.
    pub(super) fn with_key(operator: &Operator, uri: &Uri) -> Result<(Self, Key), OperatorError> {
        let target = Self::of(operator, uri)?;
        Query::of(uri, &[])?;
        let (.., rest) = parts(uri.path()).ok_or(DoorError::NotFound)?;
        let key = rest.split_once('/').map_or("", |(_, key)| key);
        let key: Key = percent_decode_str(key).collect();
        let max = operator.0.limits.key_bytes_max;
        if !(1..=size(max)).contains(&key.len()) {
            return Err(invalid(format!("a key has 1 to {max} bytes (key_bytes_max)")));
        }
        Ok((target, key))
    }
}

/// Returns the party, the room and the rest of a path, still encoded.
fn parts(path: &str) -> Option<(&str, &str, &str)> {
    let (party, rest) = path.strip_prefix("/rooms/")?.split_once('/')?;
    let (room, rest) = rest.split_once('/').unwrap_or((rest, ""));
    Some((party, room, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_before_they_are_decoded() {
        let found =
            |rest: &str| parts(&format!("/rooms/{rest}")).map(|(a, b, c)| [a, b, c].join(" | "));
        assert_eq!(found("main/a%2Fb").as_deref(), Some("main | a%2Fb | "));
        assert_eq!(found("main/a/storage/x/y%2F").as_deref(), Some("main | a | storage/x/y%2F"));
        assert_eq!(found("main"), None);
    }
}
