//! Requests of a guest to other servers and rooms, and its callbacks about them. Owns the translation between the contract
//! and the values of `room_core`.
//!
//! Invariant: a request is checked before it is a part of the turn. It does not know who sends it.

use crate::bindings::outcalling::room::runtime::{outcalls, types};
use crate::exports::{CallResult, Callback, call_optional};
use crate::host::{Call, HostState};
use crate::module::OutcallExports;
use bytes::Bytes;
use room_core::event::{Request, Response, ResponseChunk};
use room_core::fetch::{FetchRequest, Redirects};
use room_core::jobs::{
    CallId, JobId, Outcall, OutcallAnswer, OutcallFailure, OutcallTarget, ResponseDelivery,
    RoomAddress,
};
use room_core::limits::Limits;
use room_core::turn::{OutcallPlan, Refusal};
use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker, TypedFunc};

type OnResponse = Callback<(String, String, Result<types::Response, outcalls::Failure>)>;
type OnAnswer = Callback<(String, String, Result<Vec<u8>, outcalls::Failure>)>;
type OnCall = TypedFunc<(outcalls::RoomAddress, String, Vec<u8>), (Result<Vec<u8>, String>,)>;
type OnChunk = Callback<(outcalls::Chunk,)>;

/// The callbacks of one guest about requests to other servers and rooms.
pub(super) struct OutcallCallbacks(
    pub(super) OutcallExports<OnResponse, OnAnswer, OnCall, OnChunk>,
);

impl OutcallCallbacks {
    /// Delivers the answer to a request of the guest.
    pub(super) async fn answer(
        &self,
        store: &mut Store<HostState>,
        (id, tag): (JobId, &str),
        answer: &OutcallAnswer,
    ) -> CallResult<()> {
        let (id, tag) = (id.to_string(), tag.to_owned());
        match answer.clone() {
            OutcallAnswer::Response(response) => {
                let params = (id, tag, Ok(response.into()));
                call_optional(self.0.on_response, store, params).await
            }
            OutcallAnswer::NoResponse(failure) => {
                call_optional(self.0.on_response, store, (id, tag, Err(failure.into()))).await
            }
            OutcallAnswer::Returned(data) => {
                call_optional(self.0.on_answer, store, (id, tag, Ok(data.into()))).await
            }
            OutcallAnswer::NotReturned(failure) => {
                call_optional(self.0.on_answer, store, (id, tag, Err(failure.into()))).await
            }
        }
    }

    /// Delivers a part of a response's body.
    pub(super) async fn chunk(
        &self,
        store: &mut Store<HostState>,
        chunk: &ResponseChunk,
    ) -> CallResult<()> {
        let ResponseChunk { id, tag, status, offset, bytes } = chunk;
        let (id, tag, bytes) = (id.to_string(), tag.clone(), bytes.to_vec());
        let chunk = outcalls::Chunk { id, tag, status: *status, offset: *offset, bytes };
        call_optional(self.0.on_chunk, store, (chunk,)).await
    }

    /// Delivers a call of another room, and returns what the guest returned.
    pub(super) async fn call(
        &self,
        store: &mut Store<HostState>,
        call: &CallId,
        data: &Bytes,
    ) -> CallResult<Bytes> {
        let Some(on_call) = self.0.on_call else {
            return Ok(Err("the module has no on-call".to_owned()));
        };
        let CallId { from: RoomAddress { party, room }, job } = call.clone();
        let caller = outcalls::RoomAddress { party, room };
        let params = (caller, job.to_string(), data.to_vec());
        let (returned,) = on_call.call_async(&mut *store, params).await?;
        let max = store.data().limits().call_data_bytes_max;
        Ok(returned.and_then(|data| match data.len() as u64 > max {
            true => Err(format!(
                "on_call returned {} bytes, call_data_bytes_max allows {max}",
                data.len()
            )),
            false => Ok(data.into()),
        }))
    }
}

/// Adds the imports to a linker. The types of the contract are there already.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    outcalls::add_to_linker::<_, HasSelf<_>>(linker, |host: &mut HostState| host)
}

