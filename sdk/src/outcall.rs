//! What a room asks of other servers and of other rooms, and the answers.
//!
//! Owns the builders that [`Context`] hands out, and what the callbacks get. Invariant: a request is made once, when its
//! builder is dropped or asked for its id, and a failure that no caller could see fails the turn. It does not know who
//! sends anything.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::host::{Current, FetchOptions, Host as _, OutcallRecord, OutcallTarget, RoomAddress};
use crate::http::{Request, Response};

/// What happens when another server answers with a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// The request goes where it leads, if the manifest lists that host.
    #[default]
    Follow,
    /// The redirect is the response.
    Manual,
    /// The request fails.
    Error,
}

/// A request that is being made: completed by its methods, made when it is dropped.
///
/// A failure to make a dropped one (the request is invalid, the room waits for too many answers) fails the turn, as if
/// the callback had returned it. [`id`](Self::id) returns it instead.
#[derive(Debug)]
pub struct Fetch<'a>(Asking<'a>);

/// A call of another room that is being made, or a request to it: as [`Fetch`].
#[derive(Debug)]
pub struct RoomCall<'a>(Asking<'a>);

/// Another room of the project; see [`Context::room`].
#[derive(Debug)]
pub struct RoomStub<'a> {
    ctx: &'a Context,
    to: RoomAddress,
}

#[derive(Debug)]
struct Asking<'a> {
    ctx: &'a Context,
    record: Option<Result<OutcallRecord>>,
}

impl Asking<'_> {
    fn id(mut self) -> Result<String> {
        match self.record.take() {
            Some(record) => Ok(Current::ask(record?)?),
            None => Ok(String::new()),
        }
    }

    fn record(&mut self) -> Option<&mut OutcallRecord> {
        self.record.as_mut()?.as_mut().ok()
    }

    fn tag(&mut self, tag: &str) {
        if let Some(record) = self.record() {
            tag.clone_into(&mut record.tag);
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let asked = record.and_then(|record| Ok(Current::ask(record)?));
        if let Err(failure) = asked {
            self.ctx.fail(failure.context("cannot make the request"));
        }
    }
}

impl Fetch<'_> {
    fn options(&mut self) -> Option<&mut FetchOptions> {
        match &mut self.0.record()?.target {
            OutcallTarget::Fetch { options, .. } => Some(options),
            OutcallTarget::Call { .. } | OutcallTarget::Request { .. } => None,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut FetchOptions)) -> Self {
        if let Some(options) = self.options() {
            change(options);
        }
        self
    }

    /// A name for the request, by which [`Room::on_response`](crate::Room::on_response) knows it.
    pub fn tag(mut self, tag: &str) -> Self {
        self.0.tag(tag);
        self
    }

    /// How long the whole response may take. Without one: `fetch_ms_max` of `room.toml [limits]`, 30 s.
    pub fn timeout(self, time: Duration) -> Self {
        let timeout_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.with(|options| options.timeout_ms = Some(timeout_ms))
    }

    /// What happens to redirects; they are followed by default.
    pub fn redirects(self, redirects: Redirects) -> Self {
        self.with(|options| options.redirects = redirects)
    }

    /// How often it is tried again if it fails for a reason that may pass (no connection, no answer in time, status 429
    /// or 5xx): after 1 s, 2 s, 4 s, … The answer comes when that is over. Not at all by default, nor for
    /// [`best_effort`](Self::best_effort).
    pub fn retries(self, times: u32) -> Self {
        self.with(|options| options.retries = times)
    }

    /// Delivers the body in chunks as it comes, each to [`Room::on_chunk`](crate::Room::on_chunk) in a turn of its own:
    /// for tokens of a language model. `on_response` gets the status and the headers at the end.
    pub fn in_chunks(self) -> Self {
        self.with(|options| options.chunks = true)
    }

    /// Keeps the request nowhere: it costs no write, and a crash or a restart of the server loses it or its answer.
    pub fn best_effort(self) -> Self {
        self.with(|options| options.best_effort = true)
    }

    /// Makes it now, and returns its id, for [`Context::cancel_request`].
    ///
    /// # Errors
    /// [`OutcallError`](crate::OutcallError). Nothing is asked then.
    pub fn id(self) -> Result<String> {
        self.0.id()
    }
}

impl RoomCall<'_> {
    /// A name for the call, by which the callback for its answer knows it.
    pub fn tag(mut self, tag: &str) -> Self {
        self.0.tag(tag);
        self
    }

    /// Makes it now, and returns its id, for [`Context::cancel_request`].
    ///
    /// # Errors
    /// [`OutcallError`](crate::OutcallError), or the data cannot be written as JSON. Nothing is asked then.
    pub fn id(self) -> Result<String> {
        self.0.id()
    }
}

