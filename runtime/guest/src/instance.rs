//! One live guest. Owns a wasmtime store and the calls into it.
//!
//! Invariant: a call returns its turn whole, or a fault and no turn. After a fault that does not
//! spare it, an instance is not called again. It does not know which room it serves or why.

use crate::answer::{HookAnswer, HookVerdict};
use crate::batch::BatchCall;
use crate::bindings::exports::room::runtime::door;
use crate::bindings::project::exports::room::runtime::fetch;
use crate::bindings::project::room::runtime::types as outside;
use crate::bindings::room::runtime::{timers, types};
use crate::budget::{Budget, GuestMemory};
use crate::exports::{CallResult, GuestExports, call_optional};
use crate::fault::{GuestFault, Overrun, cut};
use crate::flush::Flushes;
use crate::host::HostState;
use crate::log::GuestLog;
use crate::module::Code;
use crate::outside::{HookAllowance, HookFetches};
use crate::samples::SampleSource;
use crate::streams::{End, Piece};
use crate::wasi;
use room_core::connection::Connection;
use room_core::event::{
    AddedHeaders, CallPayload, CloseFrame, CloseHandshake, Ending, Event, GuestAnswer, Message,
    Request, Response,
};
use room_core::id::RoomId;
use room_core::identity::Identity;
use room_core::limits::{ms, size};
use room_core::turn::{Refusal, Turn};
use std::future::Future;
use std::pin::{Pin, pin};
use wasmtime::Store;

/// A guest of one room, or without a room for the hooks at the door.
pub struct Instance {
    store: Store<HostState>,
    exports: GuestExports,
    log: GuestLog,
}

/// A call of a hook at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorCall {
    /// `on_before_connect`, for a WebSocket.
    BeforeConnect,
    /// `on_before_request`, for any other request.
    BeforeRequest,
}

/// The decision about a WebSocket whose URL names no room.
#[derive(Debug)]
pub enum SocketVerdict {
    /// It goes to the room with this name, of the party with the first one.
    Enter(String, String),
    /// The client gets this response.
    Respond(Response),
    /// The client's WebSocket closes with this frame.
    Refuse(CloseFrame),
    /// The URL is not the project's.
    Unknown,
}

impl Instance {
    /// Makes a new instance for this room, whose time and randomness come from `samples`. Only the guest's
    /// initialisers have run.
    ///
    /// # Errors
    /// [`GuestFault`]: its initialisers failed, or no slot of the pool is free.
    pub async fn new(
        code: &Code,
        room: &RoomId,
        samples: Box<dyn SampleSource>,
    ) -> Result<Self, GuestFault> {
        let engine = &code.module.engine;
        let log = GuestLog::new(room.clone(), engine.limits(), engine.logs().clone());
        let wasi = wasi::context(samples, &log, &code.vars);
        let budget = Budget::new(engine.limits().clone());
        let attachment = code.module.compiled.attachment.clone();
        let mut host = HostState::new(budget, log.clone(), wasi, attachment, room);
        host.mint = code.mint.clone();
        let mut store = Store::new(engine.inner(), host);
        store.limiter(|host| &mut host.budget);
        store.epoch_deadline_callback(|mut ctx| {
            ctx.data_mut().budget.tick().map_err(wasmtime::Error::from)
        });
        store.set_epoch_deadline(1);
        store.data_mut().budget.start_turn();
        store.set_hostcall_fuel(size(engine.limits().memory_bytes_max));
        let wall_ms = engine.limits().turn_wall_ms_max;
        let entered =
            within(ms(wall_ms), pin!(GuestExports::enter(&code.module, &mut store))).await;
        match entered {
            Some(Ok(exports)) => Ok(Self { store, exports, log }),
            Some(Err(error)) => Err(GuestFault::of(&error, &store.data().budget)),
            None => Err(GuestFault::Overrun(Overrun::Wall { ms: wall_ms })),
        }
    }

    /// Adds this guest's memory to the count of the node's rooms, until the guest is gone.
    pub fn count_memory(&mut self, memory: &GuestMemory) {
        self.store.data_mut().budget.count_with(memory.clone());
    }

    /// Returns the bytes of its linear memory, which grows and never shrinks.
    pub fn memory_bytes(&self) -> u64 {
        self.store.data().budget.memory_bytes()
    }

    /// Returns the way on which the guest's calls to `room.flush` go from now on.
    pub fn flushes(&mut self) -> Flushes {
        self.store.data_mut().flushes.insert(Flushes::default()).clone()
    }

