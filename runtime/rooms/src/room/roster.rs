//! The clients of one room and the queues behind them. Owns the recipients of every output.
//!
//! Invariant: a broadcast reaches the connections that were open when its turn committed, once and in order,
//! and no connection that came later. It does not know when an output may leave.

mod absence;
mod closing;
mod deliveries;
mod fleeting;
mod presence;
mod users;

pub(super) use absence::Return;

use super::RoomError;
use super::deliveries::DeliveredIds;
use super::exchanges::Exchanges;
use super::figures::RoomFigures;
use super::outbound::{LogEntry, SharedLog};
use super::outbox::OutboxSender;
use super::rates::{ConnectionMeters, RoomRates};
use super::replacements::Replacements;
use super::returning::ReturnTicket;
use crate::taps::{OutputReceivers, RoomTap};
use hashbrown::HashMap;
use room_core::connection::{Connection, Connections, Link};
use room_core::event::{CloseFrame, Ending, Message};
use room_core::id::{ConnectionId, ConnectionSecret, SequenceNumber, Serial};
use room_core::identity::{Capabilities, Identity};
use room_core::limits::Limits;
use room_core::limits::fixed::DEPARTED_MAX;
use room_core::turn::{Effects, Output, Tags, is_meant_for};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;
use users::ConnectedUsers;

/// The connected clients, and the ways to reach them.
pub(super) struct Roster {
    connections: Arc<Connections>,
    /// Connections off the list, to which the gate may still hold outputs of their time.
    leaving: BTreeMap<Serial, Box<Connection>>,
    outboxes: HashMap<Serial, ClientRoute>,
    /// What the room has sent, if its party remembers it.
    pub(super) log: Option<Arc<SharedLog>>,
    /// The connections whose clients are away, and when they end.
    absent: BTreeSet<(Instant, Serial)>,
    /// The connections with a secret that ended last, the oldest first.
    departed: VecDeque<(ConnectionId, ConnectionSecret)>,
    /// The secret of no connection.
    nobodys: ConnectionSecret,
    figures: Arc<RoomFigures>,
    tap: Arc<RoomTap>,
    /// How many connections each user has.
    pub(super) users: ConnectedUsers,
    /// For how long a client may take to fetch a close.
    close_ms_max: u64,
}

/// The way to a client.
struct ClientRoute {
    outbox: OutboxSender,
    /// With which its client may come back, if its transport or its party has anything to do with that.
    ticket: Option<Box<ReturnTicket>>,
    /// When the client was admitted, in milliseconds since 1970.
    since_ms: u64,
    replacements: Replacements,
    /// Whether it gets what the room sends.
    hears: bool,
    /// The meters of its posts, from the first one that a rate bounds.
    meters: Option<Box<ConnectionMeters>>,
    /// The ids of the messages that it has sent, from the first one with an id.
    delivered: Option<Box<DeliveredIds>>,
}

/// Outputs in the order in which they leave.
#[derive(Default)]
pub(super) struct NumberedOutputs {
    /// The number of the first one. Each further one has the next number.
    pub(super) first: SequenceNumber,
    pub(super) outputs: Vec<Output>,
    /// The entries of the room's log for those that are messages to connections, in the same order. Empty without a log.
    pub(super) entries: Vec<Arc<LogEntry>>,
}

/// The way to a client that is being admitted.
pub(super) struct ArrivingClient {
    pub(super) outbox: OutboxSender,
    pub(super) ticket: Option<Box<ReturnTicket>>,
    /// When the client is admitted, in milliseconds since 1970.
    pub(super) since_ms: u64,
    /// What the client knows of earlier connections with its id.
    pub(super) replacements: Replacements,
}

/// A client as an operator sees it.
#[derive(Debug)]
pub struct ConnectionSummary {
    /// Its connection, with tags and state.
    pub connection: Connection,
    /// When it was admitted, in milliseconds since 1970.
    pub since_ms: u64,
    /// Messages that wait for its socket.
    pub lag_messages: usize,
    /// Their bytes.
    pub lag_bytes: usize,
    /// True if its client is away and may come back.
    pub is_away: bool,
}

impl ClientRoute {
    /// Sends a message, with its id if the room's log remembers it.
    #[inline]
    fn send(&mut self, message: &Message, entry: Option<&Arc<LogEntry>>) {
        let Some(entry) = entry else { return self.outbox.send(message) };
        self.outbox.send_entry(entry);
        if let Some(ticket) = &mut self.ticket {
            ticket.sent = entry.number();
        }
    }

    fn is_away(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.absence.is_some())
    }
}

impl Roster {
    /// Makes an empty roster.
    pub(super) fn new(
        figures: Arc<RoomFigures>,
        tap: Arc<RoomTap>,
        log: Option<Arc<SharedLog>>,
        limits: &Limits,
    ) -> Self {
        let (connections, leaving, outboxes, absent, departed) = Default::default();
        let nobodys = ConnectionSecret::random();
        Self {
            connections,
            leaving,
            outboxes,
            log,
            absent,
            departed,
            nobodys,
            figures,
            tap,
            users: ConnectedUsers::new(limits),
            close_ms_max: limits.close_ms_max,
        }
    }

