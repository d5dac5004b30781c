//! What a turn may read of the messages of earlier turns. Owns the shape of the question and of its answer.
//!
//! Invariant: a turn reads and changes nothing. It does not know what a room remembers.

use super::Turn;
use crate::event::Message;
use crate::id::SequenceNumber;
use crate::limits::size;
use std::sync::Arc;

/// The messages that a guest asks for: of those between the two ids the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The largest number of messages; `None` for all.
    pub limit: Option<u32>,
    /// Only those before the message with this id.
    pub before: Option<SequenceNumber>,
    /// Only those after the message with this id.
    pub after: Option<SequenceNumber>,
}

/// A message that was sent to all connections, or to those with a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// Its id.
    pub number: SequenceNumber,
    /// When it was sent, in milliseconds since 1970.
    pub at_ms: u64,
    /// The tag that it was sent to.
    pub tag: Option<String>,
    /// The message.
    pub message: Message,
}

/// Messages in the order in which they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// The messages.
    pub messages: Vec<SentMessage>,
    /// True if there are older ones that the query asks for.
    pub more: bool,
}

/// The reason why nothing is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryRefusal {
    /// The party remembers nothing for this.
    NotKept,
    /// Messages after the id are forgotten, or it is no message's id.
    Forgotten,
}

/// What a room has sent.
pub trait History: Send + Sync {
    /// Returns the newest messages that a query asks for. Together they have at most `bytes_max` bytes, but for a single
    /// one.
    ///
    /// # Errors
    /// [`HistoryRefusal`].
    fn read(&self, query: &HistoryQuery, bytes_max: usize) -> Result<HistoryPage, HistoryRefusal>;
}

impl Turn {
    /// Gives the turn what earlier turns have sent; `None` if nobody remembers it.
    #[must_use]
    #[inline]
    pub fn with_history(mut self, history: Option<Arc<dyn History>>) -> Self {
        self.history = history;
        self
    }

    /// Reads what earlier turns have sent.
    ///
    /// # Errors
    /// [`HistoryRefusal`].
    pub fn history(&self, query: &HistoryQuery) -> Result<HistoryPage, HistoryRefusal> {
        let history = self.history.as_ref().ok_or(HistoryRefusal::NotKept)?;
        history.read(query, size(self.limits.list_page_bytes_max))
    }
}
