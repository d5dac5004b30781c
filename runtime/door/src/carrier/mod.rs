//! Wire protocols between clients and rooms. Owns which events a carrier receives and which acts it may request.
//!
//! Invariant: a carrier is a value without sockets, timers or tasks. Its driver (`door/socket/driver.rs`) owns bytes
//! and timers. The carrier owns what they mean: when to ping a client, how a connection ends, and what to report to its
//! room. So a protocol is tested by calls alone. It does not know how frames are read or written, or how rooms work.

mod event_stream;
mod ids;
mod long_poll;
mod party_socket;
mod pulse;
mod room_one;

pub(super) use event_stream::SseCarrier;
pub(super) use ids::{IDS_PROTOCOL, presence, told, welcome};
pub(super) use long_poll::PollCarrier;
pub(super) use party_socket::{MessageForm, PartySocket};
pub(super) use room_one::{
    JoinAsk, ROOM_PROTOCOL, RoomOne, SessionCommand, SessionErrorName, SessionRefusal,
};

use room_core::event::{CloseFrame, Ending, Message};
use room_rooms::room::{ConnectionKey, LogEntry, OutboxItem, PresenceEvent, Welcome};
use std::sync::Arc;
use tokio::time::Instant;

/// One wire protocol, for one client.
pub(super) trait Carrier: Send {
    /// True if a client that is too slow for one room keeps the socket for its other rooms.
    const IS_SHARED: bool = false;

    /// Handles a frame of the client. Returns a message and the connection whose room receives it.
    fn heard(&mut self, heard: ClientInput) -> Option<(ConnectionKey, Message)>;

    /// Handles a message that is lost because the room had no space for it in time.
    fn refused(&mut self, key: ConnectionKey, now: Instant, acts: &mut Vec<CarrierAct>);

    /// Handles a message that the client's ticket does not allow.
    fn forbidden(&mut self, key: ConnectionKey, now: Instant, acts: &mut Vec<CarrierAct>);

    /// Handles the end of reading: the client sends nothing more that counts.
    fn ended(&mut self, end: WireEnd, now: Instant, acts: &mut Vec<CarrierAct>);

    /// Returns true as long as the driver should read from the client.
    fn listens(&self) -> bool;

    /// Appends the frames for a room's output. Nothing is written after a close frame.
    fn said(&mut self, key: ConnectionKey, said: OutboxItem, frames: &mut Vec<OutgoingFrame>);

    /// Appends the frames that no room has made, before those of rooms.
    fn own(&mut self, _frames: &mut Vec<OutgoingFrame>) {}

    /// Returns true if such frames wait.
    fn has_own(&self) -> bool {
        false
    }

    /// Returns the connections that ended with what their rooms said last, while others go on.
    fn departures(&mut self) -> Vec<(ConnectionKey, Ending)> {
        Vec::new()
    }

    /// Handles that frames have been written.
    fn written(&mut self, written: WrittenFrame, now: Instant, acts: &mut Vec<CarrierAct>);

    /// Schedules the end of this connection at a time, because the node stops.
    fn stop(&mut self, at: Instant);

    /// Returns when the carrier wants its next [`Carrier::tick`].
    fn due(&self) -> Option<Instant>;

    /// Handles that time has passed.
    fn tick(&mut self, now: Instant, acts: &mut Vec<CarrierAct>);
}

/// An event from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClientInput {
    Message(Message),
    /// A ping or a pong: the client is alive.
    SignOfLife,
}

/// Why reading from a client ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WireEnd {
    /// It closed, or answered our close frame.
    Closed(CloseFrame),
    /// It sent something invalid.
    Fault(SocketFault),
    /// The connection is gone.
    Lost,
}

/// What was invalid in the client's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketFault {
    /// The close frame for the client.
    pub(super) frame: CloseFrame,
    /// The error text for the room.
    pub(super) error: String,
}

/// A frame to be written to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OutgoingFrame {
    Message(Message),
    /// A message with its id, for a client that may come back.
    Entry(Arc<LogEntry>),
    /// Who is in the room, or what of that changed, for a client whose transport has a form of its own for it.
    Presence(Arc<PresenceEvent>),
    /// What a client learns first.
    Welcome(Box<Welcome>),
    Ping,
    /// The last frame.
    Close(CloseFrame),
}

/// Frames whose writing is reported to the carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrittenFrame {
    Ping,
    Close,
}

/// What a carrier requests of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CarrierAct {
    /// Writes a ping, before everything that waits. The carrier requests the next one only after this one is
    /// [`WrittenFrame`].
    Ping,
    /// Writes a close frame, in place of everything that waits. Requested once.
    Close(CloseFrame),
    /// Reports to a room what was invalid in the client's bytes.
    Report(ConnectionKey, String),
    /// Reports to a room how the connection ended.
    Leave(ConnectionKey, Ending),
    /// Reports to a room how the connection ended, and forgets the connection. The socket goes on.
    Part(ConnectionKey, Ending),
    /// Ends a room's outputs after those that are queued already, with this close frame as the last one.
    End(ConnectionKey, CloseFrame),
    /// Ends the socket.
    HangUp(Farewell),
}

/// How the driver ends a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Answers the client's close frame, and shuts the connection down.
    Reply,
    /// Shuts the connection down: no further frame is expected from either side.
    ShutDown,
    /// Drops the connection as it is: the client is gone.
    Drop,
}
