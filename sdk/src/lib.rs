//! Write stateful rooms.
//!
//! A room is a struct. The runtime keeps one live instance of it for each room name, hands it one
//! event at a time, and makes its writes durable before any output leaves.
//!
//! ```
//! use room_sdk::prelude::*;
//!
//! #[derive(Default)]
//! struct Echo;
//!
//! impl Room for Echo {
//!     fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
//!         conn.send(message.clone())?;
//!         ctx.broadcast(&format!("{} said something", conn.id())).except(conn);
//!         Ok(())
//!     }
//! }
//!
//! room_sdk::export!(Echo);
//!
//! // The same struct runs natively, so `cargo test` needs no server.
//! let room = room_sdk::test::TestRoom::<Echo>::new("lobby");
//! let alice = room.connect("alice");
//! alice.send_text("hi");
//! assert_eq!(alice.received(), [Message::text("hi")]);
//! ```
//!
//! # Turns
//! Each callback is one *turn*, all or nothing. Storage writes, the alarm, timers, connection state, messages
//! and closes take effect together when it returns `Ok`. If it returns `Err` or panics, none of them
//! does, and nothing was sent. What a turn sends leaves only after what it wrote is durable. A part of a
//! turn is undone alone if it ran in a [transaction](Context::transaction).
//!
//! Fields of the struct are a cache: they are lost when the room is evicted, reloaded or panics.
//! [`Room::on_start`] fills them from [storage](Context::storage). A turn that returned `Err` does not
//! undo changes to fields, so change them last.
//!
//! # Reading order
//! [`Room`], [`Context`], [`Connection`], [`Storage`], then [`mod@test`].
//!
//! This file owns the trait and the export. Invariant: the SDK holds no state of its own but copies.
//! It does not know the runtime: `host` is the seam.

#[cfg(all(target_family = "wasm", not(feature = "test-host")))]
#[doc(hidden)]
#[rustfmt::skip]
#[expect(unsafe_code, reason = "generated: crossing the component boundary is all it does")]
#[expect(
    unreachable_pub,
    clippy::allow_attributes,
    clippy::too_many_lines,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    reason = "generated: nobody wrote it, and wit/room.wit documents it"
)]
pub mod bindings;
mod connection;
mod context;
mod cron;
mod delivery;
mod error;
#[cfg(all(target_family = "wasm", not(feature = "test-host")))]
#[doc(hidden)]
pub mod guest;
mod history;
mod hook_fetch;
#[doc(hidden)]
pub mod host;
mod http;
mod identity;
mod instance;
mod list;
pub mod log;
mod message;
mod outcall;
mod presence;
mod project;
mod storage;
mod stream;
#[cfg(any(not(target_family = "wasm"), feature = "test-host"))]
pub mod test;
mod time;
mod timer;
mod transaction;
mod uri;

/// The guide, whose examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../IDENTITY.md")]
struct Guide;

/// The guide to transports, whose examples in Rust are tests.
#[cfg(doctest)]
#[doc = include_str!("../CONNECTING.md")]
struct ConnectingGuide;

/// The guide to who is in a room, whose example in Rust is a test.
#[cfg(doctest)]
#[doc = include_str!("../PRESENCE.md")]
struct PresenceGuide;

pub use anyhow::{anyhow, bail, ensure};

pub use connection::{Close, Connection, Transport};
pub use context::{Alarm, Broadcast, Context};
pub use cron::Cron;
pub use delivery::Delivery;
pub use error::{
    ConnectionError, Error, HistoryError, OutcallError, PresenceError, Result, StatusError,
    StorageError, StreamError, TimerError,
};
pub use history::{ReadHistory, Sent, SentMessages};
pub use hook_fetch::HookFetch;
pub use http::{Lobby, Request, Response, Verdict};
pub use identity::{Capabilities, Identity, Ticket};
pub use list::{Entries, List};
pub use message::{IntoMessage, Message};
pub use outcall::{
    Answer, Call, Chunk, Fetch, Fetched, OutcallFailure, PendingRequest, Redirects, Reply,
    RoomCall, RoomStub,
};
pub use presence::{Presence, PresentUser};
pub use project::{ProjectEnv, SocketVerdict};
pub use storage::{RawStorage, Storage};
pub use stream::{BodyFault, BodyPiece, ResponseStream, ServerEvent, StreamEnd};
pub use time::Timestamp;
pub use timer::{Schedule, Timer};