    /// Lets the guest, which is a hook's, fetch from other servers and wait.
    pub fn allow_fetches(&mut self, fetches: HookFetches) {
        let left = self.store.data().budget.limits().hook_fetches_max;
        self.store.data_mut().hook = Some(HookAllowance { fetches, left });
    }

    /// Tells the guest who sent the request that its next call is about.
    pub fn introduce(&mut self, identity: Option<Identity>) {
        self.store.data_mut().identity = identity;
    }

    /// Delivers one event, and returns the turn with the guest's effects.
    ///
    /// # Errors
    /// [`GuestFault`]: the turn is dropped. Unless the fault spares the instance, the caller must drop the
    /// instance, too.
    ///
    /// # Cancel safety
    /// If the future is dropped, its turn is dropped with it, and the caller must discard the instance.
    pub async fn call(
        &mut self,
        event: &Event,
        turn: Box<Turn>,
    ) -> Result<(GuestAnswer, Box<Turn>), GuestFault> {
        self.introduce(sender(event).cloned());
        self.store.data_mut().turn = Some(turn);
        self.store.data_mut().refusal = None;
        let answer = self.bounded(async |this| this.deliver(event).await).await;
        let turn = self.store.data_mut().turn.take();
        match (answer?, turn) {
            (answer @ GuestAnswer::Refused(_), Some(turn)) => Ok((answer, Box::new(turn.undone()))),
            (answer, Some(turn)) => Ok((answer, turn)),
            (_, None) => Err(GuestFault::Trapped {
                message: "the turn was lost in a flush".to_owned(),
                backtrace: String::new(),
            }),
        }
    }

    /// Returns true if the guest takes several messages in one call.
    pub fn takes_batches(&self) -> bool {
        self.exports.optional.run.is_some()
    }

