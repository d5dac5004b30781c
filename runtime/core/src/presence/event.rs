//! What clients learn of presence, as JSON. Owns the keys.
//!
//! Invariant: an event has at least one key, and is one line. A client that has applied a sync and each diff after it has
//! what the room has. It does not know how an event reaches a client.

use super::PresenceEntry;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// The present users of a room, as clients know them.
type Entries = BTreeMap<Arc<str>, PresenceEntry>;

/// What changed between two states of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceDiff {
    joined: Entries,
    updated: Entries,
    left: Vec<Arc<str>>,
}

impl PresenceDiff {
    /// Carries out changes of entries, and returns what that changed.
    pub fn apply(
        entries: &mut Entries,
        changes: impl IntoIterator<Item = (Arc<str>, Option<PresenceEntry>)>,
    ) -> Self {
        let mut diff = Self::default();
        for (name, change) in changes {
            match change {
                Some(entry) => match entries.insert(name.clone(), entry.clone()) {
                    Some(before) if before == entry => {}
                    Some(_) => drop(diff.updated.insert(name, entry)),
                    None => drop(diff.joined.insert(name, entry)),
                },
                None if entries.remove(&name).is_some() => diff.left.push(name),
                None => {}
            }
        }
        diff
    }

    /// Returns true if nothing changed.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.updated.is_empty() && self.left.is_empty()
    }

    /// Returns the event for clients that know the state before it.
    pub fn json(&self) -> String {
        let mut json = String::from("{");
        for (key, entries) in [("joined", &self.joined), ("updated", &self.updated)] {
            if !entries.is_empty() {
                write_key(&mut json, key);
                write_entries(&mut json, entries);
            }
        }
        if !self.left.is_empty() {
            write_key(&mut json, "left");
            write_texts(&mut json, self.left.iter());
        }
        json + "}"
    }
}

/// Returns the event that replaces all that a client knows.
pub fn sync_of(entries: &Entries) -> String {
    list_of("sync", entries)
}

/// Returns the answer to a client that asks who is there.
pub fn users_of(entries: &Entries) -> String {
    list_of("users", entries)
}

fn list_of(key: &str, entries: &Entries) -> String {
    let mut json = String::from("{");
    write_key(&mut json, key);
    write_entries(&mut json, entries);
    json + "}"
}

fn write_key(json: &mut String, key: &str) {
    if json.len() > 1 {
        json.push(',');
    }
    let _infallible = write!(json, "\"{key}\":");
}

fn write_entries(json: &mut String, entries: &Entries) {
    json.push('[');
    for (at, (name, PresenceEntry { shown, connections })) in entries.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        let (name, data) = (text_of(name), &shown.data);
        let _infallible =
            write!(json, r#"{{"user":{name},"data":{data},"connections":{connections}"#);
        if !shown.flags.is_empty() {
            json.push_str(",\"flags\":");
            write_texts(json, shown.flags.iter());
        }
        json.push('}');
    }
    json.push(']');
}

fn write_texts<'a>(json: &mut String, texts: impl Iterator<Item = &'a Arc<str>>) {
    json.push('[');
    for (at, text) in texts.enumerate() {
        if at > 0 {
            json.push(',');
        }
        json.push_str(&text_of(text));
    }
    json.push(']');
}

fn text_of(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}
