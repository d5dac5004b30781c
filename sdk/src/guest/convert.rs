//! The SDK's types and those of the bindings, one into the other.
//!
//! Owns the translations. Invariant: nothing is lost on the way. It does not know calls.

use super::Wasm;
use crate::bindings::exports::room::runtime::{door, fetch, stream_events};
use crate::bindings::room::runtime::{
    connections, delivery, history, identity, log, outcalls, presence, storage, streams, timers,
    types,
};
use crate::delivery::Delivery;
use crate::error::{
    ConnectionError, HistoryError, OutcallError, PresenceError, StorageError, StreamError,
    TimerError,
};
use crate::history::Sent;
use crate::host::{
    ConnectionData, GrantRecord, Host as _, IdentityRecord, RoomAddress, TimerRecord, UserRecord,
};
use crate::http::{Lobby, Request, Response, Rest, Verdict};
use crate::identity::{Capabilities, Identity};
use crate::log::Level;
use crate::message::Message;
use crate::outcall::OutcallFailure;
use crate::project::SocketVerdict;
use crate::stream::{BodyFault, BodyPiece, StreamEnd};
use crate::time::Timestamp;

impl From<types::Connection> for ConnectionData {
    fn from(conn: types::Connection) -> Self {
        Self { id: conn.id, uri: conn.uri, tags: conn.tags, state: conn.state }
    }
}

impl From<identity::Proof> for IdentityRecord {
    fn from(proof: identity::Proof) -> Self {
        let identity::Proof { claims, capabilities: own, ends: ends_ms } = proof;
        let all = [
            (own.read, Capabilities::READ),
            (own.write, Capabilities::WRITE),
            (own.presence, Capabilities::PRESENCE),
        ];
        let held = all.into_iter().filter(|(held, _)| *held);
        let capabilities = held.fold(Capabilities::NONE, |some, (_, one)| some | one);
        Self { claims, capabilities, ends_ms }
    }
}

impl From<&Delivery> for delivery::Mode {
    fn from(delivery: &Delivery) -> Self {
        match delivery {
            Delivery::Latest(key) => Self::Latest(key.clone()),
            // A reliable message goes another way.
            Delivery::Volatile | Delivery::Reliable => Self::Volatile,
        }
    }
}

impl From<delivery::DeliveryError> for ConnectionError {
    fn from(error: delivery::DeliveryError) -> Self {
        match error {
            delivery::DeliveryError::Connection(error) => error.into(),
            delivery::DeliveryError::InvalidKey(max) => Self::InvalidKey(max),
        }
    }
}

impl From<GrantRecord> for identity::Grant {
    fn from(grant: GrantRecord) -> Self {
        let GrantRecord { party, room, ms, capabilities: own, once, claims } = grant;
        let capabilities = identity::Capabilities {
            read: own.has(Capabilities::READ),
            write: own.has(Capabilities::WRITE),
            presence: own.has(Capabilities::PRESENCE),
        };
        Self { party, room, ms, capabilities, once, claims }
    }
}

impl From<RoomAddress> for outcalls::RoomAddress {
    fn from(to: RoomAddress) -> Self {
        let RoomAddress { party, room } = to;
        Self { party, room }
    }
}

impl From<outcalls::Failure> for OutcallFailure {
    fn from(failure: outcalls::Failure) -> Self {
        let outcalls::Failure { code, message } = failure;
        Self { code, message }
    }
}

impl From<outcalls::OutcallError> for OutcallError {
    fn from(error: outcalls::OutcallError) -> Self {
        match error {
            outcalls::OutcallError::BeyondLimit(types::Limit { name, max }) => {
                Self::BeyondLimit { limit: name, max }
            }
            outcalls::OutcallError::Invalid(why) => Self::Invalid(why),
        }
    }
}

impl From<history::Sent> for Sent {
    fn from(sent: history::Sent) -> Self {
        let history::Sent { id, at, tag, message } = sent;
        Self { id, at: Timestamp::from_millis(at), tag, message: message.into() }
    }
}

impl From<history::HistoryError> for HistoryError {
    fn from(error: history::HistoryError) -> Self {
        match error {
            history::HistoryError::NotKept => Self::NotKept,
            history::HistoryError::Forgotten => Self::Forgotten,
            history::HistoryError::Invalid(why) => Self::Invalid(why),
        }
    }
}

impl From<presence::PresentUser> for UserRecord {
    fn from(user: presence::PresentUser) -> Self {
        let presence::PresentUser { name, data, connections, flags } = user;
        Self { name, data, connections, flags }
    }
}

impl From<presence::PresenceError> for PresenceError {
    fn from(error: presence::PresenceError) -> Self {
        match error {
            presence::PresenceError::NotKept => Self::NotKept,
            presence::PresenceError::NotFound => Self::NotFound,
            presence::PresenceError::NotPresent => Self::NotPresent,
            presence::PresenceError::Forbidden => Self::Forbidden,
            presence::PresenceError::TooLarge(max) => Self::TooLarge(max),
            presence::PresenceError::BeyondLimit(types::Limit { name, max }) => {
                Self::BeyondLimit { limit: name, max }
            }
            presence::PresenceError::Invalid(why) => Self::Invalid(why),
        }
    }
}

impl From<timers::Timer> for TimerRecord {
    fn from(timer: timers::Timer) -> Self {
        let timers::Timer { id, at, every, tag, data, tries } = timer;
        Self { id, at_ms: at, every_ms: every, tag, data, tries }
    }
}