impl<'a> RoomStub<'a> {
    /// Calls the other room's [`on_call`](crate::Room::on_call) with this data when the turn is durable. It is carried
    /// out exactly once, whatever crashes. What it returns comes to [`Room::on_answer`](crate::Room::on_answer).
    ///
    /// Calls of one room to another arrive in the order in which they were made, unless the other one was busy.
    pub fn call<T: Serialize + ?Sized>(&self, data: &T) -> RoomCall<'a> {
        let data = serde_json::to_vec(data).map_err(Error::new);
        self.ask(data.map(|data| OutcallTarget::Call { to: self.to.clone(), data }))
    }

    /// Calls as [`call`](Self::call) does, with these bytes.
    pub fn call_bytes(&self, data: impl Into<Vec<u8>>) -> RoomCall<'a> {
        self.ask(Ok(OutcallTarget::Call { to: self.to.clone(), data: data.into() }))
    }

    /// Sends a request to the other room's [`on_request`](crate::Room::on_request) when the turn is durable, exactly
    /// once, past the hooks at the door. A bare path is taken as one below the room's URL. The response comes to
    /// [`Room::on_response`](crate::Room::on_response).
    pub fn fetch(&self, mut request: Request) -> RoomCall<'a> {
        if request.uri.starts_with('/') {
            let rest = if request.uri == "/" { "" } else { &request.uri };
            let RoomAddress { party, room } = &self.to;
            request.uri = format!("http://room/parties/{party}/{}{rest}", crate::uri::encode(room));
        }
        self.ask(Ok(OutcallTarget::Request { to: self.to.clone(), request }))
    }

    fn ask(&self, target: Result<OutcallTarget>) -> RoomCall<'a> {
        let record = target.map(|target| OutcallRecord { tag: String::new(), target });
        RoomCall(Asking { ctx: self.ctx, record: Some(record) })
    }
}

impl Context {
    /// Sends a request to another server when the turn is durable, and never if the turn fails. The answer comes to
    /// [`Room::on_response`](crate::Room::on_response), in a turn of its own; nothing waits for it.
    ///
    /// The request is kept until its answer had its turn: a crash or a restart sends it again, with the same
    /// `idempotency-key` header. The host must be listed in `room.toml` under `[fetch] hosts`.
    ///
    /// ```
    /// # use room_sdk::prelude::*;
    /// # fn example(ctx: &Context) -> Result {
    /// ctx.fetch(Request::get("https://api.example.com/weather")).tag("weather");
    /// ctx.fetch(Request::post("https://hooks.example.com/").with_body("{}")).retries(5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fetch(&self, request: Request) -> Fetch<'_> {
        let target = OutcallTarget::Fetch { request, options: FetchOptions::default() };
        let record = OutcallRecord { tag: String::new(), target };
        Fetch(Asking { ctx: self, record: Some(Ok(record)) })
    }

    /// Another room of the project, by its party and its name, to be called. It starts if it does not run.
    ///
    /// ```
    /// # use room_sdk::prelude::*;
    /// # fn example(ctx: &Context) -> Result {
    /// ctx.room("lobby", "index").call(&("joined", ctx.name()));
    /// ctx.room("main", "archive").fetch(Request::get("/latest")).tag("latest");
    /// # Ok(())
    /// # }
    /// ```
    pub fn room(&self, party: &str, name: &str) -> RoomStub<'_> {
        let to = RoomAddress { party: party.to_owned(), room: name.to_owned() };
        RoomStub { ctx: self, to }
    }

    /// The names of a party's rooms that store something: shorter names first, and names of one length in byte order. What
    /// rooms wrote a moment ago may be missing.
    ///
    /// ```
    /// # use room_sdk::prelude::*;
    /// # fn example(ctx: &Context) -> Result {
    /// for name in ctx.rooms("chat") {
    ///     ctx.room("chat", &name?).call(&"close for today");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn rooms(&self, party: &str) -> RoomNames<'_> {
        let names = Vec::new().into_iter();
        RoomNames { _ctx: self, party: party.to_owned(), names, last: None, more: true }
    }

    /// Gives up a request or a call: its answer gets no turn. It may have been sent already. False if no request with
    /// this id waits for an answer.
    pub fn cancel_request(&self, id: impl AsRef<str>) -> bool {
        Current::cancel_outcall(id.as_ref())
    }

    /// The requests and calls that wait for an answer, as this turn leaves them so far, the oldest first.
    pub fn pending_requests(&self) -> Vec<PendingRequest> {
        Current::outcalls()
    }
}

