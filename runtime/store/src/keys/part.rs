//! From a key of the tree to its room. Owns which keys lie beside each other because they are of one room.
//!
//! Invariant: every key of the tree belongs to one room, except those of the store itself. It does not know what the
//! values mean.

use super::{
    DUE, GUEST, INFO, JOB, OUTBOUND, TOUCHED, VERSION, WEBHOOK, decode_due, decode_room,
    decode_text, decode_touched,
};
use crate::StoreError;
use room_core::id::RoomId;

/// Parts of a room that lie beside each other in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoomPart {
    /// Its facts.
    Facts,
    /// The guest's keys.
    Keys,
    /// Its jobs.
    Jobs,
    /// The messages that it remembers.
    Messages,
}

/// Returns which part of a room a key starts with, and the length of the prefix that all keys of the part have. The
/// prefix names the room behind its first two bytes.
pub(crate) fn part_of(key: &[u8]) -> Option<(RoomPart, usize)> {
    let (&[VERSION, kind], rest) = key.split_first_chunk::<2>()? else { return None };
    let part = match kind {
        INFO => RoomPart::Facts,
        GUEST => RoomPart::Keys,
        JOB => RoomPart::Jobs,
        OUTBOUND => RoomPart::Messages,
        _ => return None,
    };
    let (_, behind) = decode_text(rest)?;
    let (_, behind) = decode_text(behind)?;
    Some((part, key.len() - behind.len()))
}

/// Returns the room of a key.
pub(crate) fn room_of(key: &[u8]) -> Result<RoomId, StoreError> {
    let damaged = || StoreError::Corrupt(format!("invalid key: {key:02x?}"));
    match key {
        [VERSION, INFO | GUEST | JOB | OUTBOUND | WEBHOOK, rest @ ..] => {
            decode_room(rest).map(|(room, _)| room).ok_or_else(damaged)
        }
        [VERSION, DUE, ..] => decode_due(key).map(|(_, room)| room),
        [VERSION, TOUCHED, ..] => decode_touched(key).map(|(_, room)| room),
        _ => Err(damaged()),
    }
}

/// Returns true if a span that starts with this key is one in which a node finds out what it has to do: for an alarm, an
/// unused room or a webhook. The last use of all parties together is not.
pub(crate) fn is_of_node(start: &[u8]) -> bool {
    matches!(start, [VERSION, DUE | WEBHOOK, ..] | [VERSION, TOUCHED, _, ..])
}
