//! What can go wrong when a room calls its host.
//!
//! Owns the refusals of the contract, [`StatusError`] and [`Result`]. Invariant: a refused call did nothing and
//! the turn continues; whether it fails is up to the room, which says so with `?`. It does not know
//! what a room's own errors look like: [`Error`] takes any.

use std::fmt;

use crate::http::Response;

/// Any error: [`anyhow::Error`], so that `?` works on everything that implements
/// [`std::error::Error`]. [`Error::downcast_ref`] finds a [`ConnectionError`] or [`StorageError`].
pub use anyhow::Error;

/// What every callback returns. `Err` drops the turn: nothing of it is kept, nothing of it is sent.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// The limit of a room's stored bytes, which does not reset with each turn.
const ROOM_BYTES_MAX: &str = "room_bytes_max";

/// How the author of a room gets more of a limit.
struct Raise<'a>(&'a str);

impl fmt::Display for Raise<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "raise {} in room.toml [limits]", self.0)
    }
}

/// Why a call about a connection was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// No open connection has this id.
    NotFound,
    /// The state is larger than the limit `connection_state_bytes_max`, given here in bytes.
    StateTooLarge(u32),
    /// The message is larger than the limit `room_message_bytes_max`, given here in bytes.
    MessageTooLarge(u32),
    /// This turn already sent as much as a limit allows: `turn_sends_max` or `turn_send_bytes_max`.
    TooManySends {
        /// The limit's name in `room.toml [limits]`.
        limit: String,
        /// What it is set to.
        max: u64,
    },
    /// The close code or reason is not one a room may send; the text says why.
    InvalidClose(String),
    /// The key of a message is empty or longer than the limit `latest_key_bytes_max`, given here in bytes.
    InvalidKey(u32),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no open connection has this id"),
            Self::StateTooLarge(max) => {
                let what = "the connection's state is larger than";
                write!(f, "{what} {max} bytes; {}", Raise("connection_state_bytes_max"))
            }
            Self::MessageTooLarge(max) => {
                let raise = Raise("room_message_bytes_max");
                write!(f, "the message is larger than {max} bytes; {raise}")
            }
            Self::TooManySends { limit, max } => {
                let raise = Raise(limit);
                write!(f, "this turn sends more than {limit} = {max} allows; {raise}, or send less")
            }
            Self::InvalidClose(why) => write!(f, "the close frame cannot be sent: {why}"),
            Self::InvalidKey(max) => {
                let raise = Raise("latest_key_bytes_max");
                write!(
                    f,
                    "the key of a message has 1 to {max} bytes; {raise}, or take a shorter one"
                )
            }
        }
    }
}

impl std::error::Error for ConnectionError {}

/// Why a call to the storage was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageError {
    /// A key is empty or longer than the limit `key_bytes_max`, given here in bytes.
    InvalidKey(u32),
    /// A value is larger than the limit `value_bytes_max`, given here in bytes.
    ValueTooLarge(u32),
    /// The turn would write more than a limit allows (`turn_writes_max`, `turn_write_bytes_max`), the
    /// room would hold more than `room_bytes_max`, or one call asks for too many keys.
    TooManyWrites {
        /// The limit's name in `room.toml [limits]`.
        limit: String,
        /// What it is set to.
        max: u64,
    },
    /// The bounds of a listing contradict each other; the text says how.
    InvalidRange(String),
    /// The host's store could not read. The turn should fail.
    Unavailable,
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidKey(max) => {
                let raise = Raise("key_bytes_max");
                write!(f, "the key is empty or longer than {max} bytes; {raise}")
            }
            Self::ValueTooLarge(max) => {
                let raise = Raise("value_bytes_max");
                write!(f, "the value is larger than {max} bytes; {raise}, or store it in pieces")
            }
            Self::TooManyWrites { limit, max } if limit == ROOM_BYTES_MAX => {
                let raise = Raise(limit);
                write!(
                    f,
                    "the room stores more than {limit} = {max} allows; {raise}, or delete keys"
                )
            }
            Self::TooManyWrites { limit, max } => {
                let raise = Raise(limit);
                write!(f, "this call goes beyond {limit} = {max}; {raise}, or do less in one turn")
            }
            Self::InvalidRange(why) => write!(f, "the range cannot be listed: {why}"),
            Self::Unavailable => f.write_str("the storage could not be read"),
        }
    }
}

impl std::error::Error for StorageError {}

/// Why a timer was not scheduled, or ticks did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerError {
    /// The room's timers, or this one, go beyond a limit: `timers_max`, `timers_bytes_max`,
    /// `timer_tag_bytes_max` or `timer_data_bytes_max`.
    BeyondLimit {
        /// The limit's name in `room.toml [limits]`.
        limit: String,
        /// What it is set to.
        max: u64,
    },
    /// The pause is shorter than a limit: `timer_every_ms_min` or `tick_every_ms_min`.
    TooOften {
        /// The limit's name in `room.toml [limits]`.
        limit: String,
        /// What it is set to, in milliseconds.
        min: u64,
    },
}

impl fmt::Display for TimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondLimit { limit, max } => {
                let raise = Raise(limit);
                write!(f, "the timer goes beyond {limit} = {max}; {raise}, or cancel timers")
            }
            Self::TooOften { limit, min } => write!(
                f,
                "the pause is shorter than {min} ms; lower {limit} in room.toml [limits], or use a longer one"
            ),
        }
    }
}

