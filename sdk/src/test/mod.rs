//! Tests of rooms without a server.
//!
//! Owns [`TestRoom`]: one room, run natively against a mock host that keeps the runtime's promises,
//! so that plain `cargo test` works in a room's crate. Invariant: no threads and no clock of its own;
//! when a call returns, everything that follows from it has happened. It does not know files, sockets
//! or WebAssembly. `println!` goes where a test's output goes; [`log`](crate::log) to
//! [`TestRoom::logs`].
//!
//! ```
//! use std::time::Duration;
//! use room_sdk::prelude::*;
//! use room_sdk::test::TestRoom;
//!
//! #[derive(Default)]
//! struct Bell;
//!
//! impl Room for Bell {
//!     fn on_message(&mut self, ctx: &Context, _: &Connection, message: Message) -> Result {
//!         ctx.alarm().set_in(Duration::from_secs(message.json()?));
//!         Ok(())
//!     }
//!
//!     fn on_alarm(&mut self, ctx: &Context) -> Result {
//!         ctx.broadcast(&"ding");
//!         Ok(())
//!     }
//! }
//!
//! let room = TestRoom::<Bell>::new("lobby");
//! let alice = room.connect("alice");
//! alice.send(&60);
//! room.advance(Duration::from_secs(59));
//! assert!(alice.received().is_empty());
//! room.advance(Duration::from_secs(1));
//! assert_eq!(alice.received_json::<String>(), ["ding"]);
//!
//! // A turn that fails leaves no trace but its error.
//! alice.send_text("not a number");
//! assert_eq!(room.alarm(), None);
//! assert!(room.take_errors()[0].contains("not the expected JSON"));
//! ```

mod answers;
mod client;
mod connections;
mod crash;
mod due;
mod fetches;
mod history;
mod identity;
mod limits;
mod mock;
mod outcalls;
mod outside;
mod presence;
mod project;
mod replacements;
mod response;
mod runner;
mod streams;
mod timers;
mod turn;
mod world;

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use client::{Connect, TestClient};
#[doc(hidden)]
pub use identity::identity_of;
#[doc(hidden)]
pub use mock::Mock;
pub use outcalls::{PendingCall, PendingFetch};
pub use project::TestProject;
pub use response::TestResponse;
pub use world::LogLine;

use crate::connection::Transport;
use crate::cron::Cron;
use crate::http::{Request, Response};
use crate::message::IntoMessage;
use crate::outcall::{Chunk, OutcallFailure};
use crate::project::SocketVerdict;
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::{Room, uri};
use outcalls::GivenAnswer;
use runner::Runner;
use world::{Keys, World};

/// The clock of a test starts here unless told otherwise: 2025-01-01T00:00:00Z.
const START_MS: u64 = 1_735_689_600_000;

/// A room before it runs: its name, party, variables, clock and storage.
#[must_use = "a room runs once it is built"]
#[derive(Debug)]
pub struct Builder<R> {
    world: World,
    room: PhantomData<fn() -> R>,
}

impl<R: Room> Builder<R> {
    /// The party, `main` by default.
    pub fn party(mut self, party: &str) -> Self {
        party.clone_into(&mut self.world.party);
        self
    }

    /// A variable, as in `[vars]` of `room.toml`.
    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.world.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A room of the project that [`Context::rooms`](crate::Context::rooms) lists.
    pub fn other_room(mut self, party: &str, name: &str) -> Self {
        self.world.others.insert((party.to_owned(), name.to_owned()));
        self
    }

    /// What time it is at first.
    pub fn clock(mut self, now: impl Into<Timestamp>) -> Self {
        self.world.now_ms = now.into().as_millis();
        self
    }

    /// A key that the storage holds already.
    #[track_caller]
    pub fn stored<T: Serialize + ?Sized>(mut self, key: impl AsRef<[u8]>, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(value) => self.world.store(key.as_ref().to_vec(), Some(value)),
            Err(error) => panic!("the value cannot be written as JSON: {error}"),
        };
        self
    }

    /// As [`stored`](Self::stored), with the bytes of the value.
    pub fn stored_bytes(mut self, key: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) -> Self {
        drop(self.world.store(key.as_ref().to_vec(), Some(value.into())));
        self
    }

    /// How many bytes of keys and values the room may store, as `room_bytes_max` in `[limits]` of
    /// `room.toml`; 1 GiB by default, which takes a test long to fill.
    pub fn room_bytes_max(mut self, bytes: u64) -> Self {
        self.world.room_bytes_max = Some(bytes);
        self
    }

    /// How many of its messages the room remembers, as `history` of the party in `room.toml`: what
    /// [`Context::history`](crate::Context::history) reads. A [`crash`](TestRoom::crash) forgets them.
    pub fn history(mut self, messages: usize) -> Self {
        self.world.memory.keep = Some(messages);
        self
    }

    /// The room. It starts at its first event.
    pub fn build(self) -> TestRoom<R> {
        TestRoom { runner: Rc::new(RefCell::new(Runner::new(self.world))) }
    }
}

