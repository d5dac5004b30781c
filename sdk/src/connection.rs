//! The room's clients.
//!
//! Owns [`Connection`] and [`Close`]. Invariant: a handle never shows state older than the last
//! `set_state` of this turn, whichever handle that went through. It does not know sockets: an id is
//! all that ties a handle to its client.

use std::cell::{Cell, OnceCell, RefCell};

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::delivery::Delivery;
use crate::error::ConnectionError;
use crate::host::{ConnectionData, Current, Host as _};
use crate::message::IntoMessage;
use crate::{Result, uri};

thread_local! {
    /// Counts what may have changed the state of a connection. A copy of state read at another count
    /// is read again.
    static STATE_VERSION: Cell<u64> = const { Cell::new(0) };
}

/// Makes every copy of connection state stale: a turn starts, or state was set.
pub(crate) fn forget_states() {
    STATE_VERSION.set(STATE_VERSION.get().wrapping_add(1));
}

/// Stands for a close frame without a code: RFC 6455 section 7.1.5.
pub(crate) const NO_CODE: u16 = 1005;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code of the close frame; 1005 if it had none, 1006 if the connection was lost.
    pub code: u16,
    /// The reason of the close frame, or empty.
    pub reason: String,
    /// True if close frames were exchanged, false if the connection was lost.
    pub clean: bool,
}

/// What carries the messages of a [`Connection`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// A WebSocket, both ways.
    #[default]
    WebSocket,
    /// Server-sent events to the client, and a POST for each message of the client: `sse = true` of the party.
    Sse,
    /// Requests that wait for messages to the client, and a POST for each message of the client: `sse = true` and `resume`
    /// of the party.
    LongPoll,
}

impl Transport {
    /// Its name: `websocket`, `sse` or `long-poll`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::LongPoll => "long-poll",
        }
    }
}

/// A client of the room.
///
/// A handle is cheap: what it describes is fetched when it is first asked for. It can be kept, but
/// refers to the current connection with its id.
#[derive(Clone, Debug)]
pub struct Connection {
    id: String,
    fixed: OnceCell<Fixed>,
    state: RefCell<Option<Versioned>>,
}

/// What stays the same as long as a connection lasts.
#[derive(Clone, Debug, Default)]
struct Fixed {
    uri: String,
    tags: Vec<String>,
}

/// A copy of state, and the count of [`STATE_VERSION`] at which it was read.
#[derive(Clone, Debug)]
struct Versioned {
    version: u64,
    bytes: Vec<u8>,
}

impl Connection {
    /// The handle of an id, about which nothing was fetched yet.
    pub(crate) fn from_id(id: String) -> Self {
        Self { id, fixed: OnceCell::new(), state: RefCell::new(None) }
    }

    /// The handle of a connection that the host just described.
    pub(crate) fn from_data(data: ConnectionData) -> Self {
        let connection = Self::from_id(data.id);
        let _ = connection.fixed.set(Fixed { uri: data.uri, tags: data.tags });
        connection.remember(data.state);
        connection
    }

    fn remember(&self, bytes: Vec<u8>) {
        *self.state.borrow_mut() = Some(Versioned { version: STATE_VERSION.get(), bytes });
    }

    fn fixed(&self) -> &Fixed {
        self.fixed.get_or_init(|| match Current::connection(&self.id) {
            Some(data) => Fixed { uri: data.uri, tags: data.tags },
            None => Fixed::default(),
        })
    }

    /// The client's id: its `_pk`, or one made by the host. Unique among the room's connections: a newer
    /// one with the same id replaces this one, which is closed with 4409.
    ///
    /// It is the connection's and stays when its client comes back; a user with two tabs has two. The
    /// client chose it, so it proves nothing: who a user is stands in a token that
    /// [`on_before_connect`](crate::Room::on_before_connect) checks.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The URL it connected with, query included; empty if it is gone.
    pub fn uri(&self) -> &str {
        &self.fixed().uri
    }

