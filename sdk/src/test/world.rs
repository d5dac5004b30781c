//! What the mock host holds for one room: everything but the room's own struct.
//!
//! Owns storage, alarm, connections, clock, log and what clients received. Invariant: between a
//! [`World::begin`] and its [`World::roll_back`] every change is in the journal, so that a failed turn
//! leaves no trace; what was sent is held until [`World::commit`]. It does not know callbacks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::fetches::OtherServers;
use super::history::Memory;
use super::limits;
use super::outcalls::{Outcalls, PendingAnswer};
use super::presence::Users;
use super::replacements::Replacements;
use super::streams::Streams;
use super::timers::{DeliveredTimer, Ticks, Timers};
use super::turn::{Output, Turn, Undo};
use crate::connection::{Close, Transport};
use crate::delivery::Delivery;
use crate::error::ConnectionError;
use crate::host::{ConnectionData, IdentityRecord, OutcallRecord};
use crate::http::{Header, Response};
use crate::log::Level;
use crate::message::Message;

pub(super) type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) party: String,
    pub(super) name: String,
    pub(super) vars: BTreeMap<String, String>,
    pub(super) now_ms: u64,
    pub(super) storage: Keys,
    /// Of the keys and values in `storage`.
    pub(super) stored_bytes: u64,
    pub(super) alarm: Option<Pending>,
    /// The failed tries of the alarm that `on_alarm` is about.
    pub(super) alarm_tries: u32,
    /// The response of the running request if its callback fails.
    pub(super) refusal: Option<Response>,
    /// The headers that the running hook has added to its client's answer; none outside of the hooks before a room.
    pub(super) added: Option<Vec<Header>>,
    pub(super) timers: Timers,
    /// Of the tags and data in `timers`.
    pub(super) timers_bytes: usize,
    /// How many timers were ever scheduled: the number of the last one.
    pub(super) timers_made: u64,
    /// The timer that is being delivered.
    pub(super) delivered: Option<DeliveredTimer>,
    /// The ticks, while the room is in memory.
    pub(super) ticks: Option<Ticks>,
    /// The requests that wait for an answer.
    pub(super) outcalls: Outcalls,
    /// How many requests were ever made: the number of the last one.
    pub(super) outcalls_made: u64,
    /// Answers that have had no successful turn yet.
    pub(super) answers: Vec<PendingAnswer>,
    /// The request whose answer is being delivered.
    pub(super) answering: Option<(u64, OutcallRecord)>,
    /// The parties and names of the rooms that the project stores.
    pub(super) others: BTreeSet<(String, String)>,
    /// How many calls the test made.
    pub(super) calls_made: u64,
    /// The open responses, and what their clients got.
    pub(super) streams: Streams,
    /// The open connections, in the order they joined.
    pub(super) links: Vec<Link>,
    /// What each client that ever connected got; a [`Link`] and a client find theirs by index.
    pub(super) clients: Vec<Inbox>,
    /// Connections that ended and whose `on_close` is still to run.
    pub(super) ended: VecDeque<Ended>,
    /// What the room has sent to all, and to tags.
    pub(super) memory: Memory,
    /// Who is present, if the test wants that kept.
    pub(super) users: Option<Users>,
    /// Who the clients of connections are, by the connection's id.
    pub(super) identities: BTreeMap<String, IdentityRecord>,
    /// How many tickets were made: the number of the last one.
    pub(super) tickets_made: u64,
    /// The numbers of the tickets of single use that were used.
    pub(super) tickets_used: BTreeSet<u64>,
    pub(super) logs: Vec<LogLine>,
    /// The servers that hooks fetch from.
    pub(super) other_servers: OtherServers,
    /// True while `on_expire` runs.
    pub(super) ends: bool,
    pub(super) turn: Option<Turn>,
    /// The ended connection that `on_close` is about, found as long as that runs.
    pub(super) about: Option<ConnectionData>,
    /// The transport of the last connection of each id, where that is no WebSocket.
    pub(super) transports: BTreeMap<String, Transport>,
    /// What the room may store; none for the default.
    pub(super) room_bytes_max: Option<u64>,
}