/// The names of a party's rooms; see [`Context::rooms`]. It reads them in pages, as they are asked for.
#[derive(Debug)]
pub struct RoomNames<'a> {
    _ctx: &'a Context,
    party: String,
    names: std::vec::IntoIter<String>,
    last: Option<String>,
    more: bool,
}

impl RoomNames<'_> {
    /// Only names behind this one: to go on where another turn stopped.
    pub fn after(mut self, name: impl Into<String>) -> Self {
        self.last = Some(name.into());
        self
    }
}

impl Iterator for RoomNames<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        if self.names.len() == 0 && self.more {
            match Current::rooms(&self.party, self.last.as_deref()) {
                Ok((names, more)) => (self.names, self.more) = (names.into_iter(), more),
                Err(error) => {
                    self.more = false;
                    return Some(Err(error.into()));
                }
            }
        }
        let name = self.names.next()?;
        self.last = Some(name.clone());
        Some(Ok(name))
    }
}

/// A request or call that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRequest {
    /// Its id.
    pub id: String,
    /// Its tag.
    pub tag: String,
    /// Where it goes: method and URL without the query, or `call` and the other room.
    pub target: String,
    /// How many attempts have failed.
    pub tries: u32,
}

/// Why a request or a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcallFailure {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl OutcallFailure {
    /// A failure, for tests.
    pub fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned() }
    }

    /// What it is, for programs: `host-not-allowed`, `unreachable`, `timed-out`, `too-large`, … of a server, and
    /// `refused`, `failed`, `no-on-call`, `unknown-party`, `expired`, … of a room.
    pub fn code(&self) -> &str {
        &self.code
    }
}

impl fmt::Display for OutcallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for OutcallFailure {}

/// The answer to a request: what [`Room::on_response`](crate::Room::on_response) gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub(crate) id: String,
    pub(crate) tag: String,
    pub(crate) answer: Result<Response, OutcallFailure>,
}

impl Fetched {
    /// The request's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The request's tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The response, whatever its status; or why there is none.
    ///
    /// # Errors
    /// [`OutcallFailure`].
    pub fn response(&self) -> Result<&Response, OutcallFailure> {
        self.answer.as_ref().map_err(Clone::clone)
    }
}

/// A part of a response: what [`Room::on_chunk`](crate::Room::on_chunk) gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub(crate) id: String,
    pub(crate) tag: String,
    pub(crate) status: u16,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Chunk {
    /// The request's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The request's tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The response's status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The position of its first byte in the body. It is 0 again if the request was repeated, so that a room can start
    /// afresh.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes. A character of several bytes may be cut in two.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A call of another room: what [`Room::on_call`](crate::Room::on_call) gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub(crate) id: String,
    pub(crate) from: RoomAddress,
    pub(crate) data: Vec<u8>,
}

impl Call {
    /// The call's id. No other call of the same room has it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The party of the room that calls.
    pub fn party(&self) -> &str {
        &self.from.party
    }

    /// The name of the room that calls.
    pub fn room(&self) -> &str {
        &self.from.room
    }

    /// The data of the call.
    ///
    /// # Errors
    /// It is not that of a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        let read = serde_json::from_slice(&self.data);
        read.map_err(|error| {
            let RoomAddress { party, room } = &self.from;
            Error::new(error).context(format!("the data of the call of {party}/{room}"))
        })
    }

    /// The data as bytes: JSON, if it was passed to [`RoomStub::call`].
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }
}

/// What a call of another room returns to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply(pub(crate) Vec<u8>);

impl Reply {
    /// A value, which the other room reads with [`Answer::value`].
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        Ok(Self(serde_json::to_vec(value)?))
    }

    /// Bytes.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Nothing but that the call was carried out: JSON's `null`.
    pub fn done() -> Self {
        Self(b"null".to_vec())
    }
}

/// The answer to a call: what [`Room::on_answer`](crate::Room::on_answer) gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub(crate) id: String,
    pub(crate) tag: String,
    pub(crate) answer: Result<Vec<u8>, OutcallFailure>,
}

impl Answer {
    /// The call's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The call's tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// What the other room returned.
    ///
    /// # Errors
    /// An [`OutcallFailure`], or the answer is not that of a `T`.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T> {
        let read = serde_json::from_slice(self.bytes()?);
        read.map_err(|error| {
            Error::new(error).context(format!("the answer to the call {:?}", self.tag))
        })
    }

    /// What the other room returned, as bytes.
    ///
    /// # Errors
    /// [`OutcallFailure`].
    pub fn bytes(&self) -> Result<&[u8], OutcallFailure> {
        self.answer.as_deref().map_err(Clone::clone)
    }
}