    /// The first value of a parameter of the URL's query, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        uri::query_all(self.uri(), name).next()
    }

    /// All values of a parameter of the URL's query, decoded, in the order they came.
    pub fn query_all(&self, name: &str) -> Vec<String> {
        uri::query_all(self.uri(), name).collect()
    }

    /// What [`Room::tags`](crate::Room::tags) returned for it; empty if it is gone.
    pub fn tags(&self) -> &[String] {
        &self.fixed().tags
    }

    /// What carries its messages; a WebSocket if the connection is gone.
    ///
    /// A room need not ask: messages, closes and tags are the same for both. It matters where a client should get
    /// less by one transport, such as bytes, which server-sent events carry as base64.
    pub fn transport(&self) -> Transport {
        Current::transport(&self.id).unwrap_or_default()
    }

    /// Sends a message to this client when the turn commits: `&value` as JSON text, a
    /// [`Message`](crate::Message) as it is.
    ///
    /// # Errors
    /// [`ConnectionError::NotFound`] if it is gone, [`MessageTooLarge`], [`TooManySends`]; or the
    /// value cannot be written as JSON. Nothing is sent then.
    ///
    /// [`MessageTooLarge`]: ConnectionError::MessageTooLarge
    /// [`TooManySends`]: ConnectionError::TooManySends
    pub fn send(&self, message: impl IntoMessage) -> Result {
        let message = message.into_message()?;
        Current::send(&self.id, message).with_context(|| format!("cannot send to {:?}", self.id))
    }

    /// Sends a message to this client when the turn commits, which the client may miss: see [`Delivery`].
    ///
    /// # Errors
    /// As [`send`](Self::send); [`ConnectionError::InvalidKey`].
    pub fn send_as(&self, message: impl IntoMessage, delivery: Delivery) -> Result {
        let message = message.into_message()?;
        match delivery {
            Delivery::Reliable => Current::send(&self.id, message),
            other => Current::send_as(&self.id, message, &other),
        }
        .with_context(|| format!("cannot send to {:?}", self.id))
    }

    /// Closes the connection when the turn commits, after earlier messages to it.
    /// [`Room::on_close`](crate::Room::on_close) follows.
    ///
    /// Codes of 44xx mean to the client that another try would end the same way. Closing twice, or in the
    /// connection's own `on_close`, does nothing.
    ///
    /// # Errors
    /// [`ConnectionError::NotFound`]; [`ConnectionError::InvalidClose`] if `code` is not 1000 to 4999, or
    /// is 1004, 1005, 1006 or 1015, or if `reason` is longer than 123 bytes.
    pub fn close(&self, code: u16, reason: &str) -> Result {
        if code == NO_CODE {
            let why = "1005 stands for no code: call close_without_code".to_owned();
            return Err(ConnectionError::InvalidClose(why))
                .with_context(|| format!("cannot close {:?}", self.id));
        }
        self.close_with(code, reason)
    }

    /// Closes the connection like [`close`](Self::close), with a frame that carries no code and no
    /// reason: the client reads 1005.
    ///
    /// # Errors
    /// [`ConnectionError::NotFound`].
    pub fn close_without_code(&self) -> Result {
        self.close_with(NO_CODE, "")
    }

    fn close_with(&self, code: u16, reason: &str) -> Result {
        Current::close(&self.id, code, reason)
            .with_context(|| format!("cannot close {:?}", self.id))
    }

    /// The state that [`set_state`](Self::set_state) last stored, or `None`.
    ///
    /// # Errors
    /// [`ConnectionError::NotFound`]; or what is stored is not that of a `T`, which happens when the
    /// room's code changed while the client stayed.
    pub fn state<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let current = STATE_VERSION.get();
        let fresh = self.state.borrow().as_ref().is_some_and(|copy| copy.version == current);
        if !fresh {
            let data = Current::connection(&self.id).ok_or(ConnectionError::NotFound)?;
            self.remember(data.state);
        }
        match &*self.state.borrow() {
            Some(copy) if !copy.bytes.is_empty() => serde_json::from_slice(&copy.bytes)
                .map(Some)
                .with_context(|| format!("the state of {:?} is not the expected type", self.id)),
            _ => Ok(None),
        }
    }

    /// Replaces the state kept with the connection, when the turn commits. It outlives the instance,
    /// a reload and hibernation, and ends with the connection.
    ///
    /// # Errors
    /// [`ConnectionError::NotFound`], [`ConnectionError::StateTooLarge`]; or the value cannot be
    /// written as JSON.
    pub fn set_state<T: Serialize + ?Sized>(&self, state: &T) -> Result {
        let bytes = serde_json::to_vec(state).context("the state cannot be written as JSON")?;
        Current::set_state(&self.id, &bytes)
            .with_context(|| format!("cannot set the state of {:?}", self.id))?;
        forget_states();
        self.remember(bytes);
        Ok(())
    }
}

impl AsRef<str> for Connection {
    /// The id.
    fn as_ref(&self) -> &str {
        &self.id
    }
}
