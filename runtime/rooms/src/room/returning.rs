//! Clients that come back to their connection. Owns what a connection keeps for that, and what the welcome to its client says.
//!
//! Invariant: only a client that shows the connection's secret gets anything of it. A client whose welcome
//! says [`ClientArrival::Resumed`] or [`ClientArrival::Continued`] gets all that followed the id it named. Pure: it does not
//! know outboxes or the log's entries.

use room_core::byte_budget::BytePermit;
use room_core::event::{CloseFrame, CloseHandshake, Ending};
use room_core::id::{ConnectionId, ConnectionSecret, SequenceNumber};
use room_core::identity::Identity;
use room_core::metrics::{GaugeShare, ResumeGap};
use tokio::time::Instant;

/// What a client shows that comes back to its connection.
#[derive(Clone, Copy, Debug)]
pub struct ReturningClient {
    /// The secret of the connection; `None` if it is none that a server made.
    pub secret: Option<ConnectionSecret>,
    /// The id of the last message that it got.
    pub since: SequenceNumber,
}

/// How much of what was sent before its time a new connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewind {
    /// The newest messages, this many.
    Messages(u64),
    /// Those of the last milliseconds.
    Ms(u64),
    /// Those after the one with this id.
    Since(SequenceNumber),
}

/// The first item of an outbox whose transport has a secret: what its client has to know.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// The connection's id.
    pub connection: ConnectionId,
    /// The secret with which the client may come back.
    pub secret: ConnectionSecret,
    /// How long it may be away, in milliseconds; 0 if its connection ends when its transport does.
    pub resume_ms: u64,
    /// Whether its client may continue it when it is over.
    pub continues: bool,
    /// The id after which the connection's messages begin; `None` if its party's messages have no ids. A client that came
    /// back named it.
    pub at: Option<SequenceNumber>,
    /// Whether it is the connection that the client had.
    pub arrival: ClientArrival,
}

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientArrival {
    /// It has a new connection, as it asked for.
    New,
    /// It has its connection again. What it missed follows.
    Resumed,
    /// It has a new connection, as the one that it had is over. Nothing is missing: what it missed follows.
    Continued,
    /// It has a new connection, and messages are missing: it has to start afresh.
    Gap(Gap),
}

/// Why messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The room has forgotten some of what followed the id.
    TooOld,
    /// The room gave no message this id: it was restored, or has left memory since.
    UnknownId,
    /// The connection has ended, or the secret is not its own.
    UnknownConnection,
}

/// What a connection keeps so that its client can come back, and what its client has asked for.
pub(super) struct ReturnTicket {
    pub(super) secret: Option<ConnectionSecret>,
    /// The number of the transport that the connection has: a report about an earlier one is late.
    pub(super) transport: u32,
    /// The id of the last message that was sent to it.
    pub(super) sent: SequenceNumber,
    /// What to tell the client when it is in.
    pub(super) greeting: Option<Greeting>,
    pub(super) absence: Option<Absence>,
    /// How the room closed it, if its client has to fetch that.
    pub(super) closing: Option<CloseFrame>,
    /// The name of its client in a stored log.
    pub(super) mark: Option<ClientMark>,
    /// Whether it continues a connection that is over.
    pub(super) continues: bool,
}

/// The client of a connection, as a stored log names it: a digest of the connection's secret and of who the client is. So
/// it names the client when the connection is over, and is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientMark(pub(super) [u8; 16]);

impl ClientMark {
    /// Returns the mark of a client with this identity that has this secret.
    pub(super) fn of(secret: ConnectionSecret, identity: Option<&Identity>) -> Self {
        Self(secret.digest(&identity.map(Identity::client).unwrap_or_default()))
    }
}

/// What a client asked for when it came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Greeting {
    pub(super) gap: Option<Gap>,
    pub(super) rewind: Option<Rewind>,
    /// The id after which it continues a connection that is over.
    pub(super) former: Option<SequenceNumber>,
}

/// The time without a transport.
pub(super) struct Absence {
    /// When the connection ends.
    pub(super) until: Instant,
    pub(super) marks: AbsenceMarks,
    /// Covers the connection.
    pub(super) _permit: BytePermit,
    pub(super) _counted: GaugeShare,
}

/// Where the log stood when a transport was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AbsenceMarks {
    /// The id of the last message for the connection.
    pub(super) sent: SequenceNumber,
    /// The id of the last message for anybody.
    pub(super) position: SequenceNumber,
}

impl AbsenceMarks {
    /// Returns the id from which the log has to be read for a client that has got everything up to `since`. A client that
    /// has got all that was sent to it may name an id that is long forgotten, as the room speaks to others, too.
    pub(super) fn cursor(self, since: SequenceNumber) -> SequenceNumber {
        if since == self.sent { since.max(self.position) } else { since }
    }
}

impl ReturnTicket {
    /// Returns true if this is the connection's secret.
    pub(super) fn is_owned_by(&self, secret: ConnectionSecret) -> bool {
        self.secret.is_some_and(|own| own.is(secret))
    }
}

impl PartialEq for Welcome {
    fn eq(&self, other: &Self) -> bool {
        let rest = |own: &Self| {
            (own.connection.clone(), own.resume_ms, own.continues, own.at, own.arrival)
        };
        self.secret.is(other.secret) && rest(self) == rest(other)
    }
}

impl Eq for Welcome {}

impl From<Gap> for ResumeGap {
    fn from(gap: Gap) -> Self {
        match gap {
            Gap::TooOld => Self::TooOld,
            Gap::UnknownId => Self::UnknownId,
            Gap::UnknownConnection => Self::UnknownConnection,
        }
    }
}

/// Returns the close frame of a transport whose connection has a newer one.
pub fn superseded() -> CloseFrame {
    CloseFrame::new(4409, "the connection goes on over a newer transport")
}

/// The close code of a client that means to come back. Pages may not send 1001 themselves.
const AWAY: u16 = 3001;

/// Returns true if a transport ended in a way after which its client may come back: the network lost it, its page went
/// away, it says that it comes back, or the server gave it up. Everything else is the will of the client, or its fault.
pub(super) fn may_return(ending: &Ending) -> bool {
    match ending.handshake {
        CloseHandshake::Clean => matches!(ending.frame.code, 1001 | 1012 | 1013 | AWAY),
        CloseHandshake::Missing => matches!(ending.frame.code, 1001 | 1006 | 1012 | 1013 | AWAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::event::CloseFrame;

    #[test]
    fn a_client_may_come_back_after_what_was_not_its_will() {
        let ending = |code, handshake| Ending { frame: CloseFrame::new(code, ""), handshake };
        for code in [1001, 1006, 1012, 1013, 3001] {
            assert!(may_return(&ending(code, CloseHandshake::Missing)), "{code}");
        }
        for code in [1000, 1002, 1005, 1007, 1009, 3000, 4000, 4409] {
            for handshake in [CloseHandshake::Clean, CloseHandshake::Missing] {
                assert!(!may_return(&ending(code, handshake)), "{code}");
            }
        }
        assert!(may_return(&Ending::broken_off()));
    }

    #[test]
    fn a_client_that_got_everything_reads_from_where_the_log_stood() {
        let number = |seq| SequenceNumber { epoch: 7, seq };
        let marks = AbsenceMarks { sent: number(3), position: number(90) };
        assert_eq!(marks.cursor(number(3)), number(90));
        assert_eq!(marks.cursor(number(2)), number(2));
        assert_eq!(marks.cursor(number(91)), number(91));
    }
}