impl From<stream_events::BodyPiece> for BodyPiece {
    fn from(piece: stream_events::BodyPiece) -> Self {
        match piece {
            stream_events::BodyPiece::More(bytes) => Self::More(bytes),
            stream_events::BodyPiece::Last(bytes) => Self::Last(bytes),
            stream_events::BodyPiece::Failed(fault) => Self::Failed(match fault {
                stream_events::BodyError::TooLarge => BodyFault::TooLarge,
                stream_events::BodyError::Stalled => BodyFault::Stalled,
                stream_events::BodyError::Aborted => BodyFault::Aborted,
            }),
        }
    }
}

impl From<stream_events::StreamEnd> for StreamEnd {
    fn from(end: stream_events::StreamEnd) -> Self {
        match end {
            stream_events::StreamEnd::Left => Self::Left,
            stream_events::StreamEnd::Slow => Self::Slow,
            stream_events::StreamEnd::Idle => Self::Idle,
            stream_events::StreamEnd::Late => Self::Late,
            stream_events::StreamEnd::Failed => Self::Failed,
        }
    }
}

impl From<streams::StreamError> for StreamError {
    fn from(error: streams::StreamError) -> Self {
        match error {
            streams::StreamError::NotFound => Self::NotFound,
            streams::StreamError::TooLarge(max) => Self::TooLarge(max),
            streams::StreamError::TooMany(types::Limit { name, max }) => {
                Self::TooMany { limit: name, max }
            }
            streams::StreamError::Invalid(why) => Self::Invalid(why),
        }
    }
}

impl From<timers::TimerError> for TimerError {
    fn from(error: timers::TimerError) -> Self {
        match error {
            timers::TimerError::BeyondLimit(types::Limit { name, max }) => {
                Self::BeyondLimit { limit: name, max }
            }
            timers::TimerError::TooOften(types::Limit { name, max }) => {
                Self::TooOften { limit: name, min: max }
            }
        }
    }
}

impl From<Message> for types::Message {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text),
            Message::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<types::Message> for Message {
    fn from(message: types::Message) -> Self {
        match message {
            types::Message::Text(text) => Self::Text(text),
            types::Message::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<types::Request> for Request {
    fn from(request: types::Request) -> Self {
        let types::Request { method, uri, headers, body } = request;
        let prefix = Wasm::var("ROOM_PREFIX").unwrap_or_default();
        // Asked for now: later, another request may be the running one.
        let identity = identity::of_request().map(|proof| Identity::of(proof.into()));
        Self { method, uri, headers, body, prefix, identity }
    }
}

impl From<Request> for types::Request {
    fn from(request: Request) -> Self {
        let Request { method, uri, headers, body, .. } = request;
        Self { method, uri, headers, body }
    }
}

impl From<types::Response> for Response {
    fn from(response: types::Response) -> Self {
        let types::Response { status, headers, body } = response;
        Self { status, headers, body, rest: Rest::Nothing }
    }
}

impl From<Response> for types::Response {
    fn from(response: Response) -> Self {
        let Response { status, headers, body, rest: _ } = response;
        Self { status, headers, body }
    }
}

impl From<door::Lobby> for Lobby {
    fn from(lobby: door::Lobby) -> Self {
        Self { party: lobby.party, room: lobby.room }
    }
}

impl From<Verdict> for door::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Forward(request) => Self::Forward(request.into()),
            Verdict::Respond(response) => Self::Respond(response.into()),
            Verdict::Refuse { code, reason } => Self::Refuse(types::CloseFrame { code, reason }),
        }
    }
}

impl From<SocketVerdict> for fetch::SocketVerdict {
    fn from(verdict: SocketVerdict) -> Self {
        match verdict {
            SocketVerdict::Enter { party, room } => Self::Enter(fetch::Destination { party, room }),
            SocketVerdict::Respond(response) => Self::Respond(response.into()),
            SocketVerdict::Refuse { code, reason } => {
                Self::Refuse(types::CloseFrame { code, reason })
            }
            SocketVerdict::Unknown => Self::Unknown,
        }
    }
}

impl From<Level> for log::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl From<connections::ConnectionError> for ConnectionError {
    fn from(error: connections::ConnectionError) -> Self {
        match error {
            connections::ConnectionError::NotFound => Self::NotFound,
            connections::ConnectionError::StateTooLarge(max) => Self::StateTooLarge(max),
            connections::ConnectionError::MessageTooLarge(max) => Self::MessageTooLarge(max),
            connections::ConnectionError::TooManySends(types::Limit { name, max }) => {
                Self::TooManySends { limit: name, max }
            }
            connections::ConnectionError::InvalidClose(why) => Self::InvalidClose(why),
        }
    }
}

impl From<storage::StorageError> for StorageError {
    fn from(error: storage::StorageError) -> Self {
        match error {
            storage::StorageError::InvalidKey(max) => Self::InvalidKey(max),
            storage::StorageError::ValueTooLarge(max) => Self::ValueTooLarge(max),
            storage::StorageError::TooManyWrites(types::Limit { name, max }) => {
                Self::TooManyWrites { limit: name, max }
            }
            storage::StorageError::InvalidRange(why) => Self::InvalidRange(why),
            storage::StorageError::Unavailable => Self::Unavailable,
        }
    }
}
