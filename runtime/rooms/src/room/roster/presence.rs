//! The clients that follow a room's users. Owns which clients do.
//!
//! Invariant: a client that hears what the room sends follows them from the moment in which it is in, and no other one
//! does. It does not know users.

use super::super::presence::{PresenceEvent, SharedPresence};
use super::{ClientRoute, Roster};
use room_core::connection::Transport;
use room_core::id::Serial;
use std::sync::Arc;

impl Roster {
    /// Lets a client that is in follow the users. A client that polls asks with each poll.
    pub(in super::super) fn follow(&self, serial: Serial, shared: &SharedPresence) {
        if let (Some(connection), Some(route)) = (self.get(serial), self.outboxes.get(&serial))
            && connection.transport != Transport::LongPoll
            && route.hears
        {
            route.outbox.follow(shared);
        }
    }

    /// Gives a client that polls what it does not know of the users. `at` is the number of the state that it has.
    pub(in super::super) fn follow_from(&self, serial: Serial, shared: &SharedPresence, at: u64) {
        if let Some(route) = self.outboxes.get(&serial)
            && route.hears
            && !route.is_away()
        {
            match shared.number() == at {
                true => route.outbox.follow_from(shared, at),
                false => route.outbox.follow(shared),
            }
        }
    }

    /// Lets all clients that are in follow the users.
    pub(in super::super) fn follow_all(&self, shared: &SharedPresence) {
        let is_in = |route: &ClientRoute| {
            route.ticket.as_ref().is_none_or(|ticket| ticket.greeting.is_none())
        };
        let routes = self.outboxes.iter().filter(|(_, route)| is_in(route));
        routes.for_each(|(serial, _)| self.follow(*serial, shared));
    }

    /// Tells the clients what changed.
    pub(in super::super) fn present(&self, event: &Arc<PresenceEvent>) {
        let hearing = self.outboxes.values().filter(|route| route.hears);
        hearing.for_each(|route| route.outbox.present(event));
    }
}
