//! Connections of long polls that the room has closed. Owns how long such a connection waits for its client.
//!
//! Invariant: a client that polls gets what was sent before the close, and the close itself, if it asks within
//! `close_ms_max`, however many polls that takes. It does not know polls.

use super::{ClientRoute, Roster};
use room_core::connection::{Link, Transport};
use room_core::event::{CloseFrame, CloseHandshake, Ending};
use room_core::id::Serial;
use room_core::limits::ms;
use tokio::time::Instant;

impl Roster {
    /// Returns true if the client of a connection fetches its messages.
    pub(super) fn is_polled(&self, serial: Serial) -> bool {
        self.get(serial).is_some_and(|connection| connection.transport == Transport::LongPoll)
    }

    /// Returns true if there is something that the client of a connection may come back for.
    pub(super) fn may_be_fetched(&self, serial: Serial) -> bool {
        let ticket = self.outboxes.get(&serial).and_then(|line| line.ticket.as_ref());
        self.get(serial).is_some_and(|connection| connection.link == Link::Open)
            || ticket.is_some_and(|ticket| ticket.closing.is_some())
    }

    /// Returns the end of a connection that the room closed and whose client did not fetch that.
    pub(in super::super) fn unfetched(&mut self, serial: Serial) -> Option<Ending> {
        let ticket = self.outboxes.get_mut(&serial)?.ticket.as_mut()?;
        let frame = ticket.closing.take()?;
        Some(Ending { frame, handshake: CloseHandshake::Missing })
    }

    /// Keeps the close of a connection whose client fetches its messages. If the client is between two polls, it has as
    /// long for the next one as a client with a socket has to answer a close.
    pub(super) fn keep_goodbye(&mut self, serial: Serial, frame: CloseFrame) {
        let Some(ClientRoute { ticket: Some(ticket), .. }) = self.outboxes.get_mut(&serial) else {
            return;
        };
        ticket.closing = Some(frame);
        let Some(absence) = &mut ticket.absence else { return };
        let latest = Instant::now() + ms(self.close_ms_max);
        if latest < absence.until {
            self.absent.remove(&(absence.until, serial));
            absence.until = latest;
            self.absent.insert((latest, serial));
        }
    }
}