/// One room under test. The [module](self) shows one at work.
pub struct TestRoom<R> {
    runner: Rc<RefCell<Runner<R>>>,
}

impl<R: Room> TestRoom<R> {
    /// A room of the party `main` with this name and an empty storage.
    pub fn new(name: &str) -> Self {
        Self::builder(name).build()
    }

    /// A room that is not as [`new`](Self::new) has it: `TestRoom::<Chat>::builder("lobby")
    /// .var("GREETING", "hi").build()`.
    pub fn builder(name: &str) -> Builder<R> {
        let (party, name) = ("main".to_owned(), name.to_owned());
        let world = World { party, name, now_ms: START_MS, ..World::default() };
        Builder { world, room: PhantomData }
    }

    /// Connects a client with this id. A client that has the id already is replaced.
    pub fn connect(&self, id: &str) -> TestClient<R> {
        self.client(id).connect()
    }

    /// A client that connects with a query, headers or a path: finish with [`Connect::connect`].
    pub fn client(&self, id: &str) -> Connect<R> {
        Connect {
            runner: Rc::clone(&self.runner),
            id: id.to_owned(),
            path: String::new(),
            query: String::new(),
            request: Request::get(""),
            ticket: None,
            transport: Transport::default(),
        }
    }

    /// Sends an HTTP request. A bare path is taken as one below the room's URL. A turn that fails is
    /// answered with 500. Of a response that is still open, returns what has arrived so far; see
    /// [`begin`](Self::begin).
    ///
    /// # Panics
    /// If the room answers later.
    #[track_caller]
    pub fn request(&self, request: Request) -> Response {
        let response = self.begin(request);
        let head = response.head();
        let mut head = head.expect("the room answers later: send the request by TestRoom::begin");
        head.body = response.take();
        head
    }

    /// Sends an HTTP request as [`request`](Self::request) does, and returns the response as it grows.
    pub fn begin(&self, request: Request) -> TestResponse<R> {
        self.ask(request, false)
    }

    /// Sends an HTTP request whose body follows in pieces, as in a party with `request_bodies = "pieces"`: by
    /// [`TestResponse::send_piece`] and [`TestResponse::send_last`].
    pub fn upload(&self, request: Request) -> TestResponse<R> {
        self.ask(request.with_body(""), true)
    }

    fn ask(&self, mut request: Request, body_follows: bool) -> TestResponse<R> {
        let mut runner = self.runner.borrow_mut();
        if request.uri.starts_with('/') {
            let rest = request.uri.strip_prefix('/').filter(|rest| rest.is_empty());
            let rest = rest.unwrap_or(&request.uri);
            request.uri = format!("{}{rest}", room_url(&runner.world));
        }
        let number = runner.request(request, body_follows);
        drop(runner);
        TestResponse { runner: Rc::clone(&self.runner), number }
    }

    /// Asks [`Room::on_fetch`] with a request whose URL names no room. A fault is answered with 500.
    pub fn fetch(&self, request: Request) -> Option<Response> {
        self.runner.borrow_mut().fetch(request)
    }

    /// Asks [`Room::on_socket`] with the request of a WebSocket whose URL names no room; `None` if it
    /// failed, which is among the [errors](Self::take_errors).
    pub fn socket(&self, request: Request) -> Option<SocketVerdict> {
        self.runner.borrow_mut().socket(request)
    }

