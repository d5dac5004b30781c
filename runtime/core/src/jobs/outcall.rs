//! What a room asks of other servers and other rooms. Owns the stored forms of a request, of its answer, and of the
//! receipt by which the room that was asked knows a repetition.
//!
//! Invariant: a request is stored from the commit of its turn until its answer had a turn, so a crash repeats it and
//! never loses it. A call that was carried out has a receipt until its caller has the answer, so a repetition is answered
//! and not carried out again. It does not know who sends anything.

use super::{JobId, JobTally};
use crate::encoding;
use crate::exchange::{Request, Response};
use crate::fetch::{FetchFailure, FetchRequest};
use crate::limits::fixed::OUTCALL_RETRY_MS_MAX;
use crate::limits::{Limits, size};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A room of the same project, by its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomAddress {
    /// The party's name.
    pub party: String,
    /// The room's name, not percent-encoded.
    pub room: String,
}

/// A request of a room to another server or another room, until its answer had a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcall {
    /// The guest's name for it.
    pub tag: String,
    /// What is asked, and whom.
    pub target: OutcallTarget,
    /// When the room has to be awake to start it, in milliseconds since 1970.
    pub due_ms: u64,
    /// The number of attempts that failed.
    pub tries: u32,
    /// When the room gives it up, in milliseconds since 1970.
    pub deadline_ms: u64,
}

/// What a room asks, and whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutcallTarget {
    /// A request to another server.
    Fetch {
        /// The request.
        request: FetchRequest,
        /// How often a transient failure is tried again.
        retries: u32,
        /// Whether the body comes in chunks.
        delivery: ResponseDelivery,
    },
    /// A call of another room's `on_call`.
    Call {
        /// The other room.
        to: RoomAddress,
        /// What it gets.
        #[serde(with = "encoding::bytes")]
        data: Bytes,
    },
    /// A request to another room's `on_request`.
    Request {
        /// The other room.
        to: RoomAddress,
        /// The request.
        request: Request,
    },
}

/// How the body of a response reaches the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseDelivery {
    /// Whole, with the response.
    #[default]
    Whole,
    /// In chunks, each with a turn of its own, before the response.
    Chunks,
}

/// The answer to a request of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutcallAnswer {
    /// Of another server, or of another room's `on_request`.
    Response(Response),
    /// There is no such response.
    NoResponse(OutcallFailure),
    /// What another room's `on_call` returned.
    Returned(#[serde(with = "encoding::bytes")] Bytes),
    /// Another room returned nothing.
    NotReturned(OutcallFailure),
}

/// The reason why a request of a room has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct OutcallFailure {
    /// What it is, for programs: in kebab-case, and the same in all versions.
    pub code: String,
    /// What it is, as a sentence for the room's author.
    pub message: String,
}

/// An answer whose turn failed, until it is delivered or dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndeliveredAnswer {
    /// The guest's name for the request.
    pub tag: String,
    /// The answer.
    pub answer: OutcallAnswer,
    /// When it is delivered, in milliseconds since 1970.
    pub due_ms: u64,
    /// The number of turns that failed.
    pub tries: u32,
}

/// The name of one call between rooms: no other call of the project ever has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId {
    /// The calling room.
    pub from: RoomAddress,
    /// The caller's job.
    pub job: JobId,
}

impl CallId {
    /// Returns the name of a publication that has this key. It is the name of no call between rooms, because no party has
    /// an empty name.
    pub fn of_publication(key: &str) -> Self {
        let from = RoomAddress { party: String::new(), room: key.to_owned() };
        Self { from, job: JobId::default() }
    }
}

/// What a room keeps of a call that it carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallReceipt {
    /// The call.
    pub call: CallId,
    /// The answer, for repetitions.
    pub answer: OutcallAnswer,
    /// From when no caller repeats it, in milliseconds since 1970.
    pub until_ms: u64,
}

/// What an operator sees of a request that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcallSummary {
    /// Its id.
    pub id: JobId,
    /// The guest's name for it.
    pub tag: String,
    /// Where it goes, without the query of a URL.
    pub target: String,
    /// The number of attempts that failed.
    pub tries: u32,
}

/// The pause before the first retry of a request to another server, in milliseconds.
const FETCH_RETRY_MS: u64 = 1_000;

