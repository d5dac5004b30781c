//! Messages that a client may miss. Owns who gets them.
//!
//! Invariant: a client that keeps up gets each of them, in order with all others. A client that is away has no outbox that
//! takes them, and the log has none of them. It does not know how they wait.

use super::{ClientRoute, Roster, hearing};
use crate::taps::OutputReceivers;
use hashbrown::HashMap;
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
                if put(&mut self.outboxes, *to, fleeting) {
                    said = 1;
                    self.tell(*to, |tap, id| {
                        tap.went(number, OutputReceivers::One(id), &fleeting.message);
                    });
                }
            }
            FleetingReceivers::Many { tag, without } => {
                let Self { connections, leaving, outboxes, .. } = self;
                // As for a broadcast: a client that has left since gets it before its close frame.
                let all = connections.all().chain(leaving.values().map(Box::as_ref));
                let heard = all.filter(|connection| {
                    Some(connection.serial) <= horizon
                        && is_meant_for(connection, tag.as_deref(), without)
                });
                said = heard.filter(|own| put(outboxes, own.serial, fleeting)).count();
                if said > 0 {
                    self.tap.went(number, OutputReceivers::Many(said), &fleeting.message);
                }
            }
        }
        said
    }
}

/// Puts a message into the outbox of a client. Returns false if the client does not get it.
fn put(
    outboxes: &mut HashMap<Serial, ClientRoute>,
    to: Serial,
    fleeting: &FleetingMessage,
) -> bool {
    hearing(outboxes, to).is_some_and(|line| match &fleeting.mode {
        DeliveryMode::Volatile => line.outbox.send_volatile(&fleeting.message),
        DeliveryMode::Latest(key) => line.outbox.send_latest(key, &fleeting.message),
    })
}
