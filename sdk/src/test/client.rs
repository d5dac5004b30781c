//! A client of a room under test.
//!
//! Owns [`TestClient`] and how one connects. Invariant: a client sees only what committed turns sent
//! it. It does not know the room's struct, only that it is there.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::identity::with_claims;
use super::room_url;
use super::runner::Runner;
use super::world::Inbox;
use crate::connection::{Close, Transport};
use crate::delivery::Delivery;
use crate::http::{Request, Response, header_all};
use crate::identity::Identity;
use crate::message::{IntoMessage as _, Message};
use crate::{Room, uri};

/// A client that is about to connect: see [`TestRoom::client`](super::TestRoom::client).
#[must_use = "a client connects when `connect` is called"]
pub struct Connect<R> {
    pub(super) runner: Rc<RefCell<Runner<R>>>,
    pub(super) id: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) request: Request,
    pub(super) ticket: Option<String>,
    pub(super) transport: Transport,
}

impl<R: Room> Connect<R> {
    /// Adds a parameter to the URL's query.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push_str(&format!("&{}={}", uri::encode(name), uri::encode(value)));
        self
    }

    /// Sets a header of the request that opens the WebSocket.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.with_header(name, value);
        self
    }

    /// Connects with a token that has these claims, an object. The test host checks no token: it is as if `[auth]` had.
    ///
    /// # Panics
    /// If the value is no JSON object.
    #[track_caller]
    pub fn claims<T: Serialize + ?Sized>(mut self, claims: &T) -> Self {
        self.request.identity = Some(with_claims(claims));
        self
    }

    /// As [`claims`](Self::claims), for what was made already.
    #[doc(hidden)]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.request.identity = Some(identity);
        self
    }

    /// Connects with a ticket that a room of the test made.
    pub fn ticket(mut self, ticket: &str) -> Self {
        self.ticket = Some(ticket.to_owned());
        self
    }

    /// Connects below the room's URL: `/spectate`.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Connects by this transport. What the client sends and gets is the same for all.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Connects. [`TestClient::closed`] returns the refusal if the room refused.
    pub fn connect(mut self) -> TestClient<R> {
        let mut runner = self.runner.borrow_mut();
        let url = room_url(&runner.world);
        self.request.uri =
            format!("{url}{}?_pk={}{}", self.path, uri::encode(&self.id), self.query);
        let way = (self.transport, self.ticket.as_deref());
        let number = runner.connect(&self.id, self.request, way);
        drop(runner);
        TestClient { runner: self.runner, id: self.id, number }
    }
}

impl<R> fmt::Debug for Connect<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A client that connected, or tried to.
pub struct TestClient<R> {
    pub(super) runner: Rc<RefCell<Runner<R>>>,
    pub(super) id: String,
    number: usize,
}

impl<R: Room> TestClient<R> {
    /// The id it connected with.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sends a value as JSON text.
    #[track_caller]
    pub fn send<T: Serialize + ?Sized>(&self, value: &T) {
        match value.into_message() {
            Ok(message) => self.send_message(message),
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Sends a text message as it is.
    #[track_caller]
    pub fn send_text(&self, text: impl Into<String>) {
        self.send_message(Message::text(text));
    }

    /// Sends a binary message.
    #[track_caller]
    pub fn send_binary(&self, bytes: impl Into<Vec<u8>>) {
        self.send_message(Message::binary(bytes));
    }

    #[track_caller]
    fn send_message(&self, message: Message) {
        assert!(self.closed().is_none(), "the connection of {:?} is closed", self.id);
        self.runner.borrow_mut().message(self.number, message);
    }

    /// Takes what arrived since the last call.
    pub fn received(&self) -> Vec<Message> {
        self.deliveries().into_iter().map(|(message, _)| message).collect()
    }

    /// Takes what arrived since the last call, with how the room sent it. A client under test takes every message at once, so
    /// it misses none.
    pub fn deliveries(&self) -> Vec<(Message, Delivery)> {
        self.inbox(|inbox| inbox.received.drain(..).collect())
    }

    /// Takes what arrived since the last call, and reads each message as JSON. Fails the test if one
    /// is not that of a `T`.
    #[track_caller]
    pub fn received_json<T: DeserializeOwned>(&self) -> Vec<T> {
        let read = |message: Message| match message.json() {
            Ok(value) => value,
            Err(error) => panic!("{:?} received {message:?}: {error:#}", self.id),
        };
        self.received().into_iter().map(read).collect()
    }

    /// Closes the connection with a close frame.
    pub fn close(&self, code: u16, reason: &str) {
        let close = Close { code, reason: reason.to_owned(), clean: true };
        self.runner.borrow_mut().end(self.number, close);
    }

    /// Loses the connection without a close frame: the room sees 1006.
    pub fn lose(&self) {
        let close = Close { code: 1006, reason: String::new(), clean: false };
        self.runner.borrow_mut().end(self.number, close);
    }

    /// How the connection ended, or `None` while it is open.
    pub fn closed(&self) -> Option<Close> {
        self.inbox(|inbox| inbox.closed.clone())
    }

    /// What [`Verdict::Respond`](crate::Verdict::Respond) answered instead of opening.
    pub fn response(&self) -> Option<Response> {
        self.inbox(|inbox| inbox.response.clone())
    }

    /// The values of all headers of this name in any case that [`Lobby::add_response_header`] added to the answer of
    /// its handshake, in order; those that are not UTF-8 are left out.
    ///
    /// [`Lobby::add_response_header`]: crate::Lobby::add_response_header
    pub fn header_all(&self, name: &str) -> Vec<String> {
        self.inbox(|inbox| header_all(&inbox.headers, name).map(str::to_owned).collect())
    }

    fn inbox<T>(&self, read: impl FnOnce(&mut Inbox) -> T) -> T {
        read(&mut self.runner.borrow_mut().world.clients[self.number])
    }
}

impl<R> fmt::Debug for TestClient<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("id", &self.id).finish_non_exhaustive()
    }
}