/// What a room's source needs: `use room_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Answer, BodyPiece, Call, Capabilities, Chunk, Close, Connection, Context, Cron, Delivery,
        Error, Fetched, IntoMessage, Lobby, Message, OutcallFailure, ProjectEnv, Reply, Request,
        Response, ResponseStream, Result, Room, ServerEvent, SocketVerdict, StatusError, StreamEnd,
        Ticket, Timer, Timestamp, Verdict, anyhow, bail, ensure, log,
    };
}

/// A room: what happens at each event. Every method has a default, so write those you need.
///
/// Nothing else runs while a callback runs. An `Err` drops the turn, is logged with the room's name,
/// and keeps the instance; a panic drops the instance too, and the next event meets a fresh one.
#[expect(unused_variables, reason = "the defaults ignore what they are given")]
pub trait Room: Default + 'static {
    /// The instance is new: first visit, wake, reload, or after a panic. Fill the fields from storage
    /// here. Nothing else is delivered before it returned `Ok`; on `Err` the events that wait fail,
    /// and the next one tries again with a fresh struct.
    ///
    /// Connections may be open already: they stay when the code is replaced.
    fn on_start(&mut self, ctx: &Context) -> Result {
        Ok(())
    }

    /// The tags of a connection that is about to open, at most 9 of 1 to 256 bytes: for
    /// [`Context::connections_with`] and [`Broadcast::tagged`].
    fn tags(&mut self, ctx: &Context, conn: &Connection, request: &Request) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// A client connects. What is sent here arrives before anything else. On `Err` the client sees
    /// its socket open and close with 1011.
    fn on_connect(&mut self, ctx: &Context, conn: &Connection, request: &Request) -> Result {
        Ok(())
    }

    /// A message came.
    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        Ok(())
    }

    /// A connection ended; called once for each that was opened. It is not among
    /// [`Context::connections`] any more, and cannot be sent to.
    fn on_close(&mut self, ctx: &Context, conn: &Connection, close: Close) -> Result {
        Ok(())
    }

    /// A connection failed: what it sent was no WebSocket, too large, or no UTF-8. `on_close`
    /// follows.
    fn on_error(&mut self, ctx: &Context, conn: &Connection, error: &str) -> Result {
        Ok(())
    }

    /// A plain HTTP request came for the room's URL or a path below it ([`Request::rest`]). On `Err` the
    /// client gets a 500 and no text, or the status and text of a [`StatusError`].
    ///
    /// A response that later turns write to is a [`Response::stream`], and one that a later turn gives as a whole is
    /// [`Response::later`].
    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        Ok(Response::text("not implemented").with_status(404))
    }

    /// A piece of the body of a request, in a party with `request_bodies = "pieces"` in `room.toml`. There
    /// [`on_request`](Self::on_request) gets each request without its body, and pieces follow as long as its response is
    /// open: return [`Response::later`] or [`Response::stream`] to receive them. `id` is that of the request, as
    /// [`Context::request_id`] has it there. The client sends the next piece when this turn has committed.
    ///
    /// On `Err` the client gets a 500, and no more pieces come.
    fn on_body(&mut self, ctx: &Context, id: &str, piece: BodyPiece) -> Result {
        Ok(())
    }

    /// A response that the room left open ended before the room completed it: the client left, say. Called once for
    /// each; what is written to it afterwards is refused.
    fn on_stream_close(&mut self, ctx: &Context, id: &str, end: StreamEnd) -> Result {
        Ok(())
    }

    /// The alarm is due; see [`Alarm`]. On `Err` it is retried after 2 s, 4 s, … six times;
    /// [`Alarm::tries`] counts them.
    fn on_alarm(&mut self, ctx: &Context) -> Result {
        Ok(())
    }

    /// A timer is due; see [`Context::schedule`]. With this turn it is gone, or it moves to its next time. On `Err` it
    /// is retried after 2 s, 4 s, … six times.
    fn on_timer(&mut self, ctx: &Context, timer: Timer) -> Result {
        Ok(())
    }

    /// A tick; see [`Context::tick`]. On `Err` the turn is dropped, and the ticks continue.
    fn on_tick(&mut self, ctx: &Context) -> Result {
        Ok(())
    }

    /// A request to another server ([`Context::fetch`]) or to another room's `on_request` ([`RoomStub::fetch`]) has its
    /// answer, or will have none. With this turn the request is gone. On `Err` the answer comes again after 2 s, 4 s, … six
    /// times; the request is not sent again.
    fn on_response(&mut self, ctx: &Context, fetched: Fetched) -> Result {
        Ok(())
    }

    /// A part of a response came; see [`Fetch::in_chunks`]. The next one is read when this turn is durable. On `Err` the
    /// request ends, and `on_response` gets a failure.
    fn on_chunk(&mut self, ctx: &Context, chunk: Chunk) -> Result {
        Ok(())
    }

    /// Another room of the project calls; see [`RoomStub::call`]. Each call is carried out once, whatever crashes. On
    /// `Err` the turn is dropped, and the other room gets a failure with code `refused` and the error's text. After a
    /// [flush](Context::flush) a crash leaves what was flushed, and the other room gets a failure with code `interrupted`.
    fn on_call(&mut self, ctx: &Context, call: Call) -> Result<Reply> {
        Err(anyhow!("the room takes no calls"))
    }

    /// A call of another room has its answer, or will have none. With this turn the call is gone. On `Err` the answer
    /// comes again after 2 s, 4 s, … six times; the other room is not called again.
    fn on_answer(&mut self, ctx: &Context, answer: Answer) -> Result {
        Ok(())
    }

    /// Another server publishes a message to the room, by HTTP and with a key of `[publish]` in `room.toml`. By default the
    /// room sends it to all its clients. The server is answered when the turn is durable; on `Err` it gets 500.
    fn on_publish(&mut self, ctx: &Context, message: Message) -> Result {
        ctx.broadcast(message).send()
    }

    /// A cron of the project is due, as `[crons]` of `room.toml` has it; see [`Cron`]. On `Err` the call is retried
    /// after 2 s, 4 s, … six times, and dropped then.
    fn on_cron(&mut self, ctx: &Context, cron: Cron) -> Result {
        bail!("the room has no on_cron for the cron {:?}", cron.name())
    }

    /// The room ends: nobody has used it for its party's `ttl` (in `room.toml`), and everything that it
    /// stores is deleted with this turn, what the turn writes included. Nobody is connected. A room that asks other
    /// servers or rooms for something here, or schedules a timer, fails its turn, as it is not there for the answer.
    ///
    /// A connection, a message, a request, a call of another room, and an alarm or a timer that is due are uses, and so is
    /// a request of the room's own that has no answer. An alarm or a timer that is set for later does not count, and is
    /// deleted with the room. On `Err` it is retried as an alarm is; after the last
    /// try the room is deleted all the same.
    fn on_expire(&mut self, ctx: &Context) -> Result {
        Ok(())
    }

    /// Decides about a WebSocket before it reaches a room: the place to check a token. There is no
    /// room here, so no storage and no connections. `Err` refuses with 4401 and the error's text.
    fn on_before_connect(request: Request, lobby: &Lobby) -> Result<Verdict> {
        Ok(Verdict::forward(request))
    }

    /// Answers a plain request whose URL names no room and no static file; `None` is 404, or the project's
    /// `404.html`. Only the party `main` is asked. There is no room here. `Err` is answered with 500.
    fn on_fetch(request: Request, project: &ProjectEnv) -> Result<Option<Response>> {
        Ok(None)
    }

    /// Decides about a WebSocket whose URL names no room: which room it goes to, if any. Only the party
    /// `main` is asked. There is no room here. `Err` closes the socket with 1011.
    fn on_socket(request: Request, project: &ProjectEnv) -> Result<SocketVerdict> {
        Ok(SocketVerdict::Unknown)
    }

    /// Decides about a plain request before it reaches a room. `Err` is answered with 401 and the
    /// error's text.
    fn on_before_request(request: Request, lobby: &Lobby) -> Result<Verdict> {
        Ok(Verdict::forward(request))
    }
}

/// Makes a type that implements [`Room`] the room of this crate: `room_sdk::export!(Chat);`.
///
/// Once a crate, at the top level. On targets other than wasm it does nothing.
#[macro_export]
macro_rules! export {
    ($room:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::guest::Component<$room>;
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
