//! Wire protocols between sockets and rooms. Owns what a carrier learns and what it may ask for.
//!
//! Invariant: a carrier is a value without sockets, timers or tasks. Its driver (`door/socket/driver.rs`) owns bytes
//! and timers, the carrier owns what they mean: when a client is pinged, how a connection ends, what a room hears of
//! it. So a protocol is tested by calls alone. It does not know how frames are read or written, or how rooms work.

mod party_socket;
mod pulse;

pub(super) use party_socket::PartySocket;

use crate::event::{CloseFrame, Ending, Message};
use crate::room::{ConnectionKey, Said};
use tokio::time::Instant;

/// One wire protocol, for one socket.
pub(super) trait Carrier: Send {
    /// A frame of the client. Returns what is to be passed to which of its rooms.
    fn heard(&mut self, heard: Heard) -> Option<(ConnectionKey, Message)>;

    /// A room had no space for a message in time, and the message is lost.
    fn refused(&mut self, key: ConnectionKey, now: Instant, acts: &mut Vec<Act>);

    /// Nothing more is heard of the client.
    fn ended(&mut self, end: WireEnd, now: Instant, acts: &mut Vec<Act>);

    /// True as long as the client is to be read.
    fn listens(&self) -> bool;

    /// A room's word, and the frames that it becomes. Behind a close frame nothing is written.
    fn said(&mut self, key: ConnectionKey, said: Said, frames: &mut Vec<Frame>);

    /// Frames are out.
    fn written(&mut self, written: Written, now: Instant, acts: &mut Vec<Act>);

    /// The node stops, and closes this connection at this time.
    fn stop(&mut self, at: Instant);

    /// When it wants its next [`Carrier::tick`].
    fn due(&self) -> Option<Instant>;

    /// Time has passed.
    fn tick(&mut self, now: Instant, acts: &mut Vec<Act>);
}

/// What comes from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Message(Message),
    /// A ping or a pong: it is there.
    SignOfLife,
}

/// Why nothing more is heard of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WireEnd {
    /// It closed, or answered our close frame.
    Closed(CloseFrame),
    /// What it sent is not valid.
    Fault(Fault),
    /// The connection is gone.
    Lost,
}

/// What was wrong with what a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What the client reads.
    pub(super) frame: CloseFrame,
    /// What the room reads.
    pub(super) error: String,
}

/// What is written to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Message(Message),
    Ping,
    /// The last one.
    Close(CloseFrame),
}

/// Frames that matter to a carrier when they are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Ping,
    Close,
}

/// What a carrier asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Writes a ping, before everything that waits. Not asked for again until it is [`Written`].
    Ping,
    /// Writes a close frame, in place of everything that waits. Asked for once.
    Close(CloseFrame),
    /// Reports to a room what was wrong with what the client sent.
    Report(ConnectionKey, String),
    /// Reports to a room how the connection ended.
    Leave(ConnectionKey, Ending),
    /// Waits for no more words of a room than are there: the last one is this.
    End(ConnectionKey, CloseFrame),
    /// Ends the socket.
    HangUp(Farewell),
}

/// How a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The client's close frame is answered, and the connection shut down.
    Reply,
    /// Both have said what they had to say: the connection is shut down.
    ShutDown,
    /// It is left as it is: the client is gone.
    Drop,
}
