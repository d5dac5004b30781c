//! The servers that may publish to a project's rooms. Owns the section `[publish]`, and which key is for which rooms.
//!
//! Invariant: a key's value is kept as a hash alone, and whether an offered key is one of them takes the same time for all.
//! It does not know how a key is sent.

use crate::id::{PartyName, RoomId};
use crate::limits::fixed::{PUBLISH_KEY_BYTES_MIN, PUBLISH_KEYS_MAX};
use serde::{Deserialize, Serialize};

/// The section `[publish]` of a project, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishSettings {
    /// The keys of the servers that may publish.
    pub keys: Vec<PublishKeySetting>,
}

/// A key of a server that may publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PublishKeySetting {
    /// The name of the variable with the key, which is for all rooms.
    Name(String),
    /// A key for some rooms.
    Scoped(ScopedPublishKey),
}

/// A key for some rooms of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopedPublishKey {
    /// The name of the variable with the key.
    pub secret: String,
    /// The parties to whose rooms it may publish; all, if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parties: Option<Vec<String>>,
    /// The names of the rooms, where a `*` at the end stands for any rest; all, if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<String>>,
}

/// The reason why `[publish]` cannot be used, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PublishError(String);

/// The keys of a project's publishers.
#[derive(Clone, Debug, Default)]
pub struct PublishKeys(Vec<PublishKey>);

/// One key, and the rooms that it is for.
#[derive(Clone, Debug)]
pub struct PublishKey {
    hash: blake3::Hash,
    parties: Option<Vec<PartyName>>,
    rooms: Option<Vec<RoomPattern>>,
}

/// The names of some rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RoomPattern {
    Exactly(String),
    BeginningWith(String),
}

impl PublishKeySetting {
    /// Returns the name of the variable with the key.
    pub fn secret(&self) -> &str {
        match self {
            Self::Name(secret) | Self::Scoped(ScopedPublishKey { secret, .. }) => secret,
        }
    }

    fn lists(&self) -> (Option<&[String]>, Option<&[String]>) {
        match self {
            Self::Name(_) => (None, None),
            Self::Scoped(ScopedPublishKey { parties, rooms, .. }) => {
                (parties.as_deref(), rooms.as_deref())
            }
        }
    }
}

impl PublishSettings {
    /// Checks the settings of a project with these parties, without the values of the keys.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn check(&self, known: &[PartyName]) -> Result<(), PublishError> {
        if self.keys.is_empty() {
            let problem = "[publish] has no key: write the name of a variable, such as keys = [\"PUBLISH_KEY\"], or remove \
                           the section";
            return Err(PublishError(problem.to_owned()));
        }
        if self.keys.len() > PUBLISH_KEYS_MAX {
            return Err(PublishError(format!(
                "[publish] has {} keys: write at most {PUBLISH_KEYS_MAX}",
                self.keys.len()
            )));
        }
        for setting in &self.keys {
            if setting.secret().is_empty() {
                let problem = "a key of [publish] has no name: write the name of a variable, such as \"PUBLISH_KEY\"";
                return Err(PublishError(problem.to_owned()));
            }
            let (parties, rooms) = setting.lists();
            parties.map(|names| parties_of(names, known)).transpose()?;
            rooms.map(patterns_of).transpose()?;
        }
        Ok(())
    }

    /// Returns the keys, with their values among these variables.
    ///
    /// # Errors
    /// [`PublishError`]: the settings are invalid, or a variable is not set, or too short to be a key.
    pub fn keys_among(
        &self,
        known: &[PartyName],
        variables: &[(String, String)],
    ) -> Result<PublishKeys, PublishError> {
        self.check(known)?;
        let keys = self.keys.iter().map(|setting| {
            let name = setting.secret();
            let found = variables.iter().find(|(own, _)| own == name).map(|(_, value)| value);
            let Some(value) = found else {
                return Err(PublishError(format!(
                    "[publish] names the variable {name}, which is not set: set it with `room env set {name} - --secret` \
                     on a server, or in .env for `room dev`"
                )));
            };
            if value.len() < PUBLISH_KEY_BYTES_MIN {
                return Err(PublishError(format!(
                    "the variable {name} cannot be a key of [publish]: it has {} bytes, at least {PUBLISH_KEY_BYTES_MIN} \
                     are needed; set it to random ones, such as $(openssl rand -hex 32)",
                    value.len()
                )));
            }
            let (parties, rooms) = setting.lists();
            let parties = parties.map(|names| parties_of(names, known)).transpose()?;
            let rooms = rooms.map(patterns_of).transpose()?;
            Ok(PublishKey { hash: blake3::hash(value.as_bytes()), parties, rooms })
        });
        keys.collect::<Result<_, _>>().map(PublishKeys)
    }
}

fn parties_of(names: &[String], known: &[PartyName]) -> Result<Vec<PartyName>, PublishError> {
    if names.is_empty() {
        let problem =
            "a key of [publish] has no party: name some, or remove `parties` for a key for all";
        return Err(PublishError(problem.to_owned()));
    }
    let parsed = names.iter().map(|name| {
        let party = PartyName::parse(name).map_err(|error| PublishError(error.to_string()))?;
        if known.contains(&party) {
            return Ok(party);
        }
        let known: Vec<&str> = known.iter().map(PartyName::as_str).collect();
        let known = known.join(", ");
        Err(PublishError(format!(
            "a key of [publish] is for the party {party}, and the project has {known}"
        )))
    });
    parsed.collect()
}

