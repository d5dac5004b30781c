//! Connections whose clients are away. Owns the step from a lost transport to the next one.
//!
//! Invariant: a connection that gets a new transport gets what the log has for it in the same step, so that no message
//! comes between or twice. A connection is away at most once and until one time. It does not know who decides that a
//! client is gone.

use super::super::outbound::{KeptLog, LogEntry, LogSummary, OutboundLog, SharedLog};
use super::super::outbox::OutboxSender;
use super::super::returning::{
    Absence, AbsenceMarks, ClientArrival, ClientMark, Gap, Greeting, ReturnTicket, ReturningClient,
    Welcome, may_return, superseded,
};
use super::super::turns::RoomParts;
use super::{ClientRoute, NumberedOutputs, Roster};
use room_core::clock::Clock;
use room_core::config::Retention;
use room_core::connection::{Connection, Link, Transport};
use room_core::event::Ending;
use room_core::id::{ConnectionId, ConnectionSecret, SequenceNumber, Serial};
use room_core::identity::{Capabilities, Identity};
use room_core::limits::ms;
use room_core::metrics::GaugeShare;
use room_core::turn::History;
use room_store::OutboundChange;
use std::sync::Arc;
use tokio::time::Instant;

/// A connection that a client may have again, and what it missed.
pub(in super::super) struct Return {
    serial: Serial,
    /// The id that its client named.
    since: SequenceNumber,
    missed: Vec<Arc<LogEntry>>,
}

impl Roster {
    /// Follows the party's settings. Without any, nothing is remembered, and clients that are away do not come back.
    /// `keeps` makes the stored part of a log that becomes durable.
    pub(in super::super) fn remember(
        &mut self,
        retention: Option<Retention>,
        before: SequenceNumber,
        (parts, now_ms): (&RoomParts, u64),
        keeps: impl FnOnce() -> KeptLog,
    ) {
        match (retention, &mut self.log) {
            (Some(retention), Some(log)) => log.lock().set_retention(retention, now_ms),
            (Some(retention), none) => {
                let log = OutboundLog::new(before, retention, &parts.history);
                *none = Some(SharedLog::new(log));
            }
            (None, log) => *log = None,
        }
        if let Some(log) = &self.log {
            let (mut log, wants) = (log.lock(), retention.is_some_and(Retention::is_durable));
            if wants != log.is_kept() {
                log.keep(wants.then(keeps), None);
                for connection in self.connections.all().filter(|_| wants) {
                    let line = self.outboxes.get_mut(&connection.serial);
                    if let Some(ticket) = line.and_then(|line| line.ticket.as_mut()) {
                        let identity = connection.identity.as_ref();
                        ticket.mark = ticket.secret.map(|own| ClientMark::of(own, identity));
                    }
                }
            }
        }
        if self.resume_ms() == 0 {
            let absent: Vec<_> = self.absent.iter().map(|(_, serial)| *serial).collect();
            absent.into_iter().for_each(|serial| self.cut_absence(serial));
        }
    }

    /// Returns what turns may read of the room's messages; `None` if nothing is remembered.
    pub(in super::super) fn history(&self, clock: Clock) -> Option<Arc<dyn History>> {
        let log = self.log.as_ref()?;
        log.lock().prune(clock.wall_ms());
        Some(log.clone())
    }

    /// Makes the ticket of a new client; `None` if it will neither come back nor be told anything.
    pub(in super::super) fn ticket(
        &self,
        (secret, identity): (Option<ConnectionSecret>, Option<&Identity>),
        greeting: Greeting,
    ) -> Option<Box<ReturnTicket>> {
        let is_needed = secret.is_some() || greeting.rewind.is_some();
        is_needed.then(|| {
            let mark = secret.filter(|_| self.is_kept());
            let mark = mark.map(|secret| ClientMark::of(secret, identity));
            let (sent, continues) = (SequenceNumber::default(), greeting.former.is_some());
            let (transport, greeting) = (0, Some(greeting));
            let (absence, closing) = (None, None);
            Box::new(ReturnTicket {
                secret,
                transport,
                sent,
                greeting,
                absence,
                closing,
                mark,
                continues,
            })
        })
    }

