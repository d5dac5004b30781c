//! What one turn of the mock host did so far.
//!
//! Owns the journal (how to undo it) and the outputs (what is let out if it commits). Invariant: plain
//! data. It does not know the world it is about.

use std::collections::BTreeMap;

use super::timers::{PendingTimer, Ticks};
use super::world::{Keys, Pending};
use crate::connection::Close;
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
}

#[derive(Debug)]
pub(super) enum Undo {
    Key { key: Vec<u8>, old: Option<Vec<u8>> },
    AllKeys(Keys),
    Alarm(Option<Pending>),
    Timer { number: u64, old: Option<PendingTimer> },
    Ticks(Option<Ticks>),
    State { client: usize, old: Vec<u8> },
    StateOfEnded(Vec<u8>),
    Closing { client: usize },
}

#[derive(Debug)]
pub(super) enum Output {
    Send { client: usize, message: Message },
    Close { client: usize, close: Close },
}
