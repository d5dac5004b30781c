//! The loop of one room. Owns the order of everything that happens in it.
//!
//! Invariant: one event is one turn, and nothing interleaves with a turn: every call of a guest into
//! the host is synchronous or suspends this loop, so this loop *is* the room's input gate. It does
//! not know sockets, nodes or files: events come in by the mailbox, effects leave by the gate.

mod clients;
mod crons;
mod deliveries;
mod due;
mod expiry;
mod messages;
mod operator;
mod outcalls;
mod polls;
mod posts;
mod presence;
mod streams;
mod ticks;

pub use operator::{ActorReport, ClientWindow};

use super::figures::RoomFigures;
use super::mail::{
    EditOrder, EventMail, Mail, NodeOrder, OperatorMail, OrderMail, StreamGone, Visit,
};
use super::mailbox::Mailbox;
use super::outlet::{Outlet, Reply};
use super::places::{Seat, SeatVerdict};
use super::turns::{Committed, RoomParts, Turns};
use super::{RoomError, RoomOrders, boxed};
use room_core::clock::until;
use room_core::config::WhenQuiet;
use room_core::event::{CloseFrame, Ending, Event, StreamEnd};
use room_core::id::{RequestId, RoomId, Serial};
use room_core::limits::{ms, size};
use room_core::report;
use room_store::StoreError;
use std::sync::Arc;
use tokio::time::Instant;

/// The reason that a client gets when another node takes over its room.
pub(crate) const MOVED: &str = "the room moves to another node";

/// The reason why a room's loop ended.
#[derive(Debug)]
pub enum Stopped {
    /// The room was idle for long enough, or another room needed its place.
    Evicted,
    /// Its storage failed: the outputs that its gate held never leave.
    Broken(StoreError),
    /// The node stops.
    Drained,
}

/// One room, running.
pub struct Actor {
    mailbox: Mailbox,
    turns: Turns,
    when_quiet: WhenQuiet,
    last_event: Instant,
    /// Mails of the batch after the one in work.
    behind: usize,
    failed_start: Option<FailedStart>,
    /// Ends of connections that no instance has handled yet. The connections stay on the list until then, so
    /// that the guest finds them in their `on_close`.
    unheard: Vec<(Serial, Ending)>,
    /// Ends of open responses that no instance has handled yet.
    unheard_streams: Vec<(RequestId, StreamEnd)>,
    /// The number of connections admitted so far: the serial of the last one.
    joined: u64,
    /// True from the room's expiry until something else comes: nothing keeps the room in memory.
    leaves: bool,
}

/// A failed start of an instance. Every mail that waited for the start fails with its error.
struct FailedStart {
    error: RoomError,
    /// Mails that waited at that time and were not handled since.
    waiting: usize,
}

