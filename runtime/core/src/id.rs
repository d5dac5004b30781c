//! The names of things: parties, rooms, connections, nodes, modules. Owns their validity.
//!
//! Invariant: a value of these types is well-formed, so nothing past the door checks again.
//! It does not know what the names lead to.

mod cursor;
mod request;
mod secret;

pub use cursor::CursorError;
pub use request::RequestId;
pub use secret::ConnectionSecret;

use crate::limits::fixed::PARTY_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The longest room name, in bytes, that any configuration can allow.
const ROOM_BYTES_CEILING: usize = 1_024;

/// The reason why a text is not a valid name. Display is a sentence for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("the {0} name is empty")]
    Empty(&'static str),
    /// It is longer than allowed.
    #[error("the {what} name is {found} bytes long, at most {max} are allowed")]
    TooLong {
        /// `party`, `room` or `connection`.
        what: &'static str,
        /// Its length in bytes.
        found: usize,
        /// The longest allowed, in bytes.
        max: usize,
    },
    /// It holds a character that this kind of name must not have.
    #[error("the {what} name has {found:?} in it, which is not allowed")]
    Character {
        /// `party`, `room` or `connection`.
        what: &'static str,
        /// The first such character.
        found: char,
    },
    /// Its percent-decoding is not UTF-8.
    #[error("the room name is not valid UTF-8 after percent-decoding")]
    NotUtf8,
}

/// A party: the kind of a room. Kept in kebab-case, so that `ChatRoom`, `chat_room` and `chat-room`
/// are one party.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartyName(Arc<str>);

impl PartyName {
    /// Parses the party of a URL or manifest: ASCII letters, digits, `-` and `_`, 1 to 64 bytes in
    /// kebab-case.
    ///
    /// # Errors
    /// [`NameError`]: empty, too long, or with another character in it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let what = "party";
        if text.is_empty() {
            return Err(NameError::Empty(what));
        }
        if let Some(found) =
            text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'))
        {
            return Err(NameError::Character { what, found });
        }
        let name = kebab(text);
        if name.len() > PARTY_BYTES_MAX {
            return Err(NameError::TooLong { what, found: name.len(), max: PARTY_BYTES_MAX });
        }
        Ok(Self(name.into()))
    }

    /// Returns the name in kebab-case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Converts `ChatRoom`, `chat_room` and `CHAT_ROOM` to `chat-room`. This is the rule of PartyServer's router
/// (partykit.md section 1.3), so that clients written for it find their party.
fn kebab(text: &str) -> String {
    let all_upper = !text.chars().any(|c| c.is_ascii_lowercase());
    let mut out = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        if c == '_' {
            out.push('-');
        } else if c.is_ascii_uppercase() && !all_upper {
            if !out.is_empty() && !out.ends_with('-') {
                out.push('-');
            }
            out.push(c.to_ascii_lowercase());
        } else {
            out.push(c.to_ascii_lowercase());
        }
    }
    out
}

impl fmt::Display for PartyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PartyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One room: a party and a name. The unit of everything: at most one live instance each.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId {
    party: PartyName,
    name: Arc<str>,
}

impl RoomId {
    /// Makes the id of the room with this decoded name: 1 to `bytes_max` bytes, no control characters.
    ///
    /// # Errors
    /// [`NameError`]: empty, too long, or with a control character in it.
    pub fn new(party: PartyName, name: &str, bytes_max: usize) -> Result<Self, NameError> {
        let max = bytes_max.min(ROOM_BYTES_CEILING);
        check_text("room", name, max)?;
        Ok(Self { party, name: name.into() })
    }

    /// Makes the id of the room in one raw path segment, which is percent-decoded once.
    ///
    /// # Errors
    /// As [`RoomId::new`], and [`NameError::NotUtf8`].
    pub fn from_segment(
        party: PartyName,
        segment: &str,
        bytes_max: usize,
    ) -> Result<Self, NameError> {
        let decoded = percent_encoding::percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_| NameError::NotUtf8)?;
        Self::new(party, &decoded, bytes_max)
    }

    /// Returns the party that this room belongs to.
    pub fn party(&self) -> &PartyName {
        &self.party
    }

    /// Returns the name within the party.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Checks a name from an untrusted source: not empty, bounded, without invisible characters.
fn check_text(what: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty(what));
    }
    if text.len() > max {
        return Err(NameError::TooLong { what, found: text.len(), max });
    }
    match text.chars().find(|c| c.is_control()) {
        Some(found) => Err(NameError::Character { what, found }),
        None => Ok(()),
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.party, self.name)
    }
}

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A client's id as its room sees it: the client's `_pk`, or one that the server made.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConnectionId(Arc<str>);

impl ConnectionId {
    /// Parses the id that a client asked for, 1 to `bytes_max` bytes without control characters.
    ///
    /// # Errors
    /// [`NameError`]: empty, too long, or with a control character in it.
    pub fn parse(text: &str, bytes_max: usize) -> Result<Self, NameError> {
        check_text("connection", text, bytes_max)?;
        Ok(Self(text.into()))
    }

    /// Makes a new, unique id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string().into())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id as text that is shared with it.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl TryFrom<String> for ConnectionId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text, usize::MAX)
    }
}

impl From<ConnectionId> for String {
    fn from(id: ConnectionId) -> Self {
        id.as_str().to_owned()
    }
}

impl std::borrow::Borrow<str> for ConnectionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Distinguishes two sockets of one client: the client chooses the id, the room assigns the serial. Serials
/// of a room grow in the order in which its connections joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Serial(pub u64);

/// The number of an event or an output of a room. Shown as `epoch-seq`.
///
/// Numbers of a room grow, within an epoch without a gap. Where the epoch changes, the last numbers of the
/// earlier epoch may be unknown.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct SequenceNumber {
    /// The activation of the room that gave it: later activations have greater epochs.
    pub epoch: u64,
    /// Its position, counted from 1. A new epoch continues after the last durable number of the earlier one.
    pub seq: u64,
}

impl SequenceNumber {
    /// Returns the number this many positions later.
    #[must_use]
    pub fn after(self, places: u64) -> Self {
        Self { seq: self.seq.saturating_add(places), ..self }
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// Distinguishes the commits of the node that may run a room from those of a node that no longer may. It
/// grows whenever the room gets another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// One process that runs rooms.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Makes the id of the node with this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The content of a module: BLAKE3 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModuleHash([u8; 32]);

impl ModuleHash {
    /// Stands for a missing module, where a change did not come from a guest.
    pub const NONE: Self = Self([0; 32]);

    /// Returns the hash of a module's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Makes a hash from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the hash as bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
