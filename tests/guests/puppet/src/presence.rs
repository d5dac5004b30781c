//! Steps about who is in the room. Owns their words.
//!
//! Invariant: a step that is refused fails the turn. It does not know which event brought the script.

use crate::step::Say;
use room_sdk::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// A step about who is in the room.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PresenceStep {
    /// Shows a value of the user that asks.
    Set(Value),
    /// Shows a value of the user of another connection.
    SetOf(String, Value),
    /// Ends the presence of the user that asks.
    Clear,
    /// Gives the user that asks a flag for so many milliseconds.
    Flag(String, u64),
    /// Says the users with their data, connections and flags.
    Users,
    /// Says what the user with this name shows, `nobody` if it is not present.
    User(String),
}

impl PresenceStep {
    pub(crate) fn run(self, ctx: &Context, conn: Option<&Connection>, say: Say<'_>) -> Result {
        let own = || conn.ok_or_else(|| anyhow!("a request has no connection"));
        let presence = ctx.presence::<Value>();
        match self {
            Self::Set(data) => presence.set(own()?, &data),
            Self::SetOf(id, data) => {
                let other = ctx.connection(&id).ok_or_else(|| anyhow!("{id} is gone"))?;
                presence.set(&other, &data)
            }
            Self::Clear => presence.clear(own()?),
            Self::Flag(flag, ms) => presence.flag(own()?, &flag, Duration::from_millis(ms)),
            Self::Users => {
                let users = presence.users();
                let texts = users.iter().map(|own| {
                    let flags = own.flags.join("+");
                    format!("{} {} {} {flags}", own.user, own.data, own.connections)
                });
                say(texts.collect::<Vec<_>>().join(","))
            }
            Self::User(name) => {
                let found = presence.user(&name).map(|own| own.data.to_string());
                say(found.unwrap_or_else(|| "nobody".to_owned()))
            }
        }
    }
}