impl Actor {
    /// Makes a room that has not handled anything yet.
    ///
    /// # Errors
    /// [`StoreError`] if the room's stored facts cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub async fn new(
        room: RoomId,
        (mailbox, figures): (Mailbox, Arc<RoomFigures>),
        orders: RoomOrders,
        parts: Arc<RoomParts>,
    ) -> Result<Self, StoreError> {
        let when_quiet = orders.when_quiet;
        Ok(Self {
            turns: Turns::new(room, (mailbox.clone(), figures), orders, parts).await?,
            mailbox,
            when_quiet,
            last_event: Instant::now(),
            behind: 0,
            failed_start: None,
            unheard: Vec::new(),
            unheard_streams: Vec::new(),
            joined: 0,
            leaves: false,
        })
    }

    /// Runs the room until it may leave memory, the node stops, or it breaks. `may_leave` closes the mailbox
    /// if it is empty, and takes the room off the node's list in the same step.
    pub async fn run(&mut self, may_leave: impl Fn(&Mailbox) -> bool) -> Stopped {
        loop {
            if self.turns.ticks.is_due()
                && let Err(error) = Box::pin(self.tick()).await
            {
                return self.broken(error);
            }
            if self.turns.outlet.exchanges.is_due()
                && let Err(error) = Box::pin(self.cut_overdue()).await
            {
                return self.broken(error);
            }
            if self.turns.outlet.roster.has_overdue()
                && let Err(error) = Box::pin(self.end_overdue()).await
            {
                return self.broken(error);
            }
            if self.turns.outlet.is_presence_due() {
                self.turns.outlet.advance_presence();
            }
            let batch = self.mailbox.take();
            if batch.is_empty() {
                match self.wait().await {
                    Ok(Woken::Work) => {}
                    Ok(Woken::Quiet) if self.has_unheard() => {
                        if let Err(error) = Box::pin(self.tell_unheard()).await {
                            return self.broken(error);
                        }
                        self.failed_start = None;
                        self.last_event = Instant::now();
                    }
                    Ok(Woken::Quiet) => {
                        self.turns.rest();
                        self.turns.ticks.stop();
                        if self.is_left() && may_leave(&self.mailbox) {
                            return Stopped::Evicted;
                        }
                    }
                    Err(error) => return self.broken(error),
                }
                continue;
            }
            // Boxed, so that a waiting room holds none of the space that its turns need.
            match Box::into_pin(boxed(|| self.handle_all(batch))).await {
                Ok(Flow::On) => {}
                Ok(Flow::Stop(_)) => return Stopped::Drained,
                Err(error) => return self.broken(error),
            }
        }
    }

    async fn handle_all(&mut self, batch: Vec<Mail>) -> Result<Flow, StoreError> {
        // Once for the whole batch: reading the clock costs as much as finding a connection.
        if batch.iter().any(|mail| mail.class().is_use) {
            self.turns.usage.used();
        }
        let mut batch = batch.into_iter();
        let mut events = false;
        let held_max = size(self.turns.parts.limits.held_bytes_max);
        while let Some(mail) = batch.next() {
            self.behind = batch.len();
            events |= mail.class().wakes;
            // While the disk is behind, the mailbox fills up and slows the clients down.
            let handled = match self.before_mail(held_max).await {
                Ok(()) if self.share_a_call(&mail, batch.as_slice()) => {
                    self.messages(mail, &mut batch).await
                }
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

    /// Waits while the gate holds more than these bytes, and handles the tick that is due: events do not hold up ticks.
    async fn before_mail(&mut self, held_max: usize) -> Result<(), StoreError> {
        self.hold_down_to(held_max).await?;
        match self.turns.ticks.is_due() {
            // Boxed, so that a mail in a room without ticks reserves no space for them.
            true => Box::pin(self.tick()).await,
            false => Ok(()),
        }
    }

    /// Waits for a mail, for durability, for the time when a quiet room leaves memory, or until
    /// another room needs its place.
    async fn wait(&mut self) -> Result<Woken, StoreError> {
        self.turns.figures.note_stage(self.turns.stage());
        let quiet = self.quiet_after().map(|quiet| self.last_event + quiet);
        let renewal = self.renewal();
        // One branch for all of them: every branch costs each message instructions.
        let (ticks, outlet) = (self.turns.ticks.next(), &self.turns.outlet);
        let Outlet { roster, exchanges, .. } = outlet;
        let times = [ticks, exchanges.next(), roster.next_absence(), outlet.next_presence()];
        let work = times.into_iter().flatten().min();
        let seat = self.turns.seat();
        let may_rest = self.may_rest();
        match &seat {
            Some(seat) if may_rest => seat.idle(self.last_event),
            Some(seat) => seat.stay(),
            None => {}
        }
        let woken = tokio::select! {
            // In order, without the random number that another choice costs: whichever is chosen, the loop looks at all.
            biased;
            () = self.mailbox.filled() => Ok(Woken::Work),
            () = self.turns.store.settles(), if self.turns.outlet.is_holding() => {
                self.turns.release().map(|()| Woken::Work)
            }
            () = until(quiet), if quiet.is_some() => Ok(Woken::Quiet),
            () = until(work), if work.is_some() => Ok(Woken::Work),
            () = told(seat.as_deref()), if may_rest => Ok(Woken::Quiet),
            () = until(renewal), if renewal.is_some() => {
                self.turns.usage.used();
                self.turns.note_use().await;
                Ok(Woken::Work)
            }
        };
        // Anything else that came in the same moment waits: the place is promised to another room.
        if seat.is_some_and(|seat| seat.work() == SeatVerdict::Go) {
            self.turns.rest();
            self.turns.ticks.stop();
        }
        woken
    }

    /// Returns true if the instance may go while the room is idle: no client relies on its memory.
    fn may_rest(&self) -> bool {
        !self.turns.outlet.has_clients() || self.hibernates()
    }

    /// Returns true if the instance may go while clients are connected.
    fn hibernates(&self) -> bool {
        self.when_quiet == WhenQuiet::Hibernate && self.turns.ticks.next().is_none()
    }

    /// Returns true if no client is connected or waits, nobody is present, no request is under way, and no output or end
    /// waits.
    fn is_left(&self) -> bool {
        let outlet = &self.turns.outlet;
        let is_idle = !outlet.is_holding() && !outlet.has_users() && self.turns.outcalls.is_empty();
        !outlet.has_clients() && is_idle && !self.has_unheard()
    }

    /// Returns true if the guest has not heard of an end.
    fn has_unheard(&self) -> bool {
        !self.unheard.is_empty() || !self.unheard_streams.is_empty()
    }

    /// Returns how long the room must be idle until its instance goes; `None` if it stays.
    fn quiet_after(&self) -> Option<std::time::Duration> {
        let limits = &self.turns.parts.limits;
        if self.turns.outlet.is_holding() || !self.turns.outcalls.is_empty() {
            return None;
        }
        if self.leaves && self.is_left() {
            return Some(std::time::Duration::ZERO);
        }
        if !self.turns.outlet.has_clients() || self.has_unheard() {
            // A room stays for the graces of its users, and is idle after them.
            let stays = self.turns.outlet.has_users() && !self.has_unheard();
            return (!stays).then(|| ms(limits.idle_evict_ms));
        }
        let hibernates = self.hibernates() && self.turns.is_live();
        hibernates.then(|| ms(limits.hibernate_ms))
    }

    // Events. Each is handled whole before the next. An error comes from the store and ends the room.

    async fn handle(&mut self, mail: Mail) -> Result<Flow, StoreError> {
        if mail.class().wakes {
            self.tell_unheard().await?;
        }
        match mail {
            Mail::Event(EventMail::Visit(visit)) => self.visit(visit).await?,
            Mail::Event(EventMail::Parting(parting)) => self.part(parting).await?,
            // Boxed, so that a message reserves no space for them.
            Mail::Event(EventMail::Piece(piece)) => Box::pin(self.piece(*piece)).await?,
            Mail::Event(EventMail::Gone(StreamGone { id, end })) => {
                Box::pin(self.close_stream(id, end, RoomError::Gone)).await?;
            }
            Mail::Event(EventMail::Alarm(ring)) => self.ring(ring).await?,
            Mail::Event(EventMail::Outcall(mail)) => Box::pin(self.outcall_ended(mail)).await?,
            Mail::Event(EventMail::Chunk(mail)) => Box::pin(self.chunk(mail)).await?,
            Mail::Event(EventMail::Cron(call)) => Box::pin(self.cron(call)).await?,
            Mail::Order(OrderMail::Command(NodeOrder::Stop(frame))) => {
                return Ok(Flow::Stop(frame));
            }
            Mail::Order(OrderMail::Command(NodeOrder::Reload { to, otherwise, spare, reply })) => {
                let RoomOrders { code, when_quiet, lifetime, retention, presence, webhooks } = *to;
                self.when_quiet = when_quiet;
                self.turns.usage.set_lifetime(lifetime);
                self.turns.webhooks.set_events(webhooks);
                self.turns.remember(retention);
                self.turns.outlet.keep_presence(presence);
                self.failed_start = None;
                let outcome = self.turns.reload(code, otherwise, spare).await?;
                let connections = self.turns.outlet.roster.len() - self.unheard.len();
                // A caller that has left needs no answer.
                drop(reply.send(outcome.map(|is_other| is_other.then_some(connections))));
            }
            Mail::Order(OrderMail::Errand(errand)) => self.errand(errand).await?,
            Mail::Order(OrderMail::Renew(order)) => self.renew(*order),
            Mail::Order(OrderMail::Present(order)) => self.present(*order),
            Mail::Order(OrderMail::Forget(mail)) => self.forget_call(&mail.0).await?,
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
            // Boxed, because a message would otherwise reserve the space for it.
            Visit::Deliver(mail) => Box::pin(self.deliver(*mail)).await,
            Visit::Call { call, reply } => Box::pin(self.called(*call, reply)).await,
            Visit::Post { post, rates, reply } => {
                Box::pin(self.post(*post, rates.as_deref(), reply)).await
            }
            Visit::Poll(asked) => {
                self.poll(*asked);
                Ok(())
            }
            Visit::Publish { publication, reply } => {
                Box::pin(self.publish(*publication, reply)).await
            }
            Visit::Request { request, body, reply } => self.request(*request, body, reply).await,
        }
    }

    async fn errand(&mut self, errand: OperatorMail) -> Result<(), StoreError> {
        // A caller that has left needs no answer.
        match errand {
            OperatorMail::Inspect { window, reply } => drop(reply.send(self.inspection(window))),
            OperatorMail::Kick { id, frame, reply } => drop(reply.send(self.kick(&id, frame))),
            OperatorMail::Users { reply } => {
                drop(reply.send(self.turns.outlet.present_users()));
            }
            OperatorMail::Expire { done } => self.expire(done).await?,
        }
        Ok(())
    }

    /// Answers a caller with an error, after earlier outputs.
    fn refuse(&mut self, reply: Reply) {
        self.turns.outlet.answer(None, reply);
    }

    /// Handles an event whose outputs go to connections only.
    async fn plain(&mut self, event: Event, about: Option<Serial>) -> Result<(), StoreError> {
        if let Ok(turn) = self.turn(&event, about).await? {
            self.turns.hold(turn, Reply::Nobody);
        }
        Ok(())
    }

    // Turns, and the fate of mails that wait for a start that fails.

    /// Delivers one event to the guest and keeps all of its effects or none. An inner error comes from the
    /// guest or the node, and the room continues.
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

    /// Makes sure that there is an instance, and that it has started.
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

    /// Waits until every output has left, and closes the remaining connections.
    async fn drain(&mut self, frame: &CloseFrame) -> Result<(), StoreError> {
        self.hold_down_to(0).await?;
        self.turns.outlet.close_all(frame, &RoomError::Draining);
        self.mailbox.close().fail(&RoomError::Draining);
        Ok(())
    }

    /// Waits until the gate holds no more than this many bytes; with 0, until it holds nothing.
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

    /// Ends the room after a failure of its storage. No held output ever leaves, and every connection and
    /// waiting caller gets an error. The next activation starts with what the disk holds.
    fn broken(&mut self, error: StoreError) -> Stopped {
        report!(error, self.turns.log(), [], "the room breaks: its storage failed: {error}");
        self.turns.tap.failed("storage", &error.to_string());
        self.turns.rest();
        let (room_error, frame) = match error {
            // Its clients find it on another node.
            StoreError::Displaced => (RoomError::Moved, CloseFrame::new(1012, MOVED)),
            _ => (error.clone().into(), CloseFrame::new(1011, "the room's storage failed")),
        };
        self.turns.outlet.abandon(&room_error, &frame);
        self.mailbox.close().fail(&room_error);
        Stopped::Broken(error)
    }
}

impl FailedStart {
    /// Counts one handled mail of those that waited. Returns `None` if the next mail is not among them.
    fn one_less(self) -> Option<Self> {
        let waiting = self.waiting.checked_sub(1)?;
        Some(Self { waiting, ..self })
    }
}

/// Returns when the room has to give up its place; never returns if it has none.
async fn told(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.told().await,
        None => std::future::pending().await,
    }
}

/// Whether the loop continues.
enum Flow {
    On,
    Stop(CloseFrame),
}

/// The reason why the loop woke up.
enum Woken {
    Work,
    Quiet,
}
