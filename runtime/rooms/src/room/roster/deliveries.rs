//! What a connection has sent, and who its client is now. Owns the ids of messages that a connection remembers.
//!
//! Invariant: an acknowledgement leaves by the transport by which its message came, or not at all, because a client
//! numbers its messages for one transport. It does not know turns.

use super::super::RoomError;
use super::super::deliveries::{DeliveredIds, DueAck};
use super::super::turns::RoomParts;
use super::Roster;
use room_core::id::Serial;
use room_core::identity::{Capabilities, Identity};
use room_guest::GuestFault;

impl Roster {
    /// Returns the outcome of the message of a connection with this id; `None` if it has not been handled.
    pub(in super::super) fn delivered(
        &self,
        who: Serial,
        id: &str,
    ) -> Option<Result<(), RoomError>> {
        self.outboxes.get(&who)?.delivered.as_ref()?.outcome(id)
    }

    /// Notes the outcome of a message that the guest has handled.
    pub(in super::super) fn note_delivered(
        &mut self,
        who: Serial,
        (id, fault): (Box<str>, Option<&GuestFault>),
        parts: &RoomParts,
    ) {
        if let Some(route) = self.outboxes.get_mut(&who) {
            let delivered =
                route.delivered.get_or_insert_with(|| Box::new(DeliveredIds::new(parts)));
            delivered.note(id, fault, parts);
        }
    }

    /// Queues an acknowledgement for the client.
    pub(in super::super) fn acknowledge(&self, due: DueAck) {
        let DueAck { to, transport, ack } = due;
        if let Some(route) = self.outboxes.get(&to)
            && self.has_transport(to, transport)
        {
            route.outbox.acknowledge(ack);
        }
    }

    /// Gives a connection a newer identity of its client. Returns false if it has ended or has another transport.
    pub(in super::super) fn renew(
        &mut self,
        who: Serial,
        transport: u32,
        identity: Identity,
    ) -> bool {
        if !self.has_transport(who, transport) {
            return false;
        }
        let hears = identity.capabilities().has(Capabilities::READ);
        let Some(connection) = self.edit().get_mut(who) else { return false };
        connection.identity = Some(identity);
        if let Some(route) = self.outboxes.get_mut(&who) {
            route.hears = hears;
            if !hears {
                route.outbox.unfollow();
            }
        }
        true
    }
}
