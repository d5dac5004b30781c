//! The loop of one room. Owns the order of everything that happens in it.
//!
//! Invariant: one event is one turn, and nothing interleaves with a turn: every call of a guest into
//! the host is synchronous or suspends this loop, so this loop *is* the room's input gate. It does
//! not know sockets, nodes or files: events come in by the mailbox, effects leave by the gate.

mod clients;
mod expiry;
mod operator;

pub(crate) use operator::{Inspection, Window};

use super::alarm::next_try;
use super::figures::{FaultRecord, Figures};
use super::mail::{Command, EditOrder, Errand, EventMail, Mail, OrderMail, Parting, Visit};
use super::mailbox::Mailbox;
use super::outlet::{Due, Reply};
use super::places::{Seat, Verdict};
use super::turns::{Committed, Parts, Turns};
use super::{AlarmGuard, Orders, RoomError};
use crate::clock::until;
use crate::config::WhenQuiet;
use crate::connection::Link;
use crate::event::{Answer, CloseFrame, Ending, Event, Message};
use crate::id::{RoomId, Serial};
use crate::limits::{ms, size};
use crate::logs::LogLevel;
use crate::store::StoreError;
use crate::turn::Output;
use std::sync::Arc;
use tokio::time::Instant;

/// Why a room's loop ended.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// Nothing happened for long enough, or another room needed its place.
    Evicted,
    /// Its storage failed: what it held back will never be said.
    Broken(StoreError),
    /// The node stops.
    Drained,
}

/// One room, running.
pub(crate) struct Actor {
    mailbox: Mailbox,
    turns: Turns,
    when_quiet: WhenQuiet,
    last_event: Instant,
    /// Mails of the batch in work that come after the one in work.
    behind: usize,
    failed_start: Option<FailedStart>,
    /// Ends of connections that no instance could be told of yet. They stay on the list until then, so
    /// that the guest finds them in their `on_close`.
    unheard: Vec<(Serial, Ending)>,
    /// Connections let in so far: the serial of the last one.
    joined: u64,
    /// True if nothing keeps it in memory: it was told of its end, and nothing else came since.
    leaves: bool,
}

/// An instance that did not start: whoever waited for it meanwhile fails with its error.
struct FailedStart {
    error: RoomError,
    /// Mails that waited then and were not handled since.
    waiting: usize,
}

