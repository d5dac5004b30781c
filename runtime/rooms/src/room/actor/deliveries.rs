//! Messages whose client asks what became of them. Owns when such a message is handled, and when its acknowledgement is
//! made.
//!
//! Invariant: a message gets one acknowledgement, which leaves by the gate after the outputs of its turn. A repetition is
//! acknowledged behind the turn of the first one, and the guest does not learn of it. It does not know sockets.

use super::super::RoomError;
use super::super::deliveries::{ClientDelivery, DeliveryAck, DeliveryMail, DueAck, brief};
use super::super::mail::RenewOrder;
use super::super::outlet::Reply;
use super::Actor;
use room_core::event::Event;
use room_core::id::Serial;
use room_store::StoreError;

impl Actor {
    /// Handles a message with an id or a number for its acknowledgement.
    pub(super) async fn deliver(&mut self, mail: DeliveryMail) -> Result<(), StoreError> {
        let DeliveryMail { from, transport, delivery } = mail;
        let ClientDelivery { message, id, reference } = delivery;
        let due = |outcome| match reference {
            Some(reference) => {
                let ack = DeliveryAck { reference, outcome };
                Reply::Acked(Box::new(DueAck { to: from, transport, ack }))
            }
            None => Reply::Nobody,
        };
        let before = id.as_deref().and_then(|id| self.turns.outlet.roster.delivered(from, id));
        if let Some(outcome) = before {
            self.refuse(due(outcome));
            return Ok(());
        }
        let Some((connection, message)) = self.turns.admit(from, message) else {
            self.refuse(due(Err(RoomError::Over)));
            return Ok(());
        };
        // A start that fails says nothing about the message: the client may send it again under its id.
        if let Err(error) = self.ready().await? {
            match reference {
                Some(_) => self.refuse(due(Err(brief(error)))),
                None => self.lose(from, &error),
            }
            return Ok(());
        }
        match self.turn(&Event::Message { connection, message }, None).await? {
            Ok(turn) => {
                self.turns.note_delivered(from, id, None);
                self.turns.hold(turn, due(Ok(())));
            }
            Err(error) => {
                if let RoomError::Guest(fault) = &error {
                    self.turns.note_delivered(from, id, Some(fault));
                }
                match reference {
                    Some(_) => self.refuse(due(Err(brief(error)))),
                    None => self.lose(from, &error),
                }
            }
        }
        Ok(())
    }

    /// Gives a connection a newer identity of its client.
    pub(super) fn renew(&mut self, order: RenewOrder) {
        let RenewOrder { who, transport, identity, reply } = order;
        let renewed = self.turns.outlet.roster.renew(who, transport, identity);
        // A newer token may allow the client to hear what an older one did not.
        if let Some(own) = self.turns.outlet.presence.as_ref().filter(|_| renewed) {
            self.turns.outlet.roster.follow(who, own.shared());
        }
        // A client that has left needs no answer.
        drop(reply.send(if renewed { Ok(()) } else { Err(RoomError::Gone) }));
    }

    /// Closes a connection whose message was lost, if the guest is not to blame: otherwise its client would not learn of
    /// that.
    pub(super) fn lose(&mut self, from: Serial, error: &RoomError) {
        if !matches!(error, RoomError::Guest(_)) {
            self.close_lost(from, error);
        }
    }
}
