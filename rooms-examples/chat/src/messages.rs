//! What the room and its page say to each other, as JSON.
//!
//! Owns the shapes. Invariant: each message has a `type`. It does not know when which is sent.

use room_sdk::Timestamp;
use serde::{Deserialize, Serialize};

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ToRoom {
    Name { name: String },
    Say { text: String },
}

/// What the room sends.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ToClient<'a> {
    Welcome { you: &'a str, greeting: &'a str, history: Vec<Said> },
    Greeting { text: &'a str },
    People { people: Vec<Person> },
    Said(&'a Said),
    Error { text: &'a str },
}

/// A message, as it is sent and as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) at: Timestamp,
}

/// A member of the room.
#[derive(Debug, Serialize)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) name: String,
}
