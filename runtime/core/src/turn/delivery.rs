//! Messages that a client may miss, because a newer one is worth more. Owns what a turn says about how they wait.
//!
//! Invariant: such a message counts against the limits of a turn as every other one does, and nothing remembers it. It does
//! not know what waits for a client.

use super::{Output, Refusal, Turn};
use crate::event::Message;
use crate::id::Serial;
use crate::limits::size;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a message waits for a client that takes less than the room sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryMode {
    /// It does not wait: a client for which more than a little waits does not get it.
    Volatile,
    /// It takes the place of the message with the same key that waits, behind all others.
    Latest(String),
}

/// A message that a client may miss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetingMessage {
    /// The message.
    pub message: Message,
    /// Who gets it.
    pub to: FleetingReceivers,
    /// How it waits.
    pub mode: DeliveryMode,
}

/// The receivers of such a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FleetingReceivers {
    /// One connection.
    One(Serial),
    /// All that were open at the time.
    Many {
        /// Only connections with this tag.
        tag: Option<String>,
        /// Connections that do not get it.
        without: BTreeSet<Serial>,
    },
}

impl Turn {
    /// Sends to one connection, with this delivery.
    ///
    /// # Errors
    /// As [`Turn::send`]; [`Refusal::Key`].
    pub fn send_as(
        &mut self,
        id: &str,
        message: Message,
        mode: DeliveryMode,
    ) -> Result<(), Refusal> {
        let to = self.target(id)?;
        self.put_fleeting(message, FleetingReceivers::One(to), mode)
    }

    /// Sends to all open connections, or those with `tag`, except those in `without`, with this delivery.
    ///
    /// # Errors
    /// As [`Turn::broadcast`]; [`Refusal::Key`].
    pub fn broadcast_as(
        &mut self,
        message: Message,
        tag: Option<String>,
        without: &[String],
        mode: DeliveryMode,
    ) -> Result<(), Refusal> {
        if tag.as_ref().is_some_and(|tag| tag.len() > size(self.limits.tag_bytes_max)) {
            // No connection carries such a tag.
            return self.check_mode(&mode);
        }
        let without = without.iter().filter_map(|id| self.open_by_id(id)).map(|c| c.serial);
        let to = FleetingReceivers::Many { tag, without: without.collect() };
        self.put_fleeting(message, to, mode)
    }

    fn put_fleeting(
        &mut self,
        message: Message,
        to: FleetingReceivers,
        mode: DeliveryMode,
    ) -> Result<(), Refusal> {
        self.check_mode(&mode)?;
        self.admit(&message)?;
        self.effects.outputs.push(Output::Fleeting(Box::new(FleetingMessage {
            message,
            to,
            mode,
        })));
        Ok(())
    }

    fn check_mode(&self, mode: &DeliveryMode) -> Result<(), Refusal> {
        let longest = self.limits.latest_key_bytes_max;
        match mode {
            DeliveryMode::Latest(key) if !(1..=size(longest)).contains(&key.len()) => {
                Err(Refusal::Key(longest))
            }
            DeliveryMode::Latest(_) | DeliveryMode::Volatile => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Connections, connection};
    use crate::limits::Limits;
    use crate::turn::EmptyView;
    use std::sync::Arc;

    #[test]
    fn a_fleeting_message_counts_as_every_other_and_its_key_is_checked() {
        let mut all = Connections::default();
        all.insert(connection("ada", 1, &[]));
        let limits = Limits { turn_sends_max: 3, latest_key_bytes_max: 4, ..Limits::default() };
        let mut turn = Turn::new(Arc::new(EmptyView), Arc::new(all), None, Arc::new(limits));
        let latest = |key: &str| DeliveryMode::Latest(key.to_owned());
        let text = || Message::text("x");
        for key in ["", "12345"] {
            assert_eq!(turn.send_as("ada", text(), latest(key)), Err(Refusal::Key(4)));
            assert_eq!(turn.broadcast_as(text(), None, &[], latest(key)), Err(Refusal::Key(4)));
            let tag = Some("t".repeat(1_000));
            assert_eq!(turn.broadcast_as(text(), tag, &[], latest(key)), Err(Refusal::Key(4)));
        }
        let nobody = turn.send_as("bob", text(), DeliveryMode::Volatile);
        assert_eq!(nobody, Err(Refusal::NotFound));
        assert_eq!(turn.send_as("ada", text(), latest("1234")), Ok(()));
        let without = ["ada".to_owned(), "bob".to_owned()];
        assert_eq!(turn.broadcast_as(text(), None, &without, DeliveryMode::Volatile), Ok(()));
        assert_eq!(turn.send("ada", text()), Ok(()));
        let full = Err(Refusal::UsedUp("turn_sends_max"));
        assert_eq!(turn.send_as("ada", text(), DeliveryMode::Volatile), full);
        let outputs = turn.finish().unwrap().outputs;
        let many = FleetingReceivers::Many { tag: None, without: [Serial(1)].into() };
        let fleeting =
            |to, mode| Output::Fleeting(Box::new(FleetingMessage { message: text(), to, mode }));
        assert_eq!(outputs[0], fleeting(FleetingReceivers::One(Serial(1)), latest("1234")));
        assert_eq!(outputs[1], fleeting(many, DeliveryMode::Volatile));
    }
}
