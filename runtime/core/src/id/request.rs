//! The ids of requests. Owns that an id names one request of a room forever.
//!
//! Invariant: an id is the number of the request's event, and numbers are never given twice. It does not know how a
//! request is answered.

use super::SequenceNumber;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The id of a plain HTTP request to a room. Shown as `epoch-seq`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct RequestId(pub SequenceNumber);

impl RequestId {
    /// Returns the id that is shown as this text; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once('-')?;
        let id = Self(SequenceNumber { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? });
        // Only one text stands for an id: no sign, no leading zero, nothing behind.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_text_and_from_no_other() {
        let id = RequestId(SequenceNumber { epoch: 7, seq: u64::MAX });
        assert_eq!(RequestId::parse(&id.to_string()), Some(id));
        for text in ["", "1", "1-", "-1", "+1-2", "01-2", "1-2-3", "1-2 ", "a-b"] {
            assert_eq!(RequestId::parse(text), None, "{text:?}");
        }
    }
}
