//! Messages that a client may miss. Owns who gets them.
//!
//! Invariant: a client that keeps up gets each of them, in order with all others. A client that is away has no outbox that
//! takes them, and the log has none of them. It does not know how they wait.

use super::{Roster, hearing};
use crate::taps::OutputReceivers;
use room_core::id::{SequenceNumber, Serial};
use room_core::turn::{DeliveryMode, FleetingMessage, FleetingReceivers, is_meant_for};

impl Roster {
    /// Sends such a message, and returns the number of its receivers.
    pub(super) fn say_fleeting(
        &mut self,
        number: SequenceNumber,
        fleeting: &FleetingMessage,
        horizon: Option<Serial>,
    ) -> usize {
        let mut said = 0;
        match &fleeting.to {
            FleetingReceivers::One(to) => {
                if self.put_fleeting(*to, fleeting) {
                    said = 1;
                    self.tell(*to, |tap, id| {
                        tap.went(number, OutputReceivers::One(id), &fleeting.message);
                    });
                }
            }
            FleetingReceivers::Many { tag, without } => {
                // As for a broadcast: a client that has left since gets it before its close frame.
                let connections = self.connections.clone();
                let all = connections.all().chain(self.leaving.values().map(Box::as_ref));
                let heard = all.filter(|connection| {
                    Some(connection.serial) <= horizon
                        && is_meant_for(connection, tag.as_deref(), without)
                });
                let heard: Vec<Serial> = heard.map(|connection| connection.serial).collect();
                said = heard.into_iter().filter(|to| self.put_fleeting(*to, fleeting)).count();
                if said > 0 {
                    self.tap.went(number, OutputReceivers::Many(said), &fleeting.message);
                }
            }
        }
        said
    }

    /// Puts a message into the outbox of a client. Returns false if the client gets nothing.
    fn put_fleeting(&mut self, to: Serial, fleeting: &FleetingMessage) -> bool {
        let Some(line) = hearing(&mut self.outboxes, to) else { return false };
        match &fleeting.mode {
            DeliveryMode::Volatile => line.outbox.send_volatile(&fleeting.message),
            DeliveryMode::Latest(key) => line.outbox.send_latest(key, &fleeting.message),
        }
        true
    }
}
