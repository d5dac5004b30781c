//! Requests of an operator to a room in memory. Owns the answers.
//!
//! Invariant: a request calls no guest, wakes none, and does not keep the room in memory longer. It does not
//! know who asks.

use super::super::edit::{Edit, EditReply};
use super::super::exchanges::StreamsSummary;
use super::super::outbound::LogSummary;
use super::super::outlet::{DueOutputs, Reply};
use super::super::roster::ConnectionSummary;
use super::Actor;
use room_core::connection::Link;
use room_core::event::CloseFrame;
use room_core::id::{ModuleHash, Serial};
use room_core::jobs::{JobsSummary, OutcallSummary};
use room_core::turn::Output;
use room_store::{RoomFacts, StoreError};
use std::time::Duration;

/// The part of a room's clients that an operator wants to see.
#[derive(Clone, Copy, Debug)]
pub struct ClientWindow {
    /// The client after which the window starts.
    pub after: Option<Serial>,
    /// The largest number of clients.
    pub clients_max: usize,
    /// About the largest number of bytes of their addresses and states; at least one client is shown.
    pub bytes_max: usize,
}

/// The facts that only the room itself knows.
#[derive(Debug)]
pub struct ActorReport {
    /// The code that gets its next event.
    pub module: ModuleHash,
    /// The bytes of its guest's memory, if it has an instance.
    pub memory_bytes: Option<u64>,
    /// The clients of the window.
    pub clients: Vec<ConnectionSummary>,
    /// True if there are more clients after them.
    pub more: bool,
    /// Mails in its mailbox.
    pub waiting: usize,
    /// Bytes of outputs that its gate holds until the disk confirms their turns.
    pub held_bytes: usize,
    /// Its pending timers, requests and receipts.
    pub jobs: JobsSummary,
    /// The oldest of its requests that wait for an answer.
    pub outcalls: Vec<OutcallSummary>,
    /// The number of its requests that are under way.
    pub running: usize,
    /// The pause of its ticks, if it has any.
    pub ticks: Option<Duration>,
    /// Its open responses.
    pub streams: StreamsSummary,
    /// What it remembers of its messages, if its party says so.
    pub log: Option<LogSummary>,
    /// The number of users that are present, if its party keeps presence.
    pub present: Option<usize>,
    /// Its stored facts.
    pub facts: RoomFacts,
}

/// The number of a room's requests that an operator sees.
const OUTCALLS_SHOWN: usize = 20;

impl Actor {
    pub(super) fn inspection(&self, window: ClientWindow) -> ActorReport {
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
        ActorReport {
            module: self.turns.module(),
            memory_bytes: self.turns.memory_bytes(),
            clients: shown,
            more: clients.peek().is_some(),
            waiting: self.behind + self.mailbox.len(),
            held_bytes: self.turns.outlet.held_bytes(),
            jobs: self.turns.jobs.summary(),
            outcalls: self.turns.jobs.oldest_outcalls(OUTCALLS_SHOWN),
            running: self.turns.outcalls.len(),
            ticks: self.turns.ticks.every(),
            streams: self.turns.outlet.exchanges.summary(),
            log: self.turns.outlet.roster.log_summary(),
            present: self.turns.outlet.presence.as_ref().map(|presence| presence.count()),
            facts: self.turns.store.facts(),
        }
    }

    /// Closes a connection, after the messages that it got so far. The guest gets the close event when the
    /// socket has ended. Returns false if no connection has this id.
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

    /// Changes a key between two turns. The guest's memory may disagree with the store then, so its instance
    /// goes, and a fresh one that reads the store gets the next event. The guest's faults are forgotten,
    /// because the old value may have caused them.
    pub(super) async fn edit(&mut self, edit: Edit, reply: EditReply) -> Result<(), StoreError> {
        let (writes, was_there) = match edit.writes(&self.turns.store, &self.turns.parts.limits)? {
            Ok(changed) => changed,
            Err(refusal) => {
                // A caller that has left needs no answer.
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
        self.turns.outlet.answer(offset, Reply::Edited(DueOutputs::new(reply, Ok(Ok(was_there)))));
        Ok(())
    }
}