/// An alarm that is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// When it is tried; later than the room set it once it failed.
    pub(super) due_ms: u64,
    pub(super) failures: u32,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) data: ConnectionData,
    pub(super) client: usize,
    pub(super) phase: Phase,
    pub(super) replacements: Replacements,
}

/// A link is closing from the moment its room closed it until the turn commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Closing,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) received: VecDeque<(Message, Delivery)>,
    pub(super) closed: Option<Close>,
    pub(super) response: Option<crate::Response>,
    /// What the hook added to the answer of its handshake.
    pub(super) headers: Vec<Header>,
    /// True if its ticket does not let it hear what the room sends.
    pub(super) is_deaf: bool,
    /// True if its ticket does not let it send.
    pub(super) is_mute: bool,
}

#[derive(Debug)]
pub(super) struct Ended {
    pub(super) data: ConnectionData,
    pub(super) close: Close,
}

/// A line of the room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How important it is.
    pub level: Level,
    /// The text.
    pub message: String,
    /// Names and values that belong to it.
    pub fields: Vec<(String, String)>,
}

impl World {
    /// Starts a turn.
    pub(super) fn begin(&mut self) {
        self.end_presence();
        self.turn = Some(Turn::default());
    }

    /// Ends the turn and lets its effects out.
    pub(super) fn commit(&mut self) {
        let outputs = self.turn.take().map(|turn| turn.outputs).unwrap_or_default();
        for output in outputs {
            match output {
                // A closed connection receives nothing more.
                Output::Send { client, .. }
                    if self.clients[client].closed.is_some() || self.clients[client].is_deaf => {}
                Output::Send { client, message, delivery } => {
                    self.clients[client].received.push_back((message, delivery));
                }
                Output::Sent { tag, message } => self.memory.note(self.now_ms, tag, message),
                Output::Close { client, close } => self.end(client, close),
                Output::Stream(output) => self.streams.let_out(output),
            }
        }
    }

    /// Ends the turn as if it had not been.
    pub(super) fn roll_back(&mut self) {
        if let Some(turn) = self.turn.take() {
            self.undo(turn.journal);
        }
    }

    /// Undoes what the turn did since a savepoint.
    pub(super) fn roll_back_to(&mut self, number: u32) {
        let turn = self.turn_mut();
        let savepoint = turn.take_mark(number);
        let journal = turn.forget_since(savepoint);
        self.undo(journal);
    }

    fn undo(&mut self, journal: Vec<Undo>) {
        for undo in journal.into_iter().rev() {
            match undo {
                Undo::Key { key, old } => drop(self.store(key, old)),
                Undo::AllKeys(keys) => drop(self.store_all(keys)),
                Undo::Alarm(old) => self.alarm = old,
                Undo::Timer { number, old } => drop(self.replace_timer(number, old)),
                Undo::Outcall { number, old } => drop(self.replace_outcall(number, old)),
                Undo::Ticks(old) => self.ticks = old,
                Undo::Stream { number, old } => drop(self.streams.set(number, old)),
                Undo::State { client, old } => {
                    if let Some(link) = self.link_of(client) {
                        link.data.state = old;
                    }
                }
                Undo::StateOfEnded(old) => {
                    if let Some(about) = &mut self.about {
                        about.state = old;
                    }
                }
                Undo::Presence { user, old } => drop(self.replace_shown(&user, old)),
                Undo::Closing { client } => {
                    if let Some(link) = self.link_of(client) {
                        link.phase = Phase::Open;
                    }
                }
            }
        }
    }

    /// Sets or removes a key, and returns its previous value.
    pub(super) fn store(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let length = key.len();
        let bytes = |value: &Option<Vec<u8>>| {
            value.as_ref().map_or(0, |value| (length + value.len()) as u64)
        };
        self.stored_bytes += bytes(&value);
        let old = match value {
            Some(value) => self.storage.insert(key, value),
            None => self.storage.remove(&key),
        };
        self.stored_bytes -= bytes(&old);
        old
    }

    /// Replaces all stored data, and returns the previous data.
    pub(super) fn store_all(&mut self, keys: Keys) -> Keys {
        let sizes = keys.iter().map(|(key, value)| (key.len() + value.len()) as u64);
        self.stored_bytes = sizes.sum();
        std::mem::replace(&mut self.storage, keys)
    }

