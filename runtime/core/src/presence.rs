//! Who is in a room, and what each of them shows. Owns the values, and the rules by which they change.
//!
//! Invariant: what a user shows is one JSON value of at most `presence_data_bytes_max`, the users of a room together stay
//! within the room's limits, and a change is made as a whole or refused. Plain data: it does not know time, or clients.

mod draft;
mod event;

pub use draft::{PresenceDraft, PresenceEdit, PresenceEdits, PresenceMark};
pub use event::{PresenceDiff, sync_of, users_of};

use crate::id::ConnectionId;
use crate::identity::Identity;
use crate::limits::{Limits, size};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a user counts besides its texts, in bytes: the keys of its JSON, and its place in memory.
const USER_BYTES: usize = 64;

/// The user behind a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceUser {
    /// The claim `sub` of the connection's identity, or the connection's id.
    pub name: String,
    /// Who says so.
    pub proof: UserProof,
}

/// Who says which user a connection is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserProof {
    /// A token or a ticket.
    Claim,
    /// The client, which chose its id.
    Client,
}

/// What one user shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownPresence {
    /// One JSON value.
    pub data: Arc<str>,
    /// The flags that have not ended, in order.
    pub flags: BTreeSet<Arc<str>>,
}

/// What others see of a present user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceEntry {
    /// What it shows.
    pub shown: ShownPresence,
    /// How many connections it has, with those whose clients are away.
    pub connections: u64,
}

/// A user that is connected or present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// How many connections it has.
    pub connections: u64,
    /// Who says that these are its connections.
    pub proof: UserProof,
    /// What it shows; `None` if it is not present.
    pub shown: Option<ShownPresence>,
}

/// How much the present users of a room are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceTallies {
    /// The number of present users.
    pub users: usize,
    /// The bytes of their names, data and flags.
    pub bytes: usize,
}

/// The users of a room that are connected or present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresentUsers {
    users: BTreeMap<Arc<str>, UserRecord>,
    tallies: PresenceTallies,
}

/// The reason why presence was not changed or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresenceRefusal {
    /// The party keeps no presence.
    #[error(
        "the party keeps no presence: write `presence = true` under [parties.main] in room.toml"
    )]
    NotKept,
    /// There is no such connection.
    #[error("no open connection has this id")]
    NotFound,
    /// A flag needs a user that is present.
    #[error("the user is not present: set its data before its flags")]
    NotPresent,
    /// The client's ticket does not allow it, or its id is the name of a user that a token proves.
    #[error(
        "the client may not show itself: its ticket lacks `presence`, or its id is the name of a signed-in user"
    )]
    Forbidden,
    /// The party's rooms show their users by themselves.
    #[error("only the room's code shows users here: room.toml has `by = \"room\"` in `presence`")]
    ByRoom,
    /// The data is too large.
    #[error("the data has {bytes} bytes, and presence_data_bytes_max allows {max}: show less")]
    TooLarge {
        /// The data, as it would be kept.
        bytes: usize,
        /// The limit.
        max: u64,
    },
    /// The room or the user has as much as a limit allows.
    #[error("{limit} allows {max}, and that is used up")]
    Full {
        /// The limit.
        limit: &'static str,
        /// Its value.
        max: u64,
    },
    /// An argument is invalid; the sentence says why.
    #[error("{0}")]
    Invalid(String),
}

impl PresenceUser {
    /// Returns the user of a connection with this id and identity.
    pub fn of(id: &ConnectionId, identity: Option<&Identity>) -> Self {
        let subject = identity.and_then(Identity::user);
        match subject {
            // A text stands for itself, anything else for its JSON.
            Some(json) => {
                let name = serde_json::from_str(&json).unwrap_or(json);
                Self { name, proof: UserProof::Claim }
            }
            None => Self { name: id.to_string(), proof: UserProof::Client },
        }
    }
}

impl ShownPresence {
    /// Returns the bytes that a user of this name counts while it shows this.
    fn bytes(&self, name: &str) -> usize {
        let flags: usize = self.flags.iter().map(|flag| flag.len()).sum();
        USER_BYTES + name.len() + self.data.len() + flags
    }
}

impl PresenceTallies {
    /// Counts what a user shows in place of what it showed.
    fn replace(&mut self, name: &str, old: Option<&ShownPresence>, new: Option<&ShownPresence>) {
        let bytes = |shown: Option<&ShownPresence>| shown.map_or(0, |shown| shown.bytes(name));
        self.users = self.users + usize::from(new.is_some()) - usize::from(old.is_some());
        self.bytes = self.bytes + bytes(new) - bytes(old);
    }
}

impl PresentUsers {
    /// Returns the user with this name, if it is connected or present.
    pub fn get(&self, name: &str) -> Option<&UserRecord> {
        self.users.get(name)
    }

    /// Returns the key under which a user is kept.
    pub fn key(&self, name: &str) -> Option<Arc<str>> {
        self.users.get_key_value(name).map(|(key, _)| key.clone())
    }

    /// Returns what others see of a user; `None` if it is not present.
    pub fn entry(&self, name: &str) -> Option<PresenceEntry> {
        self.users.get(name).and_then(UserRecord::entry)
    }

    /// Returns the present users, by their names.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<str>, PresenceEntry)> {
        self.users.iter().filter_map(|(name, record)| Some((name, record.entry()?)))
    }

    /// Returns the number of present users.
    pub fn present(&self) -> usize {
        self.tallies.users
    }

    /// Counts one more connection of a user, and returns the user's key.
    pub fn enter(&mut self, user: &PresenceUser) -> Arc<str> {
        let key = self.key(&user.name).unwrap_or_else(|| user.name.as_str().into());
        let new = UserRecord { connections: 0, proof: user.proof, shown: None };
        self.users.entry(key.clone()).or_insert(new).connections += 1;
        key
    }

    /// Counts one connection of a user less. Returns true if that was its last one.
    pub fn leave(&mut self, name: &str) -> bool {
        let Some(record) = self.users.get_mut(name) else { return false };
        record.connections = record.connections.saturating_sub(1);
        let is_last = record.connections == 0;
        self.forget_unused(name);
        is_last
    }

    /// Changes what a user shows.
    pub fn show(&mut self, name: &str, shown: Option<ShownPresence>) {
        let Some(record) = self.users.get_mut(name) else { return };
        self.tallies.replace(name, record.shown.as_ref(), shown.as_ref());
        record.shown = shown;
        self.forget_unused(name);
    }

    /// Forgets a user and its connections.
    pub fn forget(&mut self, name: &str) {
        self.show(name, None);
        self.users.remove(name);
    }

    fn forget_unused(&mut self, name: &str) {
        if self.users.get(name).is_some_and(|own| own.connections == 0 && own.shown.is_none()) {
            self.users.remove(name);
        }
    }
}

impl UserRecord {
    fn entry(&self) -> Option<PresenceEntry> {
        let shown = self.shown.clone()?;
        Some(PresenceEntry { shown, connections: self.connections })
    }
}

/// Returns a user's data as it is kept: one JSON value without spaces, so that equal values are equal texts.
///
/// # Errors
/// [`PresenceRefusal::Invalid`] if the text is not valid JSON, [`PresenceRefusal::TooLarge`].
fn data_of(text: &str, limits: &Limits) -> Result<String, PresenceRefusal> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        PresenceRefusal::Invalid(format!("the data is not valid JSON: {error}"))
    })?;
    let (text, max) = (value.to_string(), limits.presence_data_bytes_max);
    match text.len() > size(max) {
        true => Err(PresenceRefusal::TooLarge { bytes: text.len(), max }),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests;