impl Outcall {
    /// Returns what an operator sees.
    pub fn summary(&self, id: JobId) -> OutcallSummary {
        let (tag, target) = (self.tag.clone(), self.target.shown());
        OutcallSummary { id, tag, target, tries: self.tries }
    }

    /// Returns the request for its next attempt; `None` if it is given up. `counts` says whether the number of retries
    /// bounds the attempts, and not the deadline alone.
    pub fn retried(&self, counts: bool, now_ms: u64, limits: &Limits) -> Option<Self> {
        let (first_ms, retries) = match &self.target {
            OutcallTarget::Fetch { retries, .. } => (FETCH_RETRY_MS, *retries),
            OutcallTarget::Call { .. } | OutcallTarget::Request { .. } => {
                (limits.call_retry_ms_min, 0)
            }
        };
        if counts && self.tries >= retries {
            return None;
        }
        let pause_ms = first_ms.saturating_mul(1 << self.tries.min(20)).min(OUTCALL_RETRY_MS_MAX);
        let due_ms = now_ms.saturating_add(pause_ms);
        let tries = self.tries.saturating_add(1);
        (due_ms < self.deadline_ms).then(|| Self { due_ms, tries, ..self.clone() })
    }

    /// Returns what it counts against the limits, in bytes.
    pub fn bytes(&self) -> usize {
        self.tag.len() + self.target.bytes()
    }
}

impl OutcallTarget {
    fn bytes(&self) -> usize {
        match self {
            Self::Fetch { request, .. } => request.request.size(),
            Self::Call { to, data } => to.bytes() + data.len(),
            Self::Request { to, request } => to.bytes() + request.size(),
        }
    }

    /// Returns the other room, if it goes to one.
    pub fn room(&self) -> Option<&RoomAddress> {
        match self {
            Self::Fetch { .. } => None,
            Self::Call { to, .. } | Self::Request { to, .. } => Some(to),
        }
    }

    /// Returns where it goes, for operators: without the query of a URL, which may hold secrets.
    pub fn shown(&self) -> String {
        match self {
            Self::Fetch { request, .. } => {
                let uri = &request.request.uri;
                let end = uri.find(['?', '#']).unwrap_or(uri.len());
                format!("{} {}", request.request.method, &uri[..end])
            }
            Self::Call { to, .. } => format!("call {}/{}", to.party, to.room),
            Self::Request { to, request } => {
                format!("{} {}/{}", request.method, to.party, to.room)
            }
        }
    }

    /// Returns the answer that carries this failure.
    pub fn failed(&self, failure: OutcallFailure) -> OutcallAnswer {
        match self {
            Self::Fetch { .. } | Self::Request { .. } => OutcallAnswer::NoResponse(failure),
            Self::Call { .. } => OutcallAnswer::NotReturned(failure),
        }
    }
}

impl RoomAddress {
    fn bytes(&self) -> usize {
        self.party.len() + self.room.len()
    }
}

impl OutcallAnswer {
    /// Returns its size, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Response(response) => {
                let headers = response.headers.iter();
                let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
                headers + response.body.len()
            }
            Self::Returned(data) => data.len(),
            Self::NoResponse(failure) | Self::NotReturned(failure) => {
                failure.code.len() + failure.message.len()
            }
        }
    }
}

impl OutcallFailure {
    /// Makes the failure with this code and sentence.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

impl From<FetchFailure> for OutcallFailure {
    fn from(failure: FetchFailure) -> Self {
        Self::new(failure.code(), failure.to_string())
    }
}

impl UndeliveredAnswer {
    /// Returns what it counts against the limits, in bytes.
    pub fn bytes(&self) -> usize {
        self.tag.len() + self.answer.bytes()
    }
}

impl CallReceipt {
    /// Checks that a room with these receipts may keep it, too.
    ///
    /// # Errors
    /// The name of the limit.
    pub fn fits(&self, others: JobTally, limits: &Limits) -> Result<(), &'static str> {
        if others.count >= size(limits.receipts_max) {
            return Err("receipts_max");
        }
        if others.bytes + self.bytes() > size(limits.receipts_bytes_max) {
            return Err("receipts_bytes_max");
        }
        Ok(())
    }

    /// Returns what it counts against the limits, in bytes.
    pub fn bytes(&self) -> usize {
        self.call.from.bytes() + self.answer.bytes()
    }
}
