//! Polls of clients that fetch their messages. Owns the step from one poll of a connection to the next.
//!
//! Invariant: the guest learns of no poll. A poll whose answer was lost is repeated with the same id, and gets the same
//! messages. It does not know HTTP, or how long a poll waits.

use super::super::RoomError;
use super::super::handle::Admission;
use super::super::polls::{ClientPoll, ContinuedPoll, PollRequest};
use super::super::presence::SharedPresence;
use super::Actor;
use room_core::connection::Transport;

impl Actor {
    /// Gives a connection to the next poll of its client, who it was before.
    pub(super) fn poll(&mut self, asked: PollRequest) {
        let PollRequest { poll, outbox, reply } = asked;
        let ClientPoll { connection, client, presence_at } = poll;
        let now_ms = self.turns.parts.clock.wall_ms();
        let roster = &mut self.turns.outlet.roster;
        let own = roster.by_id(connection.as_str()).and_then(|own| own.identity.clone());
        let back = roster.returning((&connection, own.as_ref()), client, now_ms).ok();
        let identity = own.clone();
        let resumed = back.and_then(|back| roster.resume(back, (own, Transport::LongPoll), outbox));
        let outlet = &self.turns.outlet;
        if let (Some((serial, _)), Some(at)) = (resumed, presence_at) {
            match &outlet.presence {
                Some(own) => outlet.roster.follow_from(serial, own.shared(), at),
                // Its client may know users of the time before the party gave its presence up.
                None => outlet.roster.follow_from(serial, &SharedPresence::nobody(), at),
            }
        }
        let outcome = resumed.map(|(serial, transport)| {
            let admission = Admission::new(self.mailbox.clone(), serial, transport);
            ContinuedPoll { admission, identity }
        });
        // A poll that has left takes the drop of its admission for its end.
        drop(reply.send(outcome.ok_or(RoomError::NotYours)));
    }
}
