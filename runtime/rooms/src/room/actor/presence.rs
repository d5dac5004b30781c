//! What clients ask of their own presence. Owns the answers.
//!
//! Invariant: the guest gets no event of such a wish, and the acknowledgement leaves after the turns before it. It does not
//! know sockets, or what users show.

use super::super::deliveries::{DeliveryAck, DueAck};
use super::super::outlet::Reply;
use super::super::presence::PresenceOrder;
use super::Actor;

impl Actor {
    /// Carries out a client's wish for its own user.
    pub(super) fn present(&mut self, order: PresenceOrder) {
        let PresenceOrder { who, transport, ask } = order;
        let outcome = self.turns.outlet.change_presence((who, transport), &ask);
        let reply = match ask.reference {
            Some(reference) => {
                let ack = DeliveryAck { reference, outcome };
                Reply::Acked(Box::new(DueAck { to: who, transport, ack }))
            }
            None => Reply::Nobody,
        };
        self.turns.outlet.answer(None, reply);
    }
}