impl std::error::Error for TimerError {}

/// Why what the room has sent was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryError {
    /// The party has no `history` in room.toml.
    NotKept,
    /// The room has forgotten messages after the id.
    Forgotten,
    /// A text is no id; the text here says why.
    Invalid(String),
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotKept => f.write_str(
                "the party remembers nothing that it sent: write `history = { keep = 100 }` below it in room.toml",
            ),
            Self::Forgotten => f.write_str("the room has forgotten messages after this id"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for HistoryError {}

/// Why the users of the room were not changed or read. The turn goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceError {
    /// The party has no `presence` in room.toml.
    NotKept,
    /// No open connection has this id.
    NotFound,
    /// A flag needs a user that is present.
    NotPresent,
    /// The client speaks for nobody: its id is the name of a signed-in user, or its ticket lacks `presence`.
    Forbidden,
    /// The data is larger than the limit `presence_data_bytes_max`, given here in bytes.
    TooLarge(u32),
    /// The room or the user has as much as a limit allows.
    BeyondLimit {
        /// The limit's name in `room.toml [limits]`.
        limit: String,
        /// What it is set to.
        max: u64,
    },
    /// An argument is invalid; the text says why.
    Invalid(String),
}

impl fmt::Display for PresenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotKept => f.write_str(
                "the party keeps no presence: write `presence = true` under [parties.main] in room.toml",
            ),
            Self::NotFound => f.write_str("no open connection has this id"),
            Self::NotPresent => {
                f.write_str("the user is not present: set its data before its flags")
            }
            Self::Forbidden => f.write_str(
                "the client may not show itself: its ticket lacks `presence`, or its id is the name of a signed-in user",
            ),
            Self::TooLarge(max) => {
                let raise = Raise("presence_data_bytes_max");
                write!(f, "the data is larger than {max} bytes; {raise}, or show less")
            }
            Self::BeyondLimit { limit, max } => {
                let raise = Raise(limit);
                write!(f, "this goes beyond {limit} = {max}; {raise}, or clear users")
            }
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PresenceError {}

/// A request to another server or room that was not made. The turn goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcallError {
    /// The room waits for too many answers, or the request is too large.
    BeyondLimit {
        /// The limit's name in `room.toml [limits]`.
        limit: String,
        /// What it is set to.
        max: u64,
    },
    /// The request is invalid; the text says why.
    Invalid(String),
}

impl fmt::Display for OutcallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondLimit { limit, max } => {
                let raise = Raise(limit);
                write!(f, "the request goes beyond {limit} = {max}; {raise}, or wait for answers")
            }
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for OutcallError {}

/// Why a call about a response that is open was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The room has no open response with this id: it is complete, or
    /// [`on_stream_close`](crate::Room::on_stream_close) was called for it.
    NotFound,
    /// One write is larger than the limit `room_message_bytes_max`, given here in bytes.
    TooLarge(u32),
    /// The room has as many open responses (`streams_max`), or this turn sent as much (`turn_sends_max`,
    /// `turn_send_bytes_max`), as a limit allows.
    TooMany {
        /// The limit's name in `room.toml [limits]`.
        limit: String,
        /// What it is set to.
        max: u64,
    },
    /// The call does not fit the response; the text says why.
    Invalid(String),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no open response has this id"),
            Self::TooLarge(max) => {
                let raise = Raise("room_message_bytes_max");
                write!(f, "the write is larger than {max} bytes; {raise}, or write it in pieces")
            }
            Self::TooMany { limit, max } => {
                let raise = Raise(limit);
                write!(f, "this goes beyond {limit} = {max}; {raise}, or end streams")
            }
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StreamError {}

/// The refusal of a transaction inside too many others.
pub(crate) fn too_deep(limit: &str, max: u64) -> Error {
    let raise = Raise(limit);
    anyhow::anyhow!(
        "this turn has more open transactions than {limit} = {max} allows; {raise}, or nest fewer"
    )
}

/// An error of [`Room::on_request`](crate::Room::on_request) that its client may see: a status and a text.
///
/// The turn is dropped as with any error. The client gets this status, with the text as its body, and not a
/// 500. The runtime takes it as an answer and not as a fault of the room, and logs nothing. Of an error with
/// context, the client gets the status and the text, and not the context.
///
/// ```
/// # use room_sdk::prelude::*;
/// # use room_sdk::test::TestRoom;
/// # #[derive(Default)]
/// # struct Games;
/// impl Room for Games {
///     fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
///         let name = request.query("game").unwrap_or_default();
///         let game = ctx.storage().get::<String>(&name)?;
///         let game = game.ok_or_else(|| StatusError::new(404, "no such game"))?;
///         Ok(Response::text(game))
///     }
/// }
///
/// let room = TestRoom::<Games>::new("lobby");
/// let response = room.request(Request::get("/?game=chess"));
/// assert_eq!(response.status_code(), 404);
/// assert_eq!(response.body_text(), "no such game");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusError {
    status: u16,
    text: String,
}

impl StatusError {
    /// An error with an HTTP status of 400 to 599. With any other status the client gets a 500.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// What the client gets.
    pub(crate) fn response(&self) -> Response {
        Response::text(self.text.clone()).with_status(self.status)
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {})", self.text, self.status)
    }
}

impl std::error::Error for StatusError {}
