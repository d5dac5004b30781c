//! The ids of jobs. Owns that an id names one job forever.
//!
//! Invariant: an id has the number of the event whose turn made the job, and a count within that turn. Numbers are never
//! given twice, so ids are not, either. It does not know what a job does.

use crate::id::SequenceNumber;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The id of a job. Shown as `epoch-seq-index`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct JobId {
    /// The number of the event whose turn made the job.
    pub number: SequenceNumber,
    /// Its place among the jobs of that event, from 0.
    pub index: u32,
}

impl JobId {
    /// The length of a key.
    const KEY_BYTES: usize = 20;

    /// Returns the id of the first job of an event with this number.
    pub fn first_of(number: SequenceNumber) -> Self {
        Self { number, index: 0 }
    }

    /// Returns the id of the event's next job.
    #[must_use]
    pub fn next(self) -> Self {
        Self { index: self.index.saturating_add(1), ..self }
    }

    /// Returns the key under which the job is stored. Keys are in the order of the ids.
    pub fn key(self) -> Vec<u8> {
        let SequenceNumber { epoch, seq } = self.number;
        [&epoch.to_be_bytes()[..], &seq.to_be_bytes(), &self.index.to_be_bytes()].concat()
    }

    /// Returns the id with this key; `None` for bytes that are not a key of a job.
    pub fn of_key(key: &[u8]) -> Option<Self> {
        if key.len() != Self::KEY_BYTES {
            return None;
        }
        let (epoch, rest) = key.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (index, _) = rest.split_first_chunk()?;
        let number =
            SequenceNumber { epoch: u64::from_be_bytes(*epoch), seq: u64::from_be_bytes(*seq) };
        Some(Self { number, index: u32::from_be_bytes(*index) })
    }

    /// Returns the id that is shown as this text; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (epoch, seq, index) = (parts.next()?, parts.next()?, parts.next()?);
        let number = SequenceNumber { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? };
        let id = Self { number, index: index.parse().ok()? };
        // Only one text stands for an id: no sign, no leading zero, nothing behind.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_are_read_back_from_keys_and_texts_in_their_order(
            one in any::<(u64, u64, u32)>(),
            other in any::<(u64, u64, u32)>(),
        ) {
            let id = |(epoch, seq, index)| JobId { number: SequenceNumber { epoch, seq }, index };
            let (one, other) = (id(one), id(other));
            prop_assert_eq!(JobId::of_key(&one.key()), Some(one));
            prop_assert_eq!(JobId::parse(&one.to_string()), Some(one));
            prop_assert_eq!(one.cmp(&other), one.key().cmp(&other.key()));
        }
    }

    #[test]
    fn other_texts_and_keys_are_not_ids() {
        for text in ["", "1", "1-2", "1-2-3-4", "+1-2-3", "01-2-3", "1-2-", "a-b-c", "1-2-3 "] {
            assert_eq!(JobId::parse(text), None, "{text:?}");
        }
        assert_eq!(JobId::of_key(&[0; 19]).or(JobId::of_key(&[0; 21])), None);
    }
}