    /// Begins a call for several messages; `None` if the guest takes each by itself.
    pub fn batch_call(&mut self) -> Option<BatchCall<'_>> {
        self.exports.optional.run.map(|run| BatchCall::new(&mut self.store, run, &self.log))
    }

    /// Asks a hook at the door.
    ///
    /// # Errors
    /// [`GuestFault`]; [`GuestFault::Rejected`] is the hook's own refusal.
    ///
    /// # Cancel safety
    /// As [`Instance::call`].
    pub async fn ask_door(
        &mut self,
        call: DoorCall,
        request: &Request,
        room: &RoomId,
    ) -> Result<HookAnswer, GuestFault> {
        self.store.data_mut().added = Some(AddedHeaders::default());
        let lobby = door::Lobby { party: room.party().as_str(), room: room.name() };
        self.bounded(async |this| {
            let headers = headers_param(request);
            let request = request_param(request, &headers);
            let door = this.exports.world.room_runtime_door();
            let verdict = match call {
                DoorCall::BeforeConnect => {
                    door.call_on_before_connect(&mut this.store, request, lobby).await
                }
                DoorCall::BeforeRequest => {
                    door.call_on_before_request(&mut this.store, request, lobby).await
                }
            };
            Ok(verdict?.map(HookVerdict::from))
        })
        .await
        .map(|verdict| HookAnswer {
            verdict,
            added: self.store.data_mut().added.take().unwrap_or_default(),
        })
    }

    /// Asks for the answer to a request whose URL names no room; `None` if the module has none.
    ///
    /// # Errors
    /// [`GuestFault`].
    ///
    /// # Cancel safety
    /// As [`Instance::call`].
    pub async fn fetch(&mut self, request: &Request) -> Result<Option<Response>, GuestFault> {
        self.bounded(async |this| {
            let Some(project) = &this.exports.project else { return Ok(Ok(None)) };
            let request = outside_param(request);
            let fetch = project.room_runtime_fetch();
            let answer = fetch.call_on_fetch(&mut this.store, &request).await?;
            Ok(answer.map(|response| response.map(response_of)))
        })
        .await
    }

    /// Asks what becomes of a WebSocket whose URL names no room.
    ///
    /// # Errors
    /// [`GuestFault`].
    ///
    /// # Cancel safety
    /// As [`Instance::call`].
    pub async fn socket(&mut self, request: &Request) -> Result<SocketVerdict, GuestFault> {
        self.bounded(async |this| {
            let Some(project) = &this.exports.project else {
                return Ok(Ok(SocketVerdict::Unknown));
            };
            let request = outside_param(request);
            let fetch = project.room_runtime_fetch();
            let verdict = fetch.call_on_socket(&mut this.store, &request).await?;
            Ok(verdict.map(SocketVerdict::from))
        })
        .await
    }

    /// Runs one call within its budget, and translates its failure into a fault.
    async fn bounded<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Self) -> CallResult<T>,
    ) -> Result<T, GuestFault> {
        let limits = self.store.data().budget.limits().clone();
        self.store.data_mut().budget.start_turn();
        self.store.set_epoch_deadline(1);
        self.log.start_turn();
        let result = within(ms(limits.turn_wall_ms_max), pin!(call(self))).await;
        self.log.end_turn();
        match result {
            None => Err(GuestFault::Overrun(Overrun::Wall { ms: limits.turn_wall_ms_max })),
            Some(Ok(Ok(answer))) => Ok(answer),
            Some(Ok(Err(text))) => {
                Err(GuestFault::Rejected(cut(text, size(limits.fault_text_bytes_max))))
            }
            Some(Err(error)) => Err(GuestFault::of(&error, &self.store.data().budget)),
        }
    }

    async fn deliver(&mut self, event: &Event) -> CallResult<GuestAnswer> {
        let events = self.exports.world.room_runtime_events();
        let store = &mut self.store;
        let done = match event {
            Event::Start => events.call_on_start(store).await,
            Event::Connect { connection, request } => {
                // Boxed, because every turn would otherwise reserve the space for it.
                return Box::pin(self.connect(connection, request)).await;
            }
            Event::Message { connection, message } => {
                events.call_on_message(store, connection.as_str(), message_param(message)).await
            }
            Event::Close { connection, ending } => {
                let Ending { frame, handshake } = ending;
                let clean = *handshake == CloseHandshake::Clean;
                let tags = tags_param(&connection.tags);
                let connection = connection_param(connection, &tags);
                events.call_on_close(store, connection, frame_param(frame), clean).await
            }
            Event::Error { connection, error } => {
                let tags = tags_param(&connection.tags);
                events.call_on_error(store, connection_param(connection, &tags), error).await
            }
            Event::Request(request, _)
            | Event::Call { payload: CallPayload::Request(request), .. } => {
                let headers = headers_param(request);
                let request = request_param(request, &headers);
                let response = events.call_on_request(&mut *store, request).await?;
                let host = store.data_mut();
                let deferred = host.turn.as_ref().is_some_and(|turn| turn.is_deferred());
                return Ok(match (response, host.refusal.take()) {
                    (Err(text), Some(refusal)) => refused(text, refusal),
                    (Ok(_), _) if deferred => Ok(GuestAnswer::Later),
                    (response, _) => response.map(|it| GuestAnswer::Response(it.into())),
                });
            }
            Event::Alarm => events.call_on_alarm(store).await,
            // Boxed, as above.
            Event::Body { id, piece } => {
                let params = (id.to_string(), Piece::of(piece));
                Box::pin(call_optional(self.exports.optional.on_body, store, params)).await
            }
            Event::StreamClose { id, end } => {
                let params = (id.to_string(), End::from(*end));
                Box::pin(call_optional(self.exports.optional.on_stream_close, store, params)).await
            }
            Event::Timer { id, timer, .. } => {
                let timer = timers::Timer::of((*id, timer.clone()));
                Box::pin(call_optional(self.exports.optional.on_timer, store, (timer,))).await
            }
            Event::Answer { id, tag, answer } => {
                let call = self.exports.outcalls.answer(store, (*id, tag), answer);
                Box::pin(call).await
            }
            Event::Chunk(chunk) => Box::pin(self.exports.outcalls.chunk(store, chunk)).await,
            Event::Call { call, payload: CallPayload::Data(data), .. } => {
                let returned = Box::pin(self.exports.outcalls.call(store, call, data)).await?;
                return Ok(returned.map(GuestAnswer::Returned));
            }
            Event::Cron { name, at_ms } => {
                let params = (name.clone(), *at_ms);
                Box::pin(call_optional(self.exports.optional.on_cron, store, params)).await
            }
            Event::Publish { message, .. } => Box::pin(self.publish(message)).await,
            Event::Tick => Box::pin(call_optional(self.exports.optional.on_tick, store, ())).await,
            Event::Expire => {
                Box::pin(call_optional(self.exports.optional.on_expire, store, ())).await
            }
        };
        Ok(done?.map(|()| GuestAnswer::Done))
    }

    async fn publish(&mut self, message: &Message) -> CallResult<()> {
        let params = (types::MessageResult::from(message),);
        call_optional(self.exports.optional.on_publish, &mut self.store, params).await
    }

    /// Asks the guest for the tags, sets them in the turn, and lets the connection in.
    async fn connect(
        &mut self,
        connection: &Connection,
        request: &Request,
    ) -> CallResult<GuestAnswer> {
        let headers = headers_param(request);
        let events = self.exports.world.room_runtime_events();
        let bare = connection_param(connection, &[]);
        let tags = match events
            .call_tags(&mut self.store, bare, request_param(request, &headers))
            .await?
        {
            Ok(tags) => tags,
            Err(text) => return Ok(Err(text)),
        };
        let borrowed = tags_param(&tags);
        if let Some(turn) = &mut self.store.data_mut().turn
            && let Err(refusal) = turn.set_tags(connection.serial, tags.clone())
        {
            return Ok(Err(tags_refused(&refusal)));
        }
        let state = self.store.data().turn.as_ref().map(|turn| turn.state_of(connection).clone());
        let connection = Connection { state: state.unwrap_or_default(), ..connection.clone() };
        let tagged = connection_param(&connection, &borrowed);
        let done = events
            .call_on_connect(&mut self.store, tagged, request_param(request, &headers))
            .await?;
        Ok(done.map(|()| GuestAnswer::Tags(tags)))
    }
}