fn patterns_of(names: &[String]) -> Result<Vec<RoomPattern>, PublishError> {
    if names.is_empty() {
        let problem =
            "a key of [publish] has no room: name some, or remove `rooms` for a key for all";
        return Err(PublishError(problem.to_owned()));
    }
    let parsed = names.iter().map(|name| match name.split_once('*') {
        None if name.is_empty() => {
            Err(PublishError("a key of [publish] is for a room without a name".to_owned()))
        }
        None => Ok(RoomPattern::Exactly(name.clone())),
        Some((start, "")) => Ok(RoomPattern::BeginningWith(start.to_owned())),
        Some(_) => Err(PublishError(format!(
            "{name:?} cannot be the rooms of a key of [publish]: a * is the last character, as in \"chat-*\""
        ))),
    });
    parsed.collect()
}

impl PublishKeys {
    /// Returns true if nobody may publish.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the key that was offered, or `None` if it is not on the list. Two hashes are compared in constant time, and all of
    /// them are.
    pub fn find(&self, offered: &str) -> Option<&PublishKey> {
        let offered = blake3::hash(offered.as_bytes());
        let mut found = None;
        for key in &self.0 {
            if key.hash == offered {
                found = Some(key);
            }
        }
        found
    }
}

impl PublishKey {
    /// Returns true if the key is for this room.
    pub fn is_for(&self, room: &RoomId) -> bool {
        let has_party = self.parties.as_ref().is_none_or(|parties| parties.contains(room.party()));
        let is_meant = |pattern: &RoomPattern| match pattern {
            RoomPattern::Exactly(name) => room.name() == name,
            RoomPattern::BeginningWith(start) => room.name().starts_with(start.as_str()),
        };
        has_party && self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(is_meant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    fn parties() -> Vec<PartyName> {
        ["main", "chat"].map(|name| PartyName::parse(name).unwrap()).to_vec()
    }

    fn scoped(parties: Option<&[&str]>, rooms: Option<&[&str]>) -> PublishSettings {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (parties, rooms) = (parties.map(list), rooms.map(list));
        let key = ScopedPublishKey { secret: "KEY".to_owned(), parties, rooms };
        PublishSettings { keys: vec![PublishKeySetting::Scoped(key)] }
    }

    fn variables(value: &str) -> Vec<(String, String)> {
        vec![("KEY".to_owned(), value.to_owned())]
    }

    #[test]
    fn a_key_is_for_the_parties_and_rooms_that_it_names() {
        let room = |party: &str, name: &str| {
            RoomId::new(PartyName::parse(party).unwrap(), name, 256).unwrap()
        };
        let of =
            |settings: &PublishSettings| settings.keys_among(&parties(), &variables(KEY)).unwrap();
        let some = of(&scoped(Some(&["chat"]), Some(&["lobby", "team-*"])));
        let key = some.find(KEY).unwrap();
        for (party, name, is_for) in [
            ("chat", "lobby", true),
            ("chat", "team-", true),
            ("chat", "team-7", true),
            ("chat", "lobby-2", false),
            ("chat", "team", false),
            ("main", "lobby", false),
        ] {
            assert_eq!(key.is_for(&room(party, name)), is_for, "{party}/{name}");
        }
        let all = of(&PublishSettings { keys: vec![PublishKeySetting::Name("KEY".to_owned())] });
        assert!(all.find(KEY).unwrap().is_for(&room("main", "any")));
        for other in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(all.find(other).is_none(), "{other}");
        }
        assert!(!format!("{all:?}").contains(KEY));
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused_with_what_to_write() {
        let refused = |settings: PublishSettings, value: &str| {
            settings.keys_among(&parties(), &variables(value)).unwrap_err().to_string()
        };
        let key = |name: &str| PublishKeySetting::Name(name.to_owned());
        for (settings, value, words) in [
            (PublishSettings::default(), KEY, "has no key"),
            (PublishSettings { keys: vec![key("KEY"); 33] }, KEY, "at most 32"),
            (PublishSettings { keys: vec![key("")] }, KEY, "has no name"),
            (PublishSettings { keys: vec![key("OTHER")] }, KEY, "room env set OTHER"),
            (PublishSettings { keys: vec![key("KEY")] }, "short", "has 5 bytes"),
            (scoped(Some(&[]), None), KEY, "has no party"),
            (scoped(Some(&["lobby"]), None), KEY, "the project has main, chat"),
            (scoped(None, Some(&[])), KEY, "has no room"),
            (scoped(None, Some(&["a*b"])), KEY, "last character"),
            (scoped(None, Some(&[""])), KEY, "without a name"),
        ] {
            let text = refused(settings, value);
            assert!(text.contains(words), "{text}");
            assert!(!text.contains("short"), "{text}");
        }
    }
}