    /// Answers the requests of hooks to other servers from now on, in place of those servers. Without answers a hook's
    /// request fails as `unreachable`.
    ///
    /// ```
    /// use room_sdk::prelude::*;
    /// use room_sdk::test::TestRoom;
    ///
    /// #[derive(Default)]
    /// struct Members;
    ///
    /// impl Room for Members {
    ///     fn on_before_connect(request: Request, lobby: &Lobby) -> Result<Verdict> {
    ///         let answer = lobby.fetch(Request::get("https://members.example/me")).send()?;
    ///         ensure!(answer.status_code() == 200, "who are you?");
    ///         Ok(Verdict::forward(request))
    ///     }
    /// }
    ///
    /// let room = TestRoom::<Members>::new("lobby");
    /// room.answer_hooks(|request| {
    ///     assert_eq!(request.uri(), "https://members.example/me");
    ///     Ok(Response::status(403))
    /// });
    /// let alice = room.connect("alice");
    /// assert_eq!(alice.closed().map(|close| close.code), Some(4401));
    /// ```
    pub fn answer_hooks(
        &self,
        answer: impl FnMut(&Request) -> Result<Response, OutcallFailure> + 'static,
    ) {
        self.runner.borrow_mut().world.other_servers.answer(answer);
    }

    /// Moves the clock. Alarms and timers that come due on the way fire at their time; one that fails is tried
    /// again after 2 s, 4 s, … six times. Ticks come at theirs.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.runner.borrow_mut().advance(millis);
    }

    /// Calls [`Room::on_cron`] for a cron with this name and this planned time: `room.cron("prune", room.now())`. A
    /// callback that fails is among the [errors](Self::take_errors). A server calls it again; a test does so by itself.
    pub fn cron(&self, name: &str, at: impl Into<Timestamp>) {
        let cron = Cron::new(name.to_owned(), at.into().as_millis());
        self.runner.borrow_mut().cron(cron);
    }

    /// Publishes a message to the room, as another server does that has a key: see [`Room::on_publish`]. A callback that
    /// fails is among the [errors](Self::take_errors).
    ///
    /// # Panics
    /// If a value cannot be written as JSON.
    #[track_caller]
    pub fn publish(&self, message: impl IntoMessage) {
        match message.into_message() {
            Ok(message) => self.runner.borrow_mut().publish(message),
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Ends the room, as a server does when nobody has used it for its party's `ttl`: `on_expire`, and
    /// everything that is stored is gone. A callback that fails is retried after 2 s, 4 s, … six
    /// times, for which the clock moves; then the room is deleted all the same. The next event meets a
    /// room that restarts.
    ///
    /// # Panics
    /// While somebody is connected: a room with a connection is in use.
    #[track_caller]
    pub fn expire(&self) {
        let mut runner = self.runner.borrow_mut();
        let connected = runner.world.open(None).count();
        assert!(connected == 0, "a room that somebody is connected to does not expire");
        runner.expire();
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.runner.borrow().world.now_ms)
    }

    /// Replaces the instance at once, as a reload does: the struct is new and `on_start` runs, while
    /// sockets, connection state and storage stay. If `on_start` fails, which is among the
    /// [errors](Self::take_errors), the old instance stays, too.
    pub fn restart(&self) {
        let mut runner = self.runner.borrow_mut();
        runner.restart();
        runner.settle();
    }

    /// Drops the instance, as eviction and hibernation do: the next event starts another. Its ticks end.
    pub fn hibernate(&self) {
        self.runner.borrow_mut().drop_instance();
    }

    /// Returns the present content of the storage.
    pub fn storage(&self) -> Stored {
        Stored { keys: self.runner.borrow().world.storage.clone() }
    }

    /// When the alarm is due: as the room set it, or later once it failed.
    pub fn alarm(&self) -> Option<Timestamp> {
        let alarm = self.runner.borrow().world.alarm;
        alarm.map(|alarm| Timestamp::from_millis(alarm.due_ms))
    }

    /// The pending timers, the earliest first.
    pub fn timers(&self) -> Vec<Timer> {
        let timers = self.runner.borrow().world.timers_in_order();
        timers.into_iter().map(Timer::from_data).collect()
    }

    /// The requests to other servers that wait for an answer, the oldest first. [`respond`](Self::respond) answers one.
    pub fn fetches(&self) -> Vec<PendingFetch> {
        self.runner.borrow().world.pending_fetches()
    }

    /// Answers a request to another server; a second answer does nothing.
    ///
    /// ```
    /// # use room_sdk::prelude::*;
    /// # use room_sdk::test::TestRoom;
    /// #[derive(Default)]
    /// struct Weather;
    ///
    /// impl Room for Weather {
    ///     fn on_connect(&mut self, ctx: &Context, _: &Connection, _: &Request) -> Result {
    ///         ctx.fetch(Request::get("https://api.example.com/weather"));
    ///         Ok(())
    ///     }
    ///
    ///     fn on_response(&mut self, ctx: &Context, fetched: Fetched) -> Result {
    ///         ctx.broadcast(&fetched.response()?.body_text());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let room = TestRoom::<Weather>::new("london");
    /// let ada = room.connect("ada");
    /// let [fetch] = &room.fetches()[..] else { panic!("one request") };
    /// assert_eq!(fetch.request().uri(), "https://api.example.com/weather");
    /// room.respond(fetch, Ok(Response::text("rain")));
    /// assert_eq!(ada.received_json::<String>(), ["rain"]);
    /// ```
    pub fn respond(&self, fetch: &PendingFetch, answer: Result<Response, OutcallFailure>) {
        self.runner.borrow_mut().answered(fetch.number, GivenAnswer::Response(answer));
    }

    /// Delivers the next part of a response's body, for a request [in chunks](crate::Fetch::in_chunks). Returns false if
    /// its turn failed, which ends the request.
    pub fn respond_chunk(&self, fetch: &PendingFetch, offset: u64, bytes: &[u8]) -> bool {
        let (id, tag) = (fetch.id(), fetch.tag().to_owned());
        let chunk = Chunk { id, tag, status: 200, offset, bytes: bytes.to_vec() };
        self.runner.borrow_mut().chunk(fetch.number, chunk)
    }

    /// The calls of other rooms that wait for an answer, the oldest first. [`answer`](Self::answer) answers one; in a
    /// [`TestProject`] the other rooms do.
    pub fn calls(&self) -> Vec<PendingCall> {
        self.runner.borrow().world.pending_calls()
    }

    /// Answers a call of another room, with bytes as the other room would return them; a second answer does nothing.
    pub fn answer(&self, call: &PendingCall, answer: Result<Vec<u8>, OutcallFailure>) {
        self.runner.borrow_mut().answered(call.number, GivenAnswer::Returned(answer));
    }

    /// Answers a request to another room, which [`calls`](Self::calls) lists, too; a second answer does nothing.
    pub fn answer_request(&self, call: &PendingCall, answer: Result<Response, OutcallFailure>) {
        self.runner.borrow_mut().answered(call.number, GivenAnswer::Response(answer));
    }

    /// The pause of the ticks, if the room has any.
    pub fn ticks(&self) -> Option<Duration> {
        let ticks = self.runner.borrow().world.ticks;
        ticks.map(|ticks| Duration::from_millis(ticks.every_ms))
    }

    /// The ids of the requests whose responses are open.
    pub fn stream_ids(&self) -> Vec<String> {
        self.runner.borrow().world.streams.ids()
    }

    /// The ids of the open connections, in the order they joined.
    pub fn connection_ids(&self) -> Vec<String> {
        let runner = self.runner.borrow();
        runner.world.open(None).map(|link| link.data.id.clone()).collect()
    }

    /// The room's log so far, with the errors of failed turns.
    pub fn logs(&self) -> Vec<LogLine> {
        self.runner.borrow().world.logs.clone()
    }

    /// The error of the turn that failed last, if one did.
    pub fn last_error(&self) -> Option<String> {
        self.runner.borrow().errors.last().cloned()
    }

    /// Takes the errors of the turns that failed since the last call.
    pub fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut self.runner.borrow_mut().errors)
    }
}

