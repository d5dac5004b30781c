//! Responses that stay open, as guests reach them. Owns the translation between `sdk/wit/streams.wit` and a turn.
//!
//! Invariant: a call changes the turn or is refused with a reason. It does not know clients.

use crate::bindings::room::runtime::{streams, types};
use crate::host::{Call, HostState, limit, narrow};
use room_core::event::{BodyDelivery, BodyFault, BodyPiece, StreamEnd};
use room_core::limits::Limits;
use room_core::turn::{Refusal, ResponseFinish, ResponseRest, Turn};
use streams::StreamError;
use wasmtime::component::{ComponentType, Lower};

/// A piece of a request's body on its way into the guest.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(super) enum Piece {
    #[component(name = "more")]
    More(Vec<u8>),
    #[component(name = "last")]
    Last(Vec<u8>),
    #[component(name = "failed")]
    Failed(Fault),
}

/// Why the rest of a body does not come.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum Fault {
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "stalled")]
    Stalled,
    #[component(name = "aborted")]
    Aborted,
}

/// Why an open response ended.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum End {
    #[component(name = "left")]
    Left,
    #[component(name = "slow")]
    Slow,
    #[component(name = "idle")]
    Idle,
    #[component(name = "late")]
    Late,
    #[component(name = "failed")]
    Failed,
}

impl Piece {
    /// Makes the contract's form of a piece.
    pub(super) fn of(piece: &BodyPiece) -> Self {
        match piece {
            BodyPiece::More(bytes) => Self::More(bytes.to_vec()),
            BodyPiece::Last(bytes) => Self::Last(bytes.to_vec()),
            BodyPiece::Failed(BodyFault::TooLarge) => Self::Failed(Fault::TooLarge),
            BodyPiece::Failed(BodyFault::Stalled) => Self::Failed(Fault::Stalled),
            BodyPiece::Failed(BodyFault::Aborted) => Self::Failed(Fault::Aborted),
        }
    }
}

impl From<StreamEnd> for End {
    fn from(end: StreamEnd) -> Self {
        match end {
            StreamEnd::Left => Self::Left,
            StreamEnd::Slow => Self::Slow,
            StreamEnd::Idle => Self::Idle,
            StreamEnd::Late => Self::Late,
            StreamEnd::Failed => Self::Failed,
        }
    }
}

impl HostState {
    /// Carries out a call about a response, and returns its result or the turn's refusal.
    fn responding<T>(
        &mut self,
        call: impl FnOnce(&mut Turn) -> Result<T, Refusal>,
    ) -> Call<T, StreamError> {
        let outcome = call(self.turn()?);
        Ok(outcome.map_err(|refusal| stream_error(refusal, self.budget.limits())))
    }
}

impl streams::Host for HostState {
    fn request(&mut self) -> wasmtime::Result<Option<streams::Incoming>> {
        let own = self.turn()?.own_request();
        Ok(own.map(|own| streams::Incoming {
            id: own.id.to_string(),
            body_follows: own.body == BodyDelivery::Pieces,
        }))
    }

    fn defer(&mut self) -> Call<String, StreamError> {
        self.responding(|turn| turn.defer().map(|id| id.to_string()))
    }

    fn respond(&mut self, id: String, response: types::Response) -> Call<(), StreamError> {
        self.responding(|turn| turn.respond(&id, response.into(), ResponseRest::Nothing))
    }

    fn begin(&mut self, id: String, head: types::Response) -> Call<(), StreamError> {
        self.responding(|turn| turn.respond(&id, head.into(), ResponseRest::Writes))
    }

    fn write(&mut self, id: String, piece: Vec<u8>) -> Call<(), StreamError> {
        self.responding(|turn| turn.write_response(&id, piece.into()))
    }

    fn end(&mut self, id: String) -> Call<(), StreamError> {
        self.responding(|turn| turn.end_response(&id, ResponseFinish::Complete))
    }

    fn abort(&mut self, id: String) -> Call<(), StreamError> {
        self.responding(|turn| turn.end_response(&id, ResponseFinish::BrokenOff))
    }

    fn open(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.turn()?.open_responses().iter().map(ToString::to_string).collect())
    }
}

fn stream_error(refusal: Refusal, limits: &Limits) -> StreamError {
    match refusal {
        Refusal::TooLarge(max) => StreamError::TooLarge(narrow(max)),
        Refusal::UsedUp(name) => StreamError::TooMany(limit(name, limits)),
        Refusal::Invalid(why) => StreamError::Invalid(why),
        // The others do not occur in calls about responses.
        _ => StreamError::NotFound,
    }
}