impl outcalls::Host for HostState {
    fn fetch(
        &mut self,
        request: types::Request,
        options: outcalls::FetchOptions,
    ) -> Call<String, outcalls::OutcallError> {
        let outcalls::FetchOptions { tag, timeout_ms, redirects, retries, chunks, best_effort } =
            options;
        let redirects = match redirects {
            outcalls::Redirects::Follow => Redirects::Follow,
            outcalls::Redirects::Manual => Redirects::Manual,
            outcalls::Redirects::Error => Redirects::Error,
        };
        let request = FetchRequest { request: request.into(), timeout_ms, redirects };
        if let Err(failure) = request.check(self.limits()) {
            return Ok(Err(outcalls::OutcallError::Invalid(failure.to_string())));
        }
        let delivery = if chunks { ResponseDelivery::Chunks } else { ResponseDelivery::Whole };
        let target = OutcallTarget::Fetch { request, retries, delivery };
        self.ask(tag, target, best_effort)
    }

    fn call(
        &mut self,
        to: outcalls::RoomAddress,
        tag: String,
        data: Vec<u8>,
    ) -> Call<String, outcalls::OutcallError> {
        let target = OutcallTarget::Call { to: to.into(), data: data.into() };
        self.ask(tag, target, false)
    }

    fn fetch_room(
        &mut self,
        to: outcalls::RoomAddress,
        tag: String,
        request: types::Request,
    ) -> Call<String, outcalls::OutcallError> {
        let target = OutcallTarget::Request { to: to.into(), request: request.into() };
        self.ask(tag, target, false)
    }

    fn rooms(
        &mut self,
        party: String,
        after: Option<String>,
        limit: u32,
    ) -> Call<outcalls::RoomsPage, outcalls::OutcallError> {
        let max = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = self.turn()?.rooms(&party, after.as_deref(), max);
        let page = page.map(|(names, more)| outcalls::RoomsPage { names, more });
        Ok(page.map_err(|refusal| outcall_error(refusal, self.limits())))
    }

    fn pending(&mut self) -> wasmtime::Result<Vec<outcalls::PendingOutcall>> {
        let pending = |(id, outcall): (JobId, Outcall)| outcalls::PendingOutcall {
            id: id.to_string(),
            target: outcall.target.shown(),
            tag: outcall.tag,
            tries: outcall.tries,
        };
        Ok(self.turn()?.outcalls().into_iter().map(pending).collect())
    }

    fn cancel(&mut self, id: String) -> wasmtime::Result<bool> {
        Ok(self.turn()?.cancel_outcall(&id))
    }
}

impl HostState {
    fn ask(
        &mut self,
        tag: String,
        target: OutcallTarget,
        best_effort: bool,
    ) -> Call<String, outcalls::OutcallError> {
        let now_ms = self.now_ms();
        let plan = OutcallPlan { tag, target, now_ms, best_effort };
        let asked = self.turn()?.ask(plan);
        let limits = self.limits();
        Ok(asked.map(|id| id.to_string()).map_err(|refusal| outcall_error(refusal, limits)))
    }
}

fn outcall_error(refusal: Refusal, limits: &Limits) -> outcalls::OutcallError {
    match refusal {
        Refusal::Invalid(why) => outcalls::OutcallError::Invalid(why),
        Refusal::Unavailable => {
            outcalls::OutcallError::Invalid("the store could not read".to_owned())
        }
        // The others do not occur in requests.
        refusal => {
            let name = if let Refusal::UsedUp(name) = refusal { name } else { "outcalls_max" };
            let max = limits.value_of(name).unwrap_or_default();
            outcalls::OutcallError::BeyondLimit(types::Limit { name: name.to_owned(), max })
        }
    }
}

impl From<types::Request> for Request {
    fn from(request: types::Request) -> Self {
        let types::Request { method, uri, headers, body } = request;
        Self { method, uri, headers, body: body.into() }
    }
}

impl From<Response> for types::Response {
    fn from(response: Response) -> Self {
        let Response { status, headers, body } = response;
        Self { status, headers, body: body.into() }
    }
}

impl From<OutcallFailure> for outcalls::Failure {
    fn from(failure: OutcallFailure) -> Self {
        let OutcallFailure { code, message } = failure;
        Self { code, message }
    }
}

impl From<outcalls::RoomAddress> for RoomAddress {
    fn from(to: outcalls::RoomAddress) -> Self {
        Self { party: to.party, room: to.room }
    }
}