    /// Ends a client's connection, if it has one: it sees the close, and `on_close` will run.
    pub(super) fn end(&mut self, client: usize, close: Close) {
        let Some(at) = self.links.iter().position(|link| link.client == client) else {
            return;
        };
        let data = self.links.remove(at).data;
        self.count_user(&data.id);
        self.clients[client].closed.get_or_insert_with(|| close.clone());
        self.ended.push_back(Ended { data, close });
    }

    pub(super) fn link_of(&mut self, client: usize) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.client == client)
    }

    /// The open connections that the room sees, or those with a tag. The id is a tag, too.
    pub(super) fn open<'a>(&'a self, tag: Option<&'a str>) -> impl Iterator<Item = &'a Link> {
        self.links.iter().filter(move |link| {
            link.phase == Phase::Open
                && tag.is_none_or(|tag| {
                    link.data.id == tag || link.data.tags.iter().any(|t| t == tag)
                })
        })
    }

    pub(super) fn open_by_id(&mut self, id: &str) -> Result<&mut Link, ConnectionError> {
        let mut links = self.links.iter_mut();
        links
            .find(|link| link.data.id == id && link.phase == Phase::Open)
            .ok_or(ConnectionError::NotFound)
    }

    /// True if the connection with this id was closed, and the room has not handled all events of its end yet.
    pub(super) fn is_closed(&self, id: &str) -> bool {
        let closing = self.links.iter().map(|link| &link.data);
        let ended = self.ended.iter().map(|ended| &ended.data);
        closing.chain(ended).chain(&self.about).any(|data| data.id == id)
    }

    /// Counts one send, broadcast or close of the turn.
    pub(super) fn count_output(&mut self) -> Result<(), ConnectionError> {
        let turn = self.turn_mut();
        if turn.sends >= limits::TURN_SENDS_MAX {
            return Err(limits::too_many_sends("turn_sends_max", limits::TURN_SENDS_MAX));
        }
        turn.sends += 1;
        Ok(())
    }

    /// Holds a message for clients until the turn commits. It counts once, for however many it is.
    pub(super) fn hold(
        &mut self,
        clients: &[usize],
        message: &Message,
        delivery: &Delivery,
    ) -> Result<(), ConnectionError> {
        limits::check_message(message)?;
        self.count_bytes(message.as_bytes().len())?;
        let turn = self.turn_mut();
        let sends = clients.iter().map(|&client| {
            let (message, delivery) = (message.clone(), delivery.clone());
            Output::Send { client, message, delivery }
        });
        turn.outputs.extend(sends);
        Ok(())
    }

    /// Holds a message for the open connections, or those with a tag, but for some. The room's memory has it if it is
    /// reliable.
    pub(super) fn broadcast(
        &mut self,
        (message, delivery): (Message, &Delivery),
        tag: Option<&str>,
        without: &[String],
    ) -> Result<(), ConnectionError> {
        if tag.is_some_and(|tag| tag.len() > limits::TAG_BYTES_MAX) {
            // Nobody carries such a tag.
            return Ok(());
        }
        let clients = self.open(tag).filter(|link| !without.contains(&link.data.id));
        let clients: Vec<usize> = clients.map(|link| link.client).collect();
        self.hold(&clients, &message, delivery)?;
        if *delivery == Delivery::Reliable {
            let tag = tag.map(str::to_owned);
            self.turn_mut().outputs.push(Output::Sent { tag, message });
        }
        Ok(())
    }

    /// Counts one output of the turn with its bytes.
    pub(super) fn count_bytes(&mut self, bytes: usize) -> Result<(), ConnectionError> {
        let turn = self.turn_mut();
        if turn.sends < limits::TURN_SENDS_MAX
            && turn.send_bytes + bytes > limits::TURN_SEND_BYTES_MAX
        {
            let max = limits::TURN_SEND_BYTES_MAX;
            return Err(limits::too_many_sends("turn_send_bytes_max", max));
        }
        self.count_output()?;
        self.turn_mut().send_bytes += bytes;
        Ok(())
    }

    /// The turn that runs.
    pub(super) fn turn_mut(&mut self) -> &mut Turn {
        self.turn.as_mut().expect(
            "a room has storage, connections and an alarm only inside a callback, and none in \
             the hooks before it",
        )
    }
}