    /// Tells a client that is in what it has to know, and sends it what it asked for of the time before.
    pub(in super::super) fn greet(&mut self, serial: Serial, clock: Clock) {
        let (resume_ms, continues) = (self.resume_ms(), self.is_kept());
        let (Some(connection), Some(ClientRoute { outbox, ticket: Some(ticket), .. })) =
            (self.connections.get(serial), self.outboxes.get_mut(&serial))
        else {
            return;
        };
        let Some(Greeting { mut gap, rewind, former }) = ticket.greeting.take() else { return };
        let mut at = self.log.as_ref().map(|log| log.lock().position());
        let (mut before, mut arrival): (Vec<_>, _) = (Vec::new(), ClientArrival::New);
        if let Some(since) = former {
            let mut log = self.log.as_ref().map(|log| log.lock());
            let missed = match (&mut log, ticket.mark) {
                (Some(log), Some(mark)) => log
                    .since(since, clock.wall_ms())
                    .map(|missed| missed.filter(|entry| entry.was_for(connection, mark)))
                    .map(|missed| missed.cloned().collect()),
                // The party has given up its log in the meantime.
                _ => Err(Gap::UnknownConnection),
            };
            match missed {
                Ok(missed) => {
                    (before, at, arrival) = (missed, Some(since), ClientArrival::Continued);
                }
                Err(missing) => (gap, ticket.continues) = (Some(missing), false),
            }
        }
        ticket.sent = before.last().map(|entry| entry.number()).or(at).unwrap_or_default();
        if let (Some(rewind), Some(log)) = (rewind, &self.log) {
            match log.lock().rewound(rewind, connection, clock.wall_ms()) {
                Ok(entries) => before = entries,
                Err(missing) => gap = gap.or(Some(missing)),
            }
        }
        if let Some(secret) = ticket.secret {
            let (connection, arrival) =
                (connection.id.clone(), gap.map_or(arrival, ClientArrival::Gap));
            outbox.welcome(Welcome { connection, secret, resume_ms, continues, at, arrival });
        }
        before.iter().for_each(|entry| outbox.send_entry(entry));
    }

    /// Returns true if this is the transport that the connection has.
    pub(in super::super) fn has_transport(&self, serial: Serial, transport: u32) -> bool {
        let own = self.outboxes.get(&serial).and_then(|line| line.ticket.as_ref());
        own.is_none_or(|ticket| ticket.transport == transport)
    }

    /// Returns true if the client of this connection is away.
    pub(in super::super) fn is_away(&self, serial: Serial) -> bool {
        self.outboxes.get(&serial).is_some_and(ClientRoute::is_away)
    }

    /// Notes that a client lost its transport. Returns false if its connection ends with that.
    pub(in super::super) fn suspend(
        &mut self,
        serial: Serial,
        ending: &Ending,
        parts: &RoomParts,
    ) -> bool {
        let resume_ms = self.resume_ms();
        if resume_ms == 0 || !self.may_be_fetched(serial) || !may_return(ending) {
            return false;
        }
        let Some(connection) = self.connections.get(serial) else { return false };
        let mut permit = parts.history.permit();
        if !permit.cover(held_bytes(connection)) {
            return false;
        }
        let position = self.position();
        let Some(ticket) = self.outboxes.get_mut(&serial).and_then(|line| line.ticket.as_mut())
        else {
            return false;
        };
        if ticket.secret.is_none() || ticket.greeting.is_some() {
            return false;
        }
        let away_ms = match ticket.closing {
            Some(_) => resume_ms.min(parts.limits.close_ms_max),
            None => resume_ms,
        };
        let until = Instant::now() + ms(away_ms);
        let marks = AbsenceMarks { sent: ticket.sent, position };
        let _counted = GaugeShare::of(&parts.metrics.suspended);
        ticket.absence = Some(Absence { until, marks, _permit: permit, _counted });
        self.absent.insert((until, serial));
        true
    }

