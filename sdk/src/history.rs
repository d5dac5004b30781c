//! What the room has sent, as far as its party remembers it.
//!
//! Owns [`ReadHistory`] and what it returns. Invariant: reading changes nothing. It does not know who remembers.

use crate::Result;
use crate::context::Context;
use crate::error::HistoryError;
use crate::host::{Current, Host as _, SentOptions};
use crate::message::Message;
use crate::time::Timestamp;

/// A message that the room has sent to all, or to the connections with a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Its id, for [`ReadHistory::before`] and [`ReadHistory::after`].
    pub id: String,
    /// When it was sent.
    pub at: Timestamp,
    /// The tag that it was sent to; `None` if it was sent to all.
    pub tag: Option<String>,
    /// The message.
    pub message: Message,
}

/// Messages in the order in which they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentMessages {
    /// The messages.
    pub messages: Vec<Sent>,
    /// True if there are older ones: read them [`before`](ReadHistory::before) the first of these.
    pub more: bool,
}

/// A question about what the room has sent, made by [`Context::history`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is read before `read`"]
pub struct ReadHistory(SentOptions);

impl ReadHistory {
    /// At most this many messages, the newest ones.
    pub fn limit(mut self, messages: u32) -> Self {
        self.0.limit = Some(messages);
        self
    }

    /// Only messages before the one with this id.
    pub fn before(mut self, id: impl Into<String>) -> Self {
        self.0.before = Some(id.into());
        self
    }

    /// Only messages after the one with this id.
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.0.after = Some(id.into());
        self
    }

    /// Reads the messages.
    ///
    /// # Errors
    /// [`HistoryError`]: the party has no `history`, messages after [`after`](Self::after) are forgotten, or an id is
    /// invalid.
    pub fn read(self) -> Result<SentMessages, HistoryError> {
        Current::history(&self.0)
    }
}

impl Context {
    /// Reads what earlier turns have sent to all, or to the connections with a tag: `ctx.history().limit(50).read()?`.
    ///
    /// The party has to ask for it in room.toml: `history = { keep = 100, for = "24h" }`. A room remembers in memory, and
    /// has forgotten when it has left memory; with `durable = true` it forgets nothing by that. What the running turn sends
    /// is not there yet.
    pub fn history(&self) -> ReadHistory {
        ReadHistory::default()
    }
}
