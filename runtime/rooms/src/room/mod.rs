//! One room, from the event that reaches it to the output that leaves it. Owns the turn.
//!
//! Invariant: [`RoomHandle`] is the only way into a room, because only this folder can make mails. It does
//! not know sockets, HTTP or other rooms.

mod actor;
mod alarm;
mod boxed;
mod deliveries;
mod edit;
mod exchanges;
mod faults;
mod figures;
mod gate;
mod handle;
mod jobs;
mod live;
mod mail;
mod mailbox;
mod outbound;
mod outbox;
mod outcalls;
mod outcome;
mod outlet;
mod outside;
mod places;
mod polls;
mod posts;
mod presence;
mod rates;
mod replacements;
mod responses;
mod returning;
mod roster;
mod ticks;
mod turns;
mod usage;

pub(crate) use actor::MOVED;
pub use actor::{Actor, ActorReport, ClientWindow, Stopped};
pub use deliveries::{ClientDelivery, DeliveryAck, OfferRefused};
pub use edit::Edit;
pub use exchanges::StreamsSummary;
pub use figures::{EvictedTotals, FaultRecord, RoomFigures, RoomSnapshot, RoomStage};
pub use handle::{ConnectingClient, IncomingRequest, JoinedConnection, RoomHandle, RoomLeft};
pub use mail::{AlarmGuard, CronReach};
pub use mailbox::Mailbox;
pub use outbound::{LogEntry, LogSummary};
pub use outbox::{ConnectionKey, OutboxItem, Outboxes};
pub use outside::{CallOutcome, FetchedChunk, Outside, RoomCall};
pub use places::{RoomSlots, SharedRoomSlots};
pub use polls::ClientPoll;
pub use posts::{ClientPost, Publication, RepeatedPublication};
pub use presence::{PresenceAsk, PresenceEvent};
pub use rates::RateOverrun;
pub use responses::{
    BodySender, OpenResponse, PieceVerdict, ResponsePart, ResponseStart, RoomAnswer,
};
pub use returning::{ClientArrival, Gap, ReturningClient, Rewind, Welcome, superseded};
pub use roster::ConnectionSummary;
pub use turns::RoomParts;

pub(crate) use alarm::next_try;

use boxed::boxed;
use handle::Admission;
use room_core::config::{Presence, Retention, WhenQuiet};
use room_core::event::BodyFault;
use room_core::presence::PresenceRefusal;
use room_core::ttl::Lifetime;
use room_core::webhooks::WebhookEvents;
use room_guest::{Code, GuestFault};
use room_store::StoreError;

/// A room's code and settings.
#[derive(Debug)]
pub struct RoomOrders {
    /// The code that the room runs.
    pub code: Code,
    /// The room's behaviour when it is quiet.
    pub when_quiet: WhenQuiet,
    /// How long it is kept while unused; `None` keeps it forever.
    pub lifetime: Option<Lifetime>,
    /// How much it remembers of what it sent; `None` if nothing.
    pub retention: Option<Retention>,
    /// How it shows who is there; `None` if it does not.
    pub presence: Option<Presence>,
    /// The events that it makes webhooks of.
    pub webhooks: WebhookEvents,
}

/// The fallback of a room whose new code does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFallback {
    /// It keeps the old code.
    KeepOld,
    /// It keeps the new code, and starts it afresh at the next event.
    Rest,
}

/// The reason why a room did not do what a caller asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// Its mailbox is full, or too many rooms are live.
    #[error("the room is busy")]
    Busy,
    /// It has as many connections as it may have.
    #[error("the room is full")]
    Full,
    /// The client's user has as many connections to it as the limit allows.
    #[error(
        "this user has {0} connections to the room, as many as user_connections_max allows: close one first"
    )]
    UserFull(u64),
    /// Connections with one id replaced each other too often.
    #[error(
        "connections with this id replace each other too often: an id belongs to one connection"
    )]
    Contended,
    /// Its guest failed.
    #[error(transparent)]
    Guest(#[from] GuestFault),
    /// Its storage failed. No output that depended on it left the room.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// The body of the request did not arrive, and the room did not answer.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// It failed too often and rests.
    #[error("the room failed repeatedly and rests")]
    Broken,
    /// It did not answer in time.
    #[error("the room did not answer in time")]
    TimedOut,
    /// It stopped before it answered.
    #[error("the room stopped")]
    Gone,
    /// More comes than a rate allows.
    #[error(transparent)]
    TooFast(#[from] RateOverrun),
    /// No connection of this id has the secret that a message came with.
    #[error("no connection has this id and this secret")]
    NotYours,
    /// The client of a connection may not send.
    #[error("the client's ticket does not allow sending")]
    ReadOnly,
    /// The connection of a message that came with its secret has ended.
    #[error("the connection has ended")]
    Over,
    /// What a client asked of its own presence was refused.
    #[error(transparent)]
    Presence(#[from] PresenceRefusal),
    /// The node stops.
    #[error("the server is shutting down")]
    Draining,
    /// Another node of the cluster runs it, or is about to.
    #[error("the room moves to another node")]
    Moved,
}

impl RoomError {
    /// Returns true if the same call may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::TooFast(_)
                | Self::Broken
                | Self::TimedOut
                | Self::Gone
                | Self::Draining
                | Self::Moved
        )
    }
}