    /// Looks for the connection of a client that comes back.
    ///
    /// # Errors
    /// [`Gap`]: it cannot have its connection again.
    pub(in super::super) fn returning(
        &mut self,
        (id, identity): (&ConnectionId, Option<&Identity>),
        client: ReturningClient,
        now_ms: u64,
    ) -> Result<Return, Gap> {
        let Self { connections, outboxes, log, .. } = self;
        let connection = connections.by_id(id.as_str()).ok_or(Gap::UnknownConnection)?;
        // A client that has the secret of another one does not get in with a token of its own.
        let is_same = match (&connection.identity, identity) {
            (Some(own), Some(other)) => own.is_client_of(other),
            (own, other) => own.is_none() && other.is_none(),
        };
        if !is_same {
            return Err(Gap::UnknownConnection);
        }
        let ticket = outboxes.get(&connection.serial).and_then(|line| line.ticket.as_ref());
        let ticket = ticket.ok_or(Gap::UnknownConnection)?;
        if connection.link != Link::Open && ticket.closing.is_none() {
            return Err(Gap::UnknownConnection);
        }
        if ticket.greeting.is_some() || !client.secret.is_some_and(|own| ticket.is_owned_by(own)) {
            return Err(Gap::UnknownConnection);
        }
        let mut log = log.as_ref().map(|log| log.lock()).ok_or(Gap::UnknownConnection)?;
        if log.retention().resume_ms == 0 {
            return Err(Gap::UnknownConnection);
        }
        let marks = match &ticket.absence {
            Some(absence) => absence.marks,
            None => AbsenceMarks { sent: ticket.sent, position: log.position() },
        };
        let missed = log.since(marks.cursor(client.since), now_ms)?;
        // What its former connection was sent, if it has continued one and was lost before it had all of that.
        let former = ticket.mark.filter(|_| ticket.continues);
        let own = |entry: &&Arc<LogEntry>| {
            entry.is_for(connection) || former.is_some_and(|mark| entry.was_for(connection, mark))
        };
        let missed = missed.filter(own).cloned().collect();
        Ok(Return { serial: connection.serial, since: client.since, missed })
    }

    /// Looks whether a client that cannot have its connection again, for this reason, can continue it with a new one: a
    /// stored log has everything that was sent to it. What is another client's it does not get, whatever secret it has.
    ///
    /// # Errors
    /// [`Gap`]: it cannot.
    pub(in super::super) fn continues(
        &self,
        client: ReturningClient,
        otherwise: Gap,
        now_ms: u64,
    ) -> Result<(), Gap> {
        let log = self.log.as_ref().filter(|_| client.secret.is_some()).ok_or(otherwise)?;
        let mut log = log.lock();
        if !log.is_kept() {
            return Err(otherwise);
        }
        log.since(client.since, now_ms).map(|_| ())
    }

    /// Adds a turn's messages to a stored log, before its commit, and returns what the commit changes of the log. Of a log
    /// that memory alone has, and of a turn that changes nothing of the log and does not commit, it returns `None`.
    pub(in super::super) fn remember_said(
        &mut self,
        said: &mut NumberedOutputs,
        commits: bool,
        now_ms: u64,
    ) -> Option<Box<OutboundChange>> {
        let mut log = self.log.as_ref()?.lock();
        if !log.is_kept() {
            return None;
        }
        let mark_of = |serial| self.outboxes.get(&serial)?.ticket.as_ref()?.mark;
        let numbered = (said.first, &said.outputs[..]);
        said.entries = log.append_marked(numbered, self.connections.newest(), now_ms, mark_of);
        // A room that nobody can come back to stores nothing for a visit.
        let mut tickets = self.outboxes.values().filter_map(|line| line.ticket.as_ref());
        let begins = log.has_to_begin() && tickets.any(|ticket| ticket.mark.is_some());
        let has_to = commits || begins || !said.entries.is_empty();
        if has_to { log.take_change(&said.entries) } else { None }
    }