/// Returns who sent the request that an event is about.
fn sender(event: &Event) -> Option<&Identity> {
    match event {
        Event::Connect { connection, .. } => connection.identity.as_ref(),
        Event::Request(_, identity) => identity.as_ref(),
        _ => None,
    }
}

/// Returns the answer of a callback that failed with a response for its client.
fn refused(text: String, refusal: Response) -> Result<GuestAnswer, String> {
    match refusal.status {
        400..=599 => Ok(GuestAnswer::Refused(refusal)),
        status => Err(format!("{text} (a request is refused with 400 to 599, not with {status})")),
    }
}

fn tags_refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Invalid(why) => why.clone(),
        _ => "`tags` returned more than connection_tags_max allows".to_owned(),
    }
}

/// Returns the call's result; `None` if it did not end in time. The call is polled at once, so that the
/// common call, which never waits, does not touch the timer. It is a reference, because its state would
/// otherwise be copied.
pub(crate) async fn within<T>(
    limit: std::time::Duration,
    mut call: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    if let std::task::Poll::Ready(result) = futures_util::poll!(call.as_mut()) {
        return Some(result);
    }
    tokio::time::timeout(limit, call).await.ok()
}

fn message_param(message: &Message) -> types::MessageParam<'_> {
    match message {
        Message::Text(text) => types::MessageParam::Text(text.as_str()),
        Message::Binary(bytes) => types::MessageParam::Binary(bytes),
    }
}

fn frame_param(frame: &CloseFrame) -> types::CloseFrameParam<'_> {
    types::CloseFrameParam { code: frame.code, reason: &frame.reason }
}

fn tags_param(tags: &[String]) -> Vec<&str> {
    tags.iter().map(String::as_str).collect()
}

fn connection_param<'a>(
    connection: &'a Connection,
    tags: &'a [&'a str],
) -> types::ConnectionParam<'a> {
    types::ConnectionParam {
        id: connection.id.as_str(),
        uri: &connection.uri,
        tags,
        state: &connection.state,
    }
}

fn headers_param(request: &Request) -> Vec<(&str, &[u8])> {
    request.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}

fn request_param<'a>(
    request: &'a Request,
    headers: &'a [(&'a str, &'a [u8])],
) -> types::RequestParam<'a> {
    types::RequestParam { method: &request.method, uri: &request.uri, headers, body: &request.body }
}

fn outside_param(request: &Request) -> outside::Request {
    let Request { method, uri, headers, body } = request.clone();
    outside::Request { method, uri, headers, body: body.into() }
}

fn response_of(response: outside::Response) -> Response {
    Response { status: response.status, headers: response.headers, body: response.body.into() }
}

impl From<types::Response> for Response {
    fn from(response: types::Response) -> Self {
        Self { status: response.status, headers: response.headers, body: response.body.into() }
    }
}

impl From<fetch::SocketVerdict> for SocketVerdict {
    fn from(verdict: fetch::SocketVerdict) -> Self {
        match verdict {
            fetch::SocketVerdict::Enter(to) => Self::Enter(to.party, to.room),
            fetch::SocketVerdict::Respond(response) => Self::Respond(response_of(response)),
            fetch::SocketVerdict::Refuse(frame) => {
                Self::Refuse(CloseFrame { code: frame.code, reason: frame.reason })
            }
            fetch::SocketVerdict::Unknown => Self::Unknown,
        }
    }
}
