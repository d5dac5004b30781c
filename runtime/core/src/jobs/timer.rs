//! A job, and the timer as its first kind. Owns the stored form of all kinds, and when a timer is due again.
//!
//! Invariant: a stored job is read back as it was, and bytes that are not a job are named as such. It does not know
//! whose job it is.

use super::outcall::{CallReceipt, Outcall, UndeliveredAnswer};
use crate::encoding;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a room waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// A time at which the guest is called.
    Timer(Timer),
    /// A request to another server or room.
    Outcall(Box<Outcall>),
    /// An answer to such a request, whose turn failed.
    Answer(Box<UndeliveredAnswer>),
    /// A call of another room that was carried out.
    Receipt(Box<CallReceipt>),
}

/// What is due when a job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// A turn.
    Delivery,
    /// An attempt of a request.
    Attempt,
    /// Its end.
    Expiry,
}

/// What bounds the number of a room's jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobAccount {
    /// The limits of timers.
    Timers,
    /// The limits of requests.
    Outcalls,
    /// The limits of receipts.
    Receipts,
}

/// A time at which the guest is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// The planned time, in milliseconds since 1970.
    pub at_ms: u64,
    /// When it is delivered: at the planned time, or at that of the next try.
    pub due_ms: u64,
    /// The time from one planned time to the next, if it repeats.
    pub every_ms: Option<u64>,
    /// The guest's name for it.
    pub tag: String,
    /// The guest's data.
    #[serde(with = "encoding::bytes")]
    pub data: Bytes,
    /// The number of failed tries at this planned time.
    pub tries: u32,
}

impl Timer {
    /// Returns what it counts against the limits, in bytes.
    pub fn bytes(&self) -> usize {
        self.tag.len() + self.data.len()
    }

    /// Returns the timer at its first planned time after now; `None` if it does not repeat. Planned times that have
    /// passed are skipped.
    pub fn again(&self, now_ms: u64) -> Option<Self> {
        let every_ms = self.every_ms?.max(1);
        let times = now_ms.saturating_sub(self.at_ms) / every_ms + 1;
        let at_ms = self.at_ms.saturating_add(times.saturating_mul(every_ms));
        Some(Self { at_ms, due_ms: at_ms, tries: 0, ..self.clone() })
    }

    /// Returns the timer after one more failure, due at this time.
    #[must_use]
    pub fn retried(&self, due_ms: u64, tries: u32) -> Self {
        Self { due_ms, tries, ..self.clone() }
    }
}

/// The reason why stored bytes are not a job, for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobDamage {
    /// A newer version of the server wrote it.
    #[error("it has format {0}, this version reads format {VERSION}")]
    Version(u8),
    /// It cannot be read.
    #[error("its bytes are damaged")]
    Damaged,
}

/// The version of the stored form: the first byte.
const VERSION: u8 = 1;

impl Job {
    /// Returns the stored form.
    pub fn encode(&self) -> Bytes {
        let start = vec![VERSION];
        let bytes = postcard::to_extend(self, start).expect("memory takes any bytes");
        bytes.into()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`JobDamage`] for other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, JobDamage> {
        match bytes.split_first() {
            Some((&VERSION, job)) => postcard::from_bytes(job).map_err(|_| JobDamage::Damaged),
            Some((other, _)) => Err(JobDamage::Version(*other)),
            None => Err(JobDamage::Damaged),
        }
    }

    /// Returns when the room has to be awake for it, in milliseconds since 1970.
    pub fn due_ms(&self) -> u64 {
        match self {
            Self::Timer(timer) => timer.due_ms,
            Self::Outcall(outcall) => outcall.due_ms,
            Self::Answer(answer) => answer.due_ms,
            Self::Receipt(receipt) => receipt.until_ms,
        }
    }

    /// Returns what is due then.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Timer(_) | Self::Answer(_) => JobKind::Delivery,
            Self::Outcall(_) => JobKind::Attempt,
            Self::Receipt(_) => JobKind::Expiry,
        }
    }

    /// Returns what bounds it.
    pub fn account(&self) -> JobAccount {
        match self {
            Self::Timer(_) => JobAccount::Timers,
            Self::Outcall(_) | Self::Answer(_) => JobAccount::Outcalls,
            Self::Receipt(_) => JobAccount::Receipts,
        }
    }

    /// Returns what it counts against the limits, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Timer(timer) => timer.bytes(),
            Self::Outcall(outcall) => outcall.bytes(),
            Self::Answer(answer) => answer.bytes(),
            Self::Receipt(receipt) => receipt.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(at_ms: u64, every_ms: Option<u64>) -> Timer {
        let data = Bytes::from_static(b"\0\xff");
        Timer { at_ms, due_ms: at_ms + 1, every_ms, tag: "tag".to_owned(), data, tries: 2 }
    }

    #[test]
    fn jobs_are_read_back_and_other_bytes_are_named() {
        let job = Job::Timer(timer(7, Some(9)));
        let bytes = job.encode();
        assert_eq!(Job::decode(&bytes), Ok(job));
        assert_eq!(Job::decode(&bytes[..bytes.len() - 1]), Err(JobDamage::Damaged));
        assert_eq!(Job::decode(b""), Err(JobDamage::Damaged));
        let error = Job::decode(&[9, 0]).unwrap_err().to_string();
        assert_eq!(error, "it has format 9, this version reads format 1");
    }

    #[test]
    fn missed_times_are_skipped() {
        assert_eq!(timer(100, None).again(500), None);
        let again = |now_ms| timer(100, Some(10)).again(now_ms).unwrap();
        for (now_ms, at_ms) in [(0, 110), (100, 110), (109, 110), (110, 120), (1_234, 1_240)] {
            let next = again(now_ms);
            assert_eq!((next.at_ms, next.due_ms, next.tries), (at_ms, at_ms, 0), "{now_ms}");
        }
        assert_eq!(timer(u64::MAX - 1, Some(u64::MAX)).again(0).unwrap().at_ms, u64::MAX);
    }
}