    /// Gives a connection to a new transport, and sends what it missed. Returns its serial and the transport's number.
    pub(in super::super) fn resume(
        &mut self,
        Return { serial, since, missed }: Return,
        (identity, carried): (Option<Identity>, Transport),
        outbox: OutboxSender,
    ) -> Option<(Serial, u32)> {
        self.end_absence(serial);
        let (resume_ms, continues) = (self.resume_ms(), self.is_kept());
        // A client that comes back with a newer token has its claims and what it may do from now on.
        let hears = Identity::capabilities_of(identity.as_ref()).has(Capabilities::READ);
        let own = self.edit().get_mut(serial)?;
        (own.identity, own.transport) = (identity, carried);
        let connection = own.id.clone();
        let line = self.outboxes.get_mut(&serial)?;
        line.hears = hears;
        let ticket = line.ticket.as_mut()?;
        let (secret, arrival) = (ticket.secret?, ClientArrival::Resumed);
        ticket.transport = ticket.transport.wrapping_add(1);
        let before = std::mem::replace(&mut line.outbox, outbox);
        before.close(superseded());
        let at = Some(since);
        line.outbox.welcome(Welcome { connection, secret, resume_ms, continues, at, arrival });
        if hears {
            missed.iter().for_each(|entry| line.outbox.send_entry(entry));
        }
        if let Some(frame) = &ticket.closing {
            line.outbox.close(frame.clone());
        }
        Some((serial, ticket.transport))
    }

    /// Returns when the next connection ends whose client is away.
    pub(in super::super) fn next_absence(&self) -> Option<Instant> {
        self.absent.first().map(|(until, _)| *until)
    }

    /// Returns true if the client of a connection has been away for too long.
    pub(in super::super) fn has_overdue(&self) -> bool {
        self.absent.first().is_some_and(|(until, _)| *until <= Instant::now())
    }

    /// Takes the next connection whose client has been away for too long.
    pub(in super::super) fn take_overdue(&mut self) -> Option<Serial> {
        let (until, serial) = *self.absent.first()?;
        if until > Instant::now() {
            return None;
        }
        self.end_absence(serial);
        Some(serial)
    }

    /// Returns how long a client may be away, in milliseconds.
    fn resume_ms(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.lock().retention().resume_ms)
    }

    /// Returns true if the store has the log, too.
    pub(in super::super) fn is_kept(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.lock().is_kept())
    }

    fn position(&self) -> SequenceNumber {
        self.log.as_ref().map(|log| log.lock().position()).unwrap_or_default()
    }

    /// Returns what an operator sees of the log; `None` if the room has none.
    pub(in super::super) fn log_summary(&self) -> Option<LogSummary> {
        self.log.as_ref().map(|log| log.lock().summary(self.absent.len()))
    }

    /// Forgets that a client is away.
    pub(super) fn end_absence(&mut self, serial: Serial) {
        if self.absent.is_empty() {
            return;
        }
        let ticket = self.outboxes.get_mut(&serial).and_then(|line| line.ticket.as_mut());
        if let Some(absence) = ticket.and_then(|ticket| ticket.absence.take()) {
            self.absent.remove(&(absence.until, serial));
        }
    }

    /// Lets a connection whose client is away end now.
    pub(super) fn cut_absence(&mut self, serial: Serial) {
        if self.absent.is_empty() {
            return;
        }
        let ticket = self.outboxes.get_mut(&serial).and_then(|line| line.ticket.as_mut());
        if let Some(absence) = ticket.and_then(|ticket| ticket.absence.as_mut()) {
            self.absent.remove(&(absence.until, serial));
            absence.until = Instant::now();
            self.absent.insert((absence.until, serial));
        }
    }
}

/// Returns what a connection without a transport occupies, in bytes.
fn held_bytes(connection: &Connection) -> usize {
    let tags: usize = connection.tags.iter().map(|tag| tag.len() + size_of::<String>()).sum();
    let texts = connection.id.as_str().len() + connection.uri.len();
    texts + tags + connection.state.len() + size_of::<Connection>() + size_of::<ClientRoute>()
}