impl<R> fmt::Debug for TestRoom<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRoom")
            .field("name", &self.runner.borrow().world.name)
            .finish_non_exhaustive()
    }
}

/// The URL of the room in a world.
fn room_url(world: &World) -> String {
    format!("http://localhost:1999/parties/{}/{}", world.party, uri::encode(&world.name))
}

/// A copy of what a room stored.
#[derive(Clone, Debug)]
pub struct Stored {
    keys: Keys,
}

impl Stored {
    /// The value of a key, or `None`. Fails the test if it is not that of a `T`.
    #[track_caller]
    pub fn get<T: DeserializeOwned>(&self, key: impl AsRef<[u8]>) -> Option<T> {
        self.keys.get(key.as_ref()).map(|value| read(key.as_ref(), value))
    }

    /// The keys with this prefix and their values, in order. Fails the test if a value is not that of
    /// a `T`.
    #[track_caller]
    pub fn list<T: DeserializeOwned>(&self, prefix: &str) -> Vec<(String, T)> {
        let entries = self.keys.iter().filter(|(key, _)| key.starts_with(prefix.as_bytes()));
        entries
            .map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), read(key, value)))
            .collect()
    }

    /// All keys and values as bytes, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True if there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[track_caller]
fn read<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> T {
    match serde_json::from_slice(value) {
        Ok(value) => value,
        Err(error) => panic!("the value of key {:?}: {error}", String::from_utf8_lossy(key)),
    }
}
