//! What one turn of the mock host did so far.
//!
//! Owns the journal (how to undo it) and the outputs (what is let out if it commits). Invariant: plain
//! data. It does not know the world it is about.

use super::world::{Keys, Pending};
use crate::connection::Close;
use crate::host::ConnectionData;
use crate::message::Message;

#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Undone from the last to the first.
    pub(super) journal: Vec<Undo>,
    /// Let out in order.
    pub(super) outputs: Vec<Output>,
    pub(super) sends: usize,
    pub(super) writes: usize,
    pub(super) write_bytes: usize,
    /// The ended connection that `on_close` and `on_error` are about.
    pub(super) about: Option<ConnectionData>,
}

#[derive(Debug)]
pub(super) enum Undo {
    Key { key: Vec<u8>, old: Option<Vec<u8>> },
    AllKeys(Keys),
    Alarm(Option<Pending>),
    State { client: usize, old: Vec<u8> },
    Closing { client: usize },
}

#[derive(Debug)]
pub(super) enum Output {
    Send { client: usize, message: Message },
    Close { client: usize, close: Close },
}
