//! What a room under test has sent, as far as the test wants it remembered.
//!
//! Owns the entries. Invariant: as many as the test asks for, the newest. It does not know who reads them.

use std::collections::VecDeque;

use crate::error::HistoryError;
use crate::history::{Sent, SentMessages};
use crate::host::SentOptions;
use crate::message::Message;
use crate::time::Timestamp;

/// The epoch of all ids: what a crash takes away is behind the floor then.
const EPOCH: &str = "1-";

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// None for a party without history.
    pub(super) keep: Option<usize>,
    /// True if the messages outlive a crash.
    pub(super) is_durable: bool,
    sent: VecDeque<(u64, Sent)>,
    made: u64,
}

impl Memory {
    pub(super) fn note(&mut self, at_ms: u64, tag: Option<String>, message: Message) {
        let Some(keep) = self.keep else { return };
        self.made += 1;
        let (id, at) = (format!("{EPOCH}{}", self.made), Timestamp::from_millis(at_ms));
        self.sent.push_back((self.made, Sent { id, at, tag, message }));
        while self.sent.len() > keep {
            self.sent.pop_front();
        }
    }

    /// Forgets what a crash takes away.
    pub(super) fn lose(&mut self) {
        if !self.is_durable {
            self.sent.clear();
        }
    }

    pub(super) fn read(&self, options: &SentOptions) -> Result<SentMessages, HistoryError> {
        if self.keep.is_none() {
            return Err(HistoryError::NotKept);
        }
        let id = |id: &Option<String>| id.as_deref().map(number).transpose();
        let (before, after) = (id(&options.before)?, id(&options.after)?);
        let floor = self.sent.front().map_or(self.made, |(first, _)| first - 1);
        if after.is_some_and(|after| after < floor || after > self.made) {
            return Err(HistoryError::Forgotten);
        }
        let asked = self.sent.iter().filter(|(number, _)| {
            before.is_none_or(|before| *number < before)
                && after.is_none_or(|after| *number > after)
        });
        let asked: Vec<_> = asked.map(|(_, sent)| sent.clone()).collect();
        let limit = options.limit.map_or(usize::MAX, |limit| limit as usize);
        let skipped = asked.len().saturating_sub(limit);
        Ok(SentMessages { messages: asked[skipped..].to_vec(), more: skipped > 0 })
    }
}

fn number(id: &str) -> Result<u64, HistoryError> {
    let invalid = || {
        let why = "an id is two numbers with a dash between, such as 7-42";
        HistoryError::Invalid(why.to_owned())
    };
    id.strip_prefix(EPOCH).and_then(|number| number.parse().ok()).ok_or_else(invalid)
}
