//! What a room wants done after its turns: timers, and requests that wait for an answer. Owns when a room has to be awake for them.
//!
//! Invariant: a change of jobs is committed with the turn that made it, and no id is given twice. This module does not
//! know who carries jobs out.

mod id;
mod outcall;
mod table;
mod tally;
mod timer;

pub use id::JobId;
pub use outcall::{
    CallId, CallReceipt, Outcall, OutcallAnswer, OutcallFailure, OutcallSummary, OutcallTarget,
    ResponseDelivery, RoomAddress, UndeliveredAnswer,
};
pub use table::{JobTable, JobsSummary};
pub use tally::{JobTallies, JobTally};
pub use timer::{Job, JobAccount, JobDamage, JobKind, Timer};

use crate::encoding;
use crate::span::Overlay;
use serde::{Deserialize, Serialize};

/// A change of a room's jobs: the timers and effects that it waits for. The store keeps their bytes, and does not
/// know what they mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsChange {
    /// The jobs that are set, or removed.
    #[serde(with = "encoding::overlay")]
    pub entries: Overlay,
    /// When the room has to be awake for its jobs, from now on; `None` leaves that unchanged.
    pub wake: Option<Wake>,
}

/// When a room has to be awake for its jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wake {
    /// It has no jobs.
    #[default]
    NoJobs,
    /// It has jobs, and none of them is due by itself.
    Idle,
    /// At this time, in milliseconds since 1970.
    At(u64),
}

impl Wake {
    /// Returns the time, if there is one.
    pub fn due_ms(self) -> Option<u64> {
        match self {
            Self::At(due_ms) => Some(due_ms),
            Self::NoJobs | Self::Idle => None,
        }
    }

    /// Returns its mark and its time.
    pub fn parts(self) -> (u8, u64) {
        match self {
            Self::NoJobs => (0, 0),
            Self::Idle => (1, 0),
            Self::At(due_ms) => (2, due_ms),
        }
    }

    /// Returns what has these parts.
    pub fn of_parts(mark: u8, due_ms: u64) -> Option<Self> {
        match (mark, due_ms) {
            (0, 0) => Some(Self::NoJobs),
            (1, 0) => Some(Self::Idle),
            (2, due_ms) => Some(Self::At(due_ms)),
            _ => None,
        }
    }
}