impl Actor {
    /// A room that has not handled anything yet.
    ///
    /// # Errors
    /// [`StoreError`] if what is stored for it cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub(crate) async fn new(
        room: RoomId,
        (mailbox, figures): (Mailbox, Arc<Figures>),
        orders: Orders,
        parts: Arc<Parts>,
    ) -> Result<Self, StoreError> {
        let Orders { code, when_quiet, lifetime } = orders;
        Ok(Self {
            mailbox,
            turns: Turns::new(room, figures, (code, lifetime), parts).await?,
            when_quiet,
            last_event: Instant::now(),
            behind: 0,
            failed_start: None,
            unheard: Vec::new(),
            joined: 0,
            leaves: false,
        })
    }

    /// Runs the room until it may leave memory, the node stops, or it breaks. `may_leave` closes the
    /// mailbox if nothing came meanwhile, in one step with taking the room off the node's list.
    pub(crate) async fn run(&mut self, may_leave: impl Fn(&Mailbox) -> bool) -> Stopped {
        loop {
            let batch = self.mailbox.take();
            if batch.is_empty() {
                match self.wait().await {
                    Ok(Woken::Work) => {}
                    Ok(Woken::Quiet) if !self.unheard.is_empty() => {
                        if let Err(error) = Box::pin(self.tell_unheard()).await {
                            return self.broken(error);
                        }
                        self.failed_start = None;
                        self.last_event = Instant::now();
                    }
                    Ok(Woken::Quiet) => {
                        self.turns.rest();
                        if self.is_left() && may_leave(&self.mailbox) {
                            return Stopped::Evicted;
                        }
                    }
                    Err(error) => return self.broken(error),
                }
                continue;
            }
            // In a box: while a room waits it holds none of the space that its turns need.
            match Box::pin(self.handle_all(batch)).await {
                Ok(Flow::On) => {}
                Ok(Flow::Stop(_)) => return Stopped::Drained,
                Err(error) => return self.broken(error),
            }
        }
    }

    async fn handle_all(&mut self, batch: Vec<Mail>) -> Result<Flow, StoreError> {
        // Once for all of them: to read the clock costs as much as to find a connection.
        if batch.iter().any(|mail| mail.class().is_use) {
            self.turns.usage.used();
        }
        let mut batch = batch.into_iter();
        let mut events = false;
        while let Some(mail) = batch.next() {
            self.behind = batch.len();
            events |= mail.class().wakes;
            // While the disk is behind, the mailbox fills up and slows the clients down.
            let held_max = size(self.turns.parts.limits.held_bytes_max);
            let handled = match self.hold_down_to(held_max).await {
                Ok(()) => self.handle(mail).await,
                Err(error) => {
                    mail.fail(&error.clone().into());
                    Err(error)
                }
            };
            self.failed_start = self.failed_start.take().and_then(FailedStart::one_less);
            let flow = match handled {
                Ok(flow) => self.turns.release().map(|()| flow),
                Err(error) => Err(error),
            };
            match flow {
                Ok(Flow::On) => {}
                Ok(Flow::Stop(frame)) => {
                    batch.for_each(|mail| mail.fail(&RoomError::Draining));
                    self.drain(&frame).await?;
                    return Ok(Flow::Stop(frame));
                }
                Err(error) => {
                    batch.for_each(|mail| mail.fail(&error.clone().into()));
                    return Err(error);
                }
            }
        }
        self.turns.note_use().await;
        if events {
            self.leaves = false;
            self.last_event = Instant::now();
            self.turns.figures.note_used(self.last_event);
        }
        self.turns.figures.note_stage(self.turns.stage());
        Ok(Flow::On)
    }

    /// Waits for a mail, for durability, for the time when a quiet room leaves memory, or until
    /// another room needs its place.
    async fn wait(&mut self) -> Result<Woken, StoreError> {
        self.turns.figures.note_stage(self.turns.stage());
        let quiet = self.quiet_after().map(|quiet| self.last_event + quiet);
        let renewal = self.renewal();
        let seat = self.turns.seat();
        let may_rest = self.may_rest();
        match &seat {
            Some(seat) if may_rest => seat.idle(self.last_event),
            Some(seat) => seat.stay(),
            None => {}
        }
        let woken = tokio::select! {
            () = self.mailbox.filled() => Ok(Woken::Work),
            () = self.turns.store.settles(), if self.turns.outlet.is_holding() => {
                self.turns.release().map(|()| Woken::Work)
            }
            () = until(quiet) => Ok(Woken::Quiet),
            () = told(seat.as_deref()), if may_rest => Ok(Woken::Quiet),
            () = until(renewal) => {
                self.turns.usage.used();
                self.turns.note_use().await;
                Ok(Woken::Work)
            }
        };
        // Whatever else came in the same moment waits: the place is promised to another room.
        if seat.is_some_and(|seat| seat.work() == Verdict::Go) {
            self.turns.rest();
        }
        woken
    }

    /// True if the instance may go while nothing happens: nobody relies on what it remembers.
    fn may_rest(&self) -> bool {
        self.turns.outlet.roster.is_empty() || self.when_quiet == WhenQuiet::Hibernate
    }

    /// True if nobody is there, and nothing waits to be said or told.
    fn is_left(&self) -> bool {
        let outlet = &self.turns.outlet;
        outlet.roster.is_empty() && !outlet.is_holding() && self.unheard.is_empty()
    }

    /// How long without an event until the instance goes; none if it stays.
    fn quiet_after(&self) -> Option<std::time::Duration> {
        let limits = &self.turns.parts.limits;
        if self.turns.outlet.is_holding() {
            return None;
        }
        if self.leaves && self.is_left() {
            return Some(std::time::Duration::ZERO);
        }
        if self.turns.outlet.roster.is_empty() || !self.unheard.is_empty() {
            return Some(ms(limits.idle_evict_ms));
        }
        let hibernates = self.when_quiet == WhenQuiet::Hibernate && self.turns.is_live();
        hibernates.then(|| ms(limits.hibernate_ms))
    }

    // Events. Each is handled whole before the next; an error is the store's and ends the room.

    async fn handle(&mut self, mail: Mail) -> Result<Flow, StoreError> {
        if mail.class().wakes {
            self.tell_unheard().await?;
        }
        match mail {
            Mail::Event(EventMail::Visit(visit)) => self.visit(visit).await?,
            Mail::Event(EventMail::Parting(Parting::Failed { who, error })) => {
                if let Some(connection) = self.turns.outlet.roster.get(who).cloned() {
                    self.plain(Event::Error { connection, error }, Some(who)).await?;
                }
            }
            Mail::Event(EventMail::Parting(Parting::Closed { who, ending })) => {
                self.close(who, ending).await?;
            }
            Mail::Event(EventMail::Alarm(ring)) => self.alarm(ring.0).await?,
            Mail::Order(OrderMail::Command(Command::Stop(frame))) => return Ok(Flow::Stop(frame)),
            Mail::Order(OrderMail::Command(Command::Reload { to, otherwise, spare, reply })) => {
                let Orders { code, when_quiet, lifetime } = *to;
                self.when_quiet = when_quiet;
                self.turns.usage.set_lifetime(lifetime);
                self.failed_start = None;
                let outcome = self.turns.reload(code, otherwise, spare).await?;
                let connections = self.turns.outlet.roster.len() - self.unheard.len();
                // A sender that does not wait any more needs no answer.
                drop(reply.send(outcome.map(|is_other| is_other.then_some(connections))));
            }
            Mail::Order(OrderMail::Errand(errand)) => self.errand(errand).await?,
            Mail::Order(OrderMail::Edit(EditOrder { edit, reply })) => {
                self.edit(edit, reply).await?;
            }
        }
        Ok(Flow::On)
    }

    async fn visit(&mut self, visit: Visit) -> Result<(), StoreError> {
        match visit {
            Visit::Connect(joining) => self.connect(*joining).await,
            Visit::Message { from, message } => self.message(from, message).await,
            Visit::Request { request, reply } => {
                match self.turn(&Event::Request(*request), None).await? {
                    Ok(mut turn) => {
                        let reply = match std::mem::replace(&mut turn.answer, Answer::Done) {
                            Answer::Response(response) => {
                                Reply::Response(Due::new(reply, Ok(response)))
                            }
                            Answer::Done | Answer::Tags(_) => Reply::Nobody,
                        };
                        self.turns.hold(turn, reply);
                    }
                    Err(error) => self.refuse(Reply::Response(Due::new(reply, Err(error)))),
                }
                Ok(())
            }
        }
    }

    async fn errand(&mut self, errand: Errand) -> Result<(), StoreError> {
        // A sender that does not wait any more needs no answer.
        match errand {
            Errand::Inspect { window, reply } => drop(reply.send(self.inspection(window))),
            Errand::Kick { id, frame, reply } => drop(reply.send(self.kick(&id, frame))),
            Errand::Expire { done } => self.expire(done).await?,
        }
        Ok(())
    }

    /// Tells who waits that it failed, in order with what was said before.
    fn refuse(&mut self, reply: Reply) {
        self.turns.outlet.answer(None, reply);
    }

    /// A message of a connection that is still open. If the room could not take it, and that is not its
    /// guest's doing, the connection is closed: nothing else would tell the client that it was lost.
    async fn message(&mut self, from: Serial, message: Message) -> Result<(), StoreError> {
        let sender = self.turns.outlet.roster.get(from).filter(|c| c.link == Link::Open);
        let Some(connection) = sender.map(|sender| sender.id.clone()) else { return Ok(()) };
        // A client that has left cannot be answered. Where the guest fails, what it left behind would keep those
        // waiting who are there: each message of it may take the guest's whole time.
        if self.turns.is_failing() && self.turns.outlet.roster.has_left(from) {
            let text =
                format!("dropped a message of {connection}, which is gone, as the guest fails");
            self.turns.parts.logs.room(LogLevel::Debug, &self.turns.room, &text);
            return Ok(());
        }
        self.turns.figures.note_received();
        self.turns.tap.came(&connection, &message);
        match self.turn(&Event::Message { connection, message }, None).await? {
            Ok(turn) => self.turns.hold(turn, Reply::Nobody),
            Err(RoomError::Guest(_)) => {}
            Err(error) => {
                let frame = CloseFrame::new(1013, &error.to_string());
                let goodbye = Output::Close { to: from, frame };
                self.turns.say(goodbye);
            }
        }
        Ok(())
    }

    /// An event that nobody but the connections hears of.
    async fn plain(&mut self, event: Event, about: Option<Serial>) -> Result<(), StoreError> {
        if let Ok(turn) = self.turn(&event, about).await? {
            self.turns.hold(turn, Reply::Nobody);
        }
        Ok(())
    }

    async fn alarm(&mut self, done: AlarmGuard) -> Result<(), StoreError> {
        let now = self.turns.parts.clock.wall_ms();
        let Some(alarm) = self.turns.store.alarm().filter(|alarm| alarm.due_ms <= now) else {
            // It was changed meanwhile; when that is durable, it is looked at again.
            self.turns.outlet.answer(None, Reply::Alarm(done));
            return Ok(());
        };
        self.turns.usage.used();
        let turn = self.turn(&Event::Alarm, None).await?;
        let metrics = self.turns.parts.metrics.clone();
        if matches!(turn, Ok(_) | Err(RoomError::Guest(_))) {
            metrics.alarms_rung.increment(1);
        }
        match turn {
            Ok(turn) => self.turns.hold(turn, Reply::Alarm(done)),
            Err(error) if !matches!(error, RoomError::Guest(_)) => {
                tracing::debug!(project = self.turns.project(), room = %self.turns.room, %error, "the alarm waits");
            }
            // What it flushed before it failed has set another one.
            Err(_) if self.turns.store.alarm().is_some_and(|current| current != alarm) => {
                self.turns.outlet.answer(None, Reply::Alarm(done));
            }
            Err(error) => {
                let next = next_try(alarm, now, &self.turns.parts.limits);
                let counted =
                    if next.is_some() { &metrics.alarms_retried } else { &metrics.alarms_dropped };
                counted.increment(1);
                if next.is_none() {
                    let reason = format!("the alarm is dropped after {} tries", alarm.tries + 1);
                    let fault = FaultRecord { at_ms: now, event: "alarm", reason, backtrace: None };
                    self.turns.tap.failed(fault.event, &fault.reason);
                    self.turns.figures.note_fault(fault);
                }
                let (tries, retry) = (alarm.tries + 1, next.is_some());
                tracing::warn!(project = self.turns.project(), room = %self.turns.room, %error, tries, retry, "the alarm failed");
                let then = if retry { "it is tried again" } else { "it is dropped" };
                self.turns.log(LogLevel::Warn, &format!("the alarm failed, try {tries}; {then}"));
                let offset = self.turns.store.commit_alarm(next).await?;
                self.turns.outlet.answer(Some(offset), Reply::Alarm(done));
            }
        }
        Ok(())
    }

    // Turns, with what becomes of those that wait for a start that fails.

    /// Delivers one event to the guest and keeps all of its effects or none. The inner error is the
    /// guest's or the node's: the room goes on.
    async fn turn(
        &mut self,
        event: &Event,
        about: Option<Serial>,
    ) -> Result<Result<Committed, RoomError>, StoreError> {
        match self.ready().await? {
            Ok(()) => self.turns.turn(event, about).await,
            Err(error) => Ok(Err(error)),
        }
    }

    /// Makes sure that there is an instance, which has started.
    async fn ready(&mut self) -> Result<Result<(), RoomError>, StoreError> {
        if let Some(failed) = &self.failed_start {
            return Ok(Err(failed.error.clone()));
        }
        let started = self.turns.ready().await?;
        if let Err(error) = &started {
            let waiting = self.behind + self.mailbox.len();
            self.failed_start = Some(FailedStart { error: error.clone(), waiting });
        }
        Ok(started)
    }

    // Ends.

    /// Waits until everything is said, and says goodbye to those who are still there.
    async fn drain(&mut self, frame: &CloseFrame) -> Result<(), StoreError> {
        self.hold_down_to(0).await?;
        self.turns.outlet.roster.close_all(frame);
        self.mailbox.close().fail(&RoomError::Draining);
        Ok(())
    }

    /// Waits until no more than this is held back.
    async fn hold_down_to(&mut self, bytes_max: usize) -> Result<(), StoreError> {
        let holds = |this: &Self| match bytes_max {
            0 => this.turns.outlet.is_holding(),
            _ => this.turns.outlet.held_bytes() > bytes_max,
        };
        while holds(self) {
            self.turns.store.settles().await;
            self.turns.release()?;
        }
        Ok(())
    }

    /// The storage failed: nothing that was held back is ever said, and everybody is told that it is
    /// over. The next activation begins with what the disk holds.
    fn broken(&mut self, error: StoreError) -> Stopped {
        tracing::error!(project = self.turns.project(), room = %self.turns.room, %error, "the room breaks: its storage failed");
        self.turns.log(LogLevel::Error, &format!("the room breaks: its storage failed: {error}"));
        self.turns.tap.failed("storage", &error.to_string());
        self.turns.rest();
        let room_error = RoomError::from(error.clone());
        self.turns.outlet.abandon(&room_error, &CloseFrame::new(1011, "the room's storage failed"));
        self.mailbox.close().fail(&room_error);
        Stopped::Broken(error)
    }
}

impl FailedStart {
    /// One of those that waited was handled. None when the next one was not among them.
    fn one_less(self) -> Option<Self> {
        let waiting = self.waiting.checked_sub(1)?;
        Some(Self { waiting, ..self })
    }
}

/// Returns when the room has to give up its place; never if it has none.
async fn told(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.told().await,
        None => std::future::pending().await,
    }
}

/// Whether the loop goes on.
enum Flow {
    On,
    Stop(CloseFrame),
}

/// Why the loop woke up.
enum Woken {
    Work,
    Quiet,
}
