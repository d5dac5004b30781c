//! What became of one attempt of a request, and how it is counted. Owns which outcomes are tried again.
//!
//! Invariant: a request is counted once, when it has the answer that its room gets. It does not know how a request is
//! sent.

use room_core::event::Response;
use room_core::fetch::FetchFailure;
use room_core::jobs::{OutcallAnswer, OutcallTarget};
use room_core::metrics::{CallEnd, FetchEnd, RoomMetrics};
use std::time::Duration;

/// What became of one attempt of a request.
#[derive(Debug)]
pub(super) enum OutcallOutcome {
    /// It has its answer, which may be a failure.
    Answered(OutcallAnswer),
    /// It may be tried again.
    NotNow {
        /// The answer, if it is not tried again.
        answer: OutcallAnswer,
        /// Whether the room's number of retries bounds the attempts, and not the deadline alone.
        counts: bool,
    },
}

impl OutcallOutcome {
    /// Returns what became of a request to another server.
    pub(super) fn of_fetch(fetched: Result<Response, FetchFailure>) -> Self {
        match fetched {
            Ok(response) if matches!(response.status, 429 | 500..=599) => {
                Self::NotNow { answer: OutcallAnswer::Response(response), counts: true }
            }
            Ok(response) => Self::Answered(OutcallAnswer::Response(response)),
            Err(failure) => {
                let (retried, counts) =
                    (failure.is_transient(), !matches!(failure, FetchFailure::Busy(_)));
                let answer = OutcallAnswer::NoResponse(failure.into());
                if retried { Self::NotNow { answer, counts } } else { Self::Answered(answer) }
            }
        }
    }
}

/// Counts the time of one attempt.
pub(super) fn count_attempt(metrics: &RoomMetrics, target: &OutcallTarget, took: Duration) {
    match target {
        OutcallTarget::Fetch { .. } => metrics.fetch_seconds.record(took),
        OutcallTarget::Call { .. } | OutcallTarget::Request { .. } => {
            metrics.call_seconds.record(took);
        }
    }
}

/// Counts a request that has its answer.
pub(super) fn count_answer(metrics: &RoomMetrics, target: &OutcallTarget, answer: &OutcallAnswer) {
    match target {
        OutcallTarget::Fetch { .. } => metrics.fetches.count(match answer {
            OutcallAnswer::Response(response) => FetchEnd::of_status(response.status),
            OutcallAnswer::Returned(_) => FetchEnd::Success,
            OutcallAnswer::NoResponse(failure) | OutcallAnswer::NotReturned(failure) => {
                FetchEnd::of_code(&failure.code)
            }
        }),
        OutcallTarget::Call { .. } | OutcallTarget::Request { .. } => {
            metrics.calls.count(match answer {
                OutcallAnswer::Response(response) => CallEnd::of_status(response.status),
                OutcallAnswer::Returned(_) => CallEnd::Success,
                OutcallAnswer::NoResponse(failure) | OutcallAnswer::NotReturned(failure) => {
                    CallEnd::of_code(&failure.code)
                }
            });
        }
    }
}