    /// Returns the clients that came after this one, in the order in which they came.
    pub(super) fn clients(&self, after: Option<Serial>) -> impl Iterator<Item = ConnectionSummary> {
        self.connections.after(after).filter_map(|connection| {
            let line = self.outboxes.get(&connection.serial)?;
            let (lag_messages, lag_bytes) = line.outbox.lag();
            let (connection, since_ms) = (connection.clone(), line.since_ms);
            let is_away = line.is_away();
            Some(ConnectionSummary { connection, since_ms, lag_messages, lag_bytes, is_away })
        })
    }

    /// Returns the connections, for a turn to read.
    pub(super) fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }

    pub(super) fn get(&self, serial: Serial) -> Option<&Connection> {
        self.connections.get(serial)
    }

    /// Returns the open connection with this id, if this is its secret.
    ///
    /// # Errors
    /// [`RoomError::NotYours`], whether there is no such connection or it has another secret or none.
    /// [`RoomError::ReadOnly`] if its client may not send. [`RoomError::Over`] if the connection has ended, and not long ago.
    pub(super) fn owner(&self, id: &str, secret: ConnectionSecret) -> Result<Serial, RoomError> {
        let listed = self.by_id(id);
        let own = listed.and_then(|own| self.outboxes.get(&own.serial)?.ticket.as_ref()?.secret);
        // One comparison in any case: the time says nothing about the connection.
        let is_own = own.unwrap_or(self.nobodys).is(secret);
        match listed {
            Some(connection) if is_own => match connection.link {
                Link::Open => {
                    let may = Identity::capabilities_of(connection.identity.as_ref());
                    match may.has(Capabilities::WRITE) {
                        true => Ok(connection.serial),
                        false => Err(RoomError::ReadOnly),
                    }
                }
                Link::Closing => Err(RoomError::Over),
            },
            _ if self.departed.iter().any(|(old, own)| own.is(secret) && old.as_str() == id) => {
                Err(RoomError::Over)
            }
            _ => Err(RoomError::NotYours),
        }
    }

    /// Lets a post of a connection through, if no rate refuses it.
    ///
    /// # Errors
    /// [`RoomError::TooFast`].
    pub(super) fn meter(
        &mut self,
        who: Serial,
        rates: Option<&RoomRates>,
        bytes: usize,
    ) -> Result<(), RoomError> {
        let (Some(rates), Some(line)) = (rates, self.outboxes.get_mut(&who)) else { return Ok(()) };
        let meters = line.meters.get_or_insert_with(|| Box::new(ConnectionMeters::new()));
        Ok(rates.admit(meters, bytes)?)
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Connection> {
        self.connections.by_id(id)
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Adds a client whose id is not in use.
    pub(super) fn join(&mut self, connection: Connection, arrival: ArrivingClient) {
        let ArrivingClient { outbox, ticket, since_ms, replacements } = arrival;
        self.users.enter(&connection);
        let capabilities = Identity::capabilities_of(connection.identity.as_ref());
        let hears = capabilities.has(Capabilities::READ);
        let (meters, delivered) = (None, None);
        let route =
            ClientRoute { outbox, ticket, since_ms, replacements, hears, meters, delivered };
        self.outboxes.insert(connection.serial, route);
        self.edit().insert(connection);
        self.figures.note_connections(self.len());
    }

    /// Returns what a client knows of earlier connections with its id; `None` if the client is not there.
    pub(super) fn replacements(&mut self, serial: Serial) -> Option<&mut Replacements> {
        self.outboxes.get_mut(&serial).map(|line| &mut line.replacements)
    }

    /// Takes a client off the list. Its outbox stays until [`Roster::hang_up`], because the gate may still
    /// hold outputs to it.
    pub(super) fn leave(&mut self, serial: Serial) {
        self.users.leave(serial);
        if let Some(connection) = self.edit().remove(serial)
            && let Some(route) = self.outboxes.get(&serial)
        {
            if let Some(secret) = route.ticket.as_ref().and_then(|ticket| ticket.secret) {
                if self.departed.len() >= DEPARTED_MAX {
                    self.departed.pop_front();
                }
                self.departed.push_back((connection.id.clone(), secret));
            }
            self.leaving.insert(serial, connection);
        }
        self.figures.note_connections(self.len());
    }

    /// Ends a client's outbox, after the queued items.
    pub(super) fn hang_up(&mut self, serial: Serial) {
        self.end_absence(serial);
        self.outboxes.remove(&serial);
        self.leaving.remove(&serial);
    }

    /// Marks a connection as ended, so that it gets nothing more while the guest handles its close. Returns
    /// false if it is not on the list.
    pub(super) fn retire(&mut self, serial: Serial) -> bool {
        let connection = self.edit().get_mut(serial);
        connection.map(|connection| connection.link = Link::Closing).is_some()
    }

    /// Applies a committed turn's changes to the connections. This sends nothing.
    pub(super) fn apply(&mut self, effects: &mut Effects) {
        if effects.states.is_empty() && effects.closed.is_empty() && effects.tags.is_none() {
            return;
        }
        let states = std::mem::take(&mut effects.states);
        let closed = std::mem::take(&mut effects.closed);
        let tags = effects.tags.take();
        let connections = self.edit();
        for (serial, state) in states {
            if let Some(connection) = connections.get_mut(serial) {
                connection.state = state;
            }
        }
        for serial in closed {
            if let Some(connection) = connections.get_mut(serial) {
                connection.link = Link::Closing;
            }
        }
        if let Some(Tags { to, tags }) = tags
            && let Some(connection) = connections.get_mut(to)
        {
            connection.tags = tags;
        }
    }

    /// Returns true if a connection's socket is gone and the room has not handled its end yet.
    pub(super) fn has_left(&self, who: Serial) -> bool {
        self.outboxes.get(&who).is_none_or(|line| line.outbox.is_gone())
    }

    /// Returns the newest serial: no later connection has joined so far.
    pub(super) fn horizon(&self) -> Option<Serial> {
        self.connections.newest()
    }

    /// Sends a turn's outputs; those to open responses go to `exchanges`. `horizon` is the newest connection at the
    /// time of the turn.
    pub(super) fn say(
        &mut self,
        NumberedOutputs { first, outputs, entries }: NumberedOutputs,
        horizon: Option<Serial>,
        exchanges: &mut Exchanges,
    ) {
        let (mut said, mut entries) = (0, entries.into_iter());
        for (at, output) in outputs.into_iter().enumerate() {
            let number = first.after(at as u64);
            match output {
                Output::Send { to, message } => {
                    let entry = entries.next();
                    if let Some(line) = hearing(&mut self.outboxes, to) {
                        line.send(&message, entry.as_ref());
                        said += 1;
                        self.tell(to, |tap, id| {
                            tap.went(number, OutputReceivers::One(id), &message)
                        });
                    }
                }
                Output::Fleeting(fleeting) => said += self.say_fleeting(number, &fleeting, horizon),
                Output::Close { to, frame } => self.close(number, to, frame),
                output @ (Output::Respond { .. } | Output::Write { .. } | Output::End { .. }) => {
                    exchanges.let_out(output);
                }
                Output::Broadcast { message, tag, without } => {
                    let entry = entries.next();
                    // A client that has left since gets the messages before its close frame, and nothing after it.
                    let all = self.connections.all().chain(self.leaving.values().map(Box::as_ref));
                    let heard = all.filter(|connection| {
                        Some(connection.serial) <= horizon
                            && is_meant_for(connection, tag.as_deref(), &without)
                    });
                    let before = said;
                    for connection in heard {
                        if let Some(line) = hearing(&mut self.outboxes, connection.serial) {
                            line.send(&message, entry.as_ref());
                            said += 1;
                        }
                    }
                    if said > before {
                        self.tap.went(number, OutputReceivers::Many(said - before), &message);
                    }
                }
            }
        }
        if said > 0 {
            self.figures.note_sent(said as u64);
        }
    }

    /// Ends one connection after the messages that it got so far. If its client is away and does not poll, it ends at once.
    fn close(&mut self, number: SequenceNumber, to: Serial, frame: CloseFrame) {
        if let Some(line) = self.outboxes.get(&to) {
            self.tell(to, |tap, id| tap.closed(Some(number), OutputReceivers::One(id), &frame));
            line.outbox.close(frame.clone());
        }
        match self.is_polled(to) {
            true => self.keep_goodbye(to, frame),
            false => self.cut_absence(to),
        }
    }

    /// Ends all connections.
    pub(super) fn close_all(&self, frame: &CloseFrame) {
        if !self.outboxes.is_empty() {
            self.tap.closed(None, OutputReceivers::Many(self.outboxes.len()), frame);
        }
        self.outboxes.values().for_each(|line| line.outbox.close(frame.clone()));
    }

    /// Reports to watchers that a client was admitted.
    pub(super) fn opened(&self, who: Serial) {
        self.tell(who, RoomTap::opened);
    }

    /// Reports to watchers how a connection ended.
    pub(super) fn ended(&self, who: Serial, ending: &Ending) {
        self.tell(who, |tap, id| tap.ended(id, ending));
    }

    /// Reports something about a client that is or was on the list to watchers, if there are any.
    fn tell(&self, who: Serial, told: impl FnOnce(&RoomTap, &ConnectionId)) {
        if !self.tap.may_be_watched() {
            return;
        }
        if let Some(connection) = self.get(who).or_else(|| self.leaving.get(&who).map(Box::as_ref))
        {
            told(&self.tap, &connection.id);
        }
    }

    /// Returns the connections for a change. The turn has dropped its reference by then, so nothing is
    /// copied.
    fn edit(&mut self) -> &mut Connections {
        Arc::make_mut(&mut self.connections)
    }
}

/// Returns the way to a client that gets what the room sends.
fn hearing(outboxes: &mut HashMap<Serial, ClientRoute>, who: Serial) -> Option<&mut ClientRoute> {
    outboxes.get_mut(&who).filter(|line| line.hears)
}
