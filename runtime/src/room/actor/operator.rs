//! What an operator asks of a room that is in memory. Owns the answers.
//!
//! Invariant: no guest is called, none is woken, and the room stays in memory no longer for it. It does not
//! know who asks.

use super::super::edit::{Edit, EditReply};
use super::super::outlet::{Due, Reply};
use super::super::roster::Client;
use super::Actor;
use crate::connection::Link;
use crate::event::CloseFrame;
use crate::id::{ModuleHash, Serial};
use crate::store::{RoomFacts, StoreError};
use crate::turn::Output;

/// Which clients of a room an operator wants to see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Those who came after this one.
    pub(crate) after: Option<Serial>,
    /// At most so many.
    pub(crate) clients_max: usize,
    /// And about so many bytes of their addresses and states, but at least one.
    pub(crate) bytes_max: usize,
}

/// What only the room itself can tell.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// The code that its next event meets.
    pub(crate) module: ModuleHash,
    /// The clients of the window.
    pub(crate) clients: Vec<Client>,
    /// True if others came after them.
    pub(crate) more: bool,
    /// Events that wait before it.
    pub(crate) waiting: usize,
    /// Bytes that it has said and the disk has not confirmed.
    pub(crate) held_bytes: usize,
    /// What is stored for it.
    pub(crate) facts: RoomFacts,
}

impl Actor {
    pub(super) fn inspection(&self, window: Window) -> Inspection {
        let mut clients = self.turns.outlet.roster.clients(window.after).peekable();
        let (mut shown, mut bytes) = (Vec::new(), 0);
        while shown.len() < window.clients_max
            && let Some(client) = clients.next_if(|client| {
                bytes += client.connection.uri.len() + client.connection.state.len();
                bytes <= window.bytes_max || shown.is_empty()
            })
        {
            shown.push(client);
        }
        Inspection {
            module: self.turns.module(),
            clients: shown,
            more: clients.peek().is_some(),
            waiting: self.behind + self.mailbox.len(),
            held_bytes: self.turns.outlet.held_bytes(),
            facts: self.turns.store.facts(),
        }
    }

    /// Closes a connection, behind what was said to it. The guest hears of it when its socket has ended.
    /// False if nobody has this id.
    pub(super) fn kick(&mut self, id: &str, frame: CloseFrame) -> bool {
        let outlet = &mut self.turns.outlet;
        let Some(to) = outlet.roster.by_id(id).filter(|c| c.link == Link::Open).map(|c| c.serial)
        else {
            return false;
        };
        outlet.roster.retire(to);
        self.turns.say(Output::Close { to, frame });
        true
    }

    /// Changes a key between two turns. What the guest remembers may be wrong then, so its instance goes,
    /// and the next event meets one that has read what is there; and if it had failed too often, it may
    /// have been because of what was changed.
    pub(super) async fn edit(&mut self, edit: Edit, reply: EditReply) -> Result<(), StoreError> {
        let (writes, was_there) = match edit.writes(&self.turns.store, &self.turns.parts.limits)? {
            Ok(changed) => changed,
            Err(refusal) => {
                // Who does not wait any more needs no answer.
                drop(reply.send(Ok(Err(refusal))));
                return Ok(());
            }
        };
        let offset = match writes.is_empty() {
            true => None,
            false => {
                self.turns.rest();
                self.turns.forgive();
                self.failed_start = None;
                let note = self.turns.note();
                Some(self.turns.store.commit(writes, ModuleHash::NONE, note).await?)
            }
        };
        self.turns.outlet.answer(offset, Reply::Edited(Due::new(reply, Ok(Ok(was_there)))));
        Ok(())
    }
}
