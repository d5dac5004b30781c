//! The ways out of a room: to other servers and to other rooms. Owns what a room asks of its node.
//!
//! Invariant: what is asked here is asked at most once by one call; repetitions are the room's own. It does not know
//! turns, nor how the node carries anything out.

use super::RoomError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use room_core::event::{CallPayload, Response};
use room_core::fetch::{FetchFailure, FetchRequest};
use room_core::id::RoomId;
use room_core::jobs::{CallId, OutcallAnswer, OutcallFailure, RoomAddress};
use tokio::sync::mpsc;

/// The node, as its rooms see it.
pub trait Outside: Send + Sync {
    /// Sends a request of a room to another server. `idempotency_key` distinguishes it from all other requests of the
    /// project's store. What the server receives also names the store.
    ///
    /// # Cancel safety
    /// If the future is dropped, the request may have been sent.
    fn fetch(
        &self,
        by: &RoomId,
        request: FetchRequest,
        idempotency_key: String,
        chunks: Option<mpsc::Sender<FetchedChunk>>,
    ) -> BoxFuture<'static, Result<Response, FetchFailure>>;

    /// Asks another room. Two calls of one room reach a third one in the order in which this was called; the returned
    /// future only waits for the answer.
    ///
    /// # Cancel safety
    /// If the future is dropped, the other room still carries the call out.
    fn call(&self, to: &RoomAddress, call: RoomCall) -> BoxFuture<'static, CallOutcome>;

    /// Tells another room that a call will not be repeated.
    fn forget(&self, to: &RoomAddress, call: CallId);
}

/// A part of a response's body.
#[derive(Debug)]
pub struct FetchedChunk {
    /// The response's status.
    pub status: u16,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A call of a room, on its way to another one.
#[derive(Clone, Debug)]
pub struct RoomCall {
    /// Its name.
    pub id: CallId,
    /// What is asked.
    pub payload: CallPayload,
    /// Until when the caller may repeat it, in milliseconds since 1970.
    pub until_ms: u64,
}

/// What became of one attempt of a call.
#[derive(Debug)]
pub enum CallOutcome {
    /// The other room carried it out.
    Answered(OutcallAnswer),
    /// The other room will never carry it out.
    Failed(OutcallFailure),
    /// It may be carried out if it is repeated, or may have been.
    NotNow(RoomError),
}
