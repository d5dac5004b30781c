//! What one turn of the mock host did so far.
//!
//! Owns the journal (how to undo it) and the outputs (what is let out if it commits). Invariant: plain
//! data. It does not know the world it is about.

use std::collections::BTreeMap;

use super::presence::ShownUser;
use super::streams::{OpenResponse, StreamOutput};
use super::timers::{PendingTimer, Ticks};
use super::world::{Keys, Pending};
use crate::connection::Close;
use crate::delivery::Delivery;
use crate::host::OutcallRecord;
use crate::message::Message;

#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Undone from the last to the first.
    pub(super) journal: Vec<Undo>,
    /// Let out in order.
    pub(super) outputs: Vec<Output>,
    /// Messages, broadcasts and closes.
    pub(super) sends: usize,
    pub(super) send_bytes: usize,
    /// The keys it changed since it last removed all, with the bytes that each counts.
    pub(super) written: BTreeMap<Vec<u8>, usize>,
    pub(super) write_bytes: usize,
    /// How many savepoints it made.
    pub(super) made: u32,
    /// The open ones.
    pub(super) savepoints: Vec<Savepoint>,
}

/// What a turn had done when a savepoint was made.
#[derive(Debug)]
pub(super) struct Savepoint {
    pub(super) number: u32,
    /// The length of the journal.
    journal: usize,
    outputs: usize,
    sends: usize,
    send_bytes: usize,
    written: BTreeMap<Vec<u8>, usize>,
    write_bytes: usize,
}

impl Turn {
    /// Marks what was done so far; returns the number of the mark.
    pub(super) fn mark(&mut self) -> u32 {
        self.made += 1;
        self.savepoints.push(Savepoint {
            number: self.made,
            journal: self.journal.len(),
            outputs: self.outputs.len(),
            sends: self.sends,
            send_bytes: self.send_bytes,
            written: self.written.clone(),
            write_bytes: self.write_bytes,
        });
        self.made
    }

    /// Ends a savepoint and those after it; returns it.
    pub(super) fn take_mark(&mut self, number: u32) -> Savepoint {
        let at = self.savepoints.iter().position(|savepoint| savepoint.number == number);
        let at = at.expect("the sdk ends each savepoint once");
        let savepoint = self.savepoints.drain(at..).next();
        savepoint.expect("there is one at its position")
    }

    /// Forgets outputs and counts since a savepoint; returns the journal since then.
    pub(super) fn forget_since(&mut self, savepoint: Savepoint) -> Vec<Undo> {
        self.outputs.truncate(savepoint.outputs);
        (self.sends, self.send_bytes) = (savepoint.sends, savepoint.send_bytes);
        (self.written, self.write_bytes) = (savepoint.written, savepoint.write_bytes);
        self.journal.split_off(savepoint.journal)
    }
}

#[derive(Debug)]
pub(super) enum Undo {
    Key { key: Vec<u8>, old: Option<Vec<u8>> },
    AllKeys(Keys),
    Alarm(Option<Pending>),
    Timer { number: u64, old: Option<PendingTimer> },
    Outcall { number: u64, old: Option<OutcallRecord> },
    Ticks(Option<Ticks>),
    Stream { number: u64, old: Option<OpenResponse> },
    State { client: usize, old: Vec<u8> },
    StateOfEnded(Vec<u8>),
    Closing { client: usize },
    Presence { user: String, old: Option<ShownUser> },
}

#[derive(Debug)]
pub(super) enum Output {
    Send {
        client: usize,
        message: Message,
        delivery: Delivery,
    },
    /// What was sent to all, or to a tag, for the room's memory.
    Sent {
        tag: Option<String>,
        message: Message,
    },
    Close {
        client: usize,
        close: Close,
    },
    Stream(StreamOutput),
}
