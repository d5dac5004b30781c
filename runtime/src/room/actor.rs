//! The loop of one room. Owns the order of everything that happens in it.
//!
//! Invariant: one event is one turn, and nothing interleaves with a turn: every call of a guest into
//! the host is synchronous or suspends this loop, so this loop *is* the room's input gate. It does
//! not know sockets, nodes or files: events come in by the mailbox, effects leave by the gate.

use super::alarm::next_try;
use super::faults::Faults;
use super::live::Live;
use super::mailbox::Mailbox;
use super::outlet::{Outlet, Reply};
use super::{Admission, AlarmGuard, Joining, Mail, RoomError, Visitor};
use crate::clock::Clock;
use crate::config::WhenQuiet;
use crate::connection::{Connection, Link};
use crate::event::{Answer, CloseFrame, Ending, Event, Handshake};
use crate::id::{RoomId, Serial};
use crate::limits::{Limits, ms, size};
use crate::store::{Offset, RoomStore, Store, StoreError};
use crate::turn::{Effects, Output, Turn};
use crate::wasm::{Code, Flush, GuestFault};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tracing::Instrument;

/// What a room needs from the node it runs on.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) limits: Arc<Limits>,
    pub(crate) clock: Clock,
    /// One permit for each instance that may live.
    pub(crate) places: Arc<Semaphore>,
}

/// Why a room's loop ended.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// Nothing happened for long enough.
    Evicted,
    /// Its storage failed: what it held back will never be said.
    Broken(StoreError),
    /// The node stops.
    Drained,
}

/// One room, running.
pub(crate) struct Actor {
    room: RoomId,
    parts: Parts,
    mailbox: Mailbox,
    code: Code,
    when_quiet: WhenQuiet,
    store: RoomStore,
    live: Option<Live>,
    outlet: Outlet,
    settled: watch::Receiver<Offset>,
    faults: Faults,
    last_event: Instant,
    /// Events delivered so far: the number of the last one.
    events: u64,
    /// Connections let in so far: the serial of the last one.
    joined: u64,
}

/// A turn that committed: its outputs and where its writes become durable.
struct Committed {
    answer: Answer,
    outputs: Vec<Output>,
    offset: Option<Offset>,
}

impl Actor {
    /// A room that has not handled anything yet.
    ///
    /// # Errors
    /// [`StoreError`] if what is stored for it cannot be read.
    pub(crate) fn new(
        room: RoomId,
        mailbox: Mailbox,
        code: Code,
        when_quiet: WhenQuiet,
        parts: Parts,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            store: parts.store.room(&room)?,
            settled: parts.store.settled(),
            room,
            parts,
            mailbox,
            code,
            when_quiet,
            live: None,
            outlet: Outlet::default(),
            faults: Faults::default(),
            last_event: Instant::now(),
            events: 0,
            joined: 0,
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
                    Ok(Woken::Quiet) if self.outlet.roster.is_empty() => {
                        self.live = None;
                        if may_leave(&self.mailbox) {
                            return Stopped::Evicted;
                        }
                    }
                    Ok(Woken::Quiet) => self.live = None,
                    Err(error) => return self.broken(error),
                }
                continue;
            }
            match self.handle_all(batch).await {
                Ok(Flow::On) => {}
                Ok(Flow::Stop) => return Stopped::Drained,
                Err(error) => return self.broken(error),
            }
        }
    }

    async fn handle_all(&mut self, batch: Vec<Mail>) -> Result<Flow, StoreError> {
        let mut batch = batch.into_iter();
        while let Some(mail) = batch.next() {
            let handled = self.handle(mail).await;
            let flow = match handled {
                Ok(flow) => self.release().map(|()| flow),
                Err(error) => Err(error),
            };
            match flow {
                Ok(Flow::On) => {}
                Ok(Flow::Stop) => {
                    batch.for_each(|mail| mail.fail(&RoomError::Draining));
                    return self.drain().await.map(|()| Flow::Stop);
                }
                Err(error) => {
                    batch.for_each(|mail| mail.fail(&error.clone().into()));
                    return Err(error);
                }
            }
        }
        self.last_event = Instant::now();
        Ok(Flow::On)
    }

    /// Waits for a mail, for durability, or for the time when a quiet room leaves memory.
    async fn wait(&mut self) -> Result<Woken, StoreError> {
        let quiet = self.quiet_after();
        let deadline = self.last_event + quiet.unwrap_or_default();
        tokio::select! {
            () = self.mailbox.filled() => Ok(Woken::Work),
            Ok(()) = self.settled.changed(), if self.outlet.is_holding() => {
                self.release()?;
                Ok(Woken::Work)
            }
            () = tokio::time::sleep_until(deadline), if quiet.is_some() => Ok(Woken::Quiet),
        }
    }

    /// How long without an event until the instance goes; none if it stays.
    fn quiet_after(&self) -> Option<std::time::Duration> {
        let limits = &self.parts.limits;
        if self.outlet.is_holding() {
            return None;
        }
        if self.outlet.roster.is_empty() {
            return Some(ms(limits.idle_evict_ms));
        }
        let hibernates = self.when_quiet == WhenQuiet::Hibernate && self.live.is_some();
        hibernates.then(|| ms(limits.hibernate_ms))
    }

    // Events. Each is handled whole before the next; an error is the store's and ends the room.

    async fn handle(&mut self, mail: Mail) -> Result<Flow, StoreError> {
        match mail {
            Mail::Connect(joining) => self.connect(*joining).await?,
            Mail::Message { from, message } => {
                if let Some(connection) = self.open(from) {
                    self.plain(Event::Message { connection, message }, None).await?;
                }
            }
            Mail::Failed { who, error } => {
                if let Some(connection) = self.outlet.roster.get(who).cloned() {
                    self.plain(Event::Error { connection, error }, Some(who)).await?;
                }
            }
            Mail::Closed { who, ending } => self.close(who, ending).await?,
            Mail::Request { request, reply } => {
                match self.turn(&Event::Request(*request), None).await? {
                    Ok(turn) => {
                        let reply = match turn.answer {
                            Answer::Response(ref response) => {
                                Reply::Response(reply, response.clone())
                            }
                            Answer::Done | Answer::Tags(_) => Reply::Nobody,
                        };
                        self.hold(turn, reply);
                    }
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Mail::Alarm { done } => self.alarm(done).await?,
            Mail::Reload { code, when_quiet, reply } => {
                self.when_quiet = when_quiet;
                let outcome = self.reload(code).await?;
                drop(reply.send(outcome.map(|()| self.outlet.roster.len())));
            }
            Mail::Stop => return Ok(Flow::Stop),
        }
        Ok(Flow::On)
    }

    /// The id of a connection that may still be heard.
    fn open(&self, serial: Serial) -> Option<crate::id::ConnectionId> {
        let connection = self.outlet.roster.get(serial).filter(|c| c.link == Link::Open)?;
        Some(connection.id.clone())
    }

    /// An event that nobody but the connections hears of.
    async fn plain(&mut self, event: Event, about: Option<Serial>) -> Result<(), StoreError> {
        if let Ok(turn) = self.turn(&event, about).await? {
            self.hold(turn, Reply::Nobody);
        }
        Ok(())
    }

    async fn connect(&mut self, joining: Joining) -> Result<(), StoreError> {
        let Joining { visitor: Visitor { id, uri, request }, outbox, reply } = joining;
        if let Some(old) = self.outlet.roster.by_id(id.as_str()).map(|old| old.serial) {
            let frame = CloseFrame::new(4009, "replaced by a new connection");
            let goodbye = Output::Close { to: old, frame: frame.clone() };
            self.outlet.hold(None, vec![goodbye], Reply::Nobody);
            self.close(old, Ending { frame, handshake: Handshake::Missing }).await?;
        }
        if self.outlet.roster.len() >= size(self.parts.limits.room_connections_max) {
            drop(reply.send(Err(RoomError::Full)));
            return Ok(());
        }
        // Before it is on the list: what `on_start` broadcasts is not for who is not in yet.
        if let Err(error) = self.ready().await? {
            drop(reply.send(Err(error)));
            return Ok(());
        }
        self.joined += 1;
        let serial = Serial(self.joined);
        let (tags, state) = (Arc::default(), Bytes::new());
        let connection = Connection { id, serial, uri, tags, state, link: Link::Open };
        self.outlet.roster.join(connection.clone(), outbox);
        match self.turn(&Event::Connect { connection, request }, Some(serial)).await? {
            Ok(turn) => {
                let admission = Admission::new(self.mailbox.clone(), serial);
                self.hold(turn, Reply::Opened(reply, admission));
            }
            Err(error) => {
                self.outlet.roster.leave(serial);
                self.outlet.roster.hang_up(serial);
                drop(reply.send(Err(error)));
            }
        }
        Ok(())
    }

    async fn close(&mut self, who: Serial, ending: Ending) -> Result<(), StoreError> {
        let Some(connection) = self.outlet.roster.retire(who) else {
            return Ok(());
        };
        self.plain(Event::Close { connection, ending }, Some(who)).await?;
        self.outlet.roster.leave(who);
        self.outlet.hold(None, Vec::new(), Reply::Left(who));
        Ok(())
    }

    async fn alarm(&mut self, done: AlarmGuard) -> Result<(), StoreError> {
        let now = self.parts.clock.wall_ms();
        let Some(alarm) = self.store.alarm().filter(|alarm| alarm.due_ms <= now) else {
            return Ok(());
        };
        match self.turn(&Event::Alarm, None).await? {
            Ok(turn) => self.hold(turn, Reply::Alarm(done)),
            Err(error) if !matches!(error, RoomError::Guest(_)) => {
                tracing::debug!(room = %self.room, %error, "the alarm waits");
            }
            // What it flushed before it failed has set another one.
            Err(_) if self.store.alarm().is_some_and(|current| current != alarm) => {
                self.outlet.hold(None, Vec::new(), Reply::Alarm(done));
            }
            Err(error) => {
                let next = next_try(alarm, now, &self.parts.limits);
                tracing::warn!(room = %self.room, %error, tries = alarm.tries + 1, retry = next.is_some(),
                    "the alarm failed");
                let offset = self.store.commit_alarm(next).await?;
                self.outlet.hold(Some(offset), Vec::new(), Reply::Alarm(done));
            }
        }
        Ok(())
    }

    /// Takes over other code. The old instance goes only when the new one has started.
    async fn reload(&mut self, code: Code) -> Result<Result<(), RoomError>, StoreError> {
        let old_code = std::mem::replace(&mut self.code, code);
        let Some(old) = self.live.take() else {
            self.faults.forget();
            return Ok(Ok(()));
        };
        match self.start().await? {
            Ok(()) => {
                self.faults.forget();
                Ok(Ok(()))
            }
            Err(error) => {
                self.code = old_code;
                self.live = Some(old);
                Ok(Err(error))
            }
        }
    }

    // Turns.

    /// Delivers one event to the guest and keeps all of its effects or none. The inner error is the
    /// guest's or the node's: the room goes on.
    async fn turn(
        &mut self,
        event: &Event,
        about: Option<Serial>,
    ) -> Result<Result<Committed, RoomError>, StoreError> {
        if let Err(error) = self.ready().await? {
            return Ok(Err(error));
        }
        let outcome = self.call(event, about).await?;
        match &outcome {
            Ok(_) => self.faults.success(),
            Err(error) => self.fault(event, error),
        }
        Ok(outcome)
    }

    /// Makes sure that there is an instance, which has started.
    async fn ready(&mut self) -> Result<Result<(), RoomError>, StoreError> {
        if self.faults.is_broken(Instant::now()) {
            return Ok(Err(RoomError::Broken));
        }
        match self.live {
            Some(_) => Ok(Ok(())),
            None => self.start().await,
        }
    }

    /// Makes a new instance and lets it start. Nothing is delivered to it if it does not.
    async fn start(&mut self) -> Result<Result<(), RoomError>, StoreError> {
        match Live::new(&self.code, &self.room, &self.parts).await {
            Ok(live) => self.live = Some(live),
            Err(error) => {
                self.fault(&Event::Start, &error);
                return Ok(Err(error));
            }
        }
        match self.call(&Event::Start, None).await? {
            Ok(turn) => {
                self.hold(turn, Reply::Nobody);
                Ok(Ok(()))
            }
            Err(error) => {
                self.fault(&Event::Start, &error);
                self.live = None;
                Ok(Err(error))
            }
        }
    }

    /// Calls the guest and commits what it did.
    async fn call(
        &mut self,
        event: &Event,
        about: Option<Serial>,
    ) -> Result<Result<Committed, RoomError>, StoreError> {
        let Some(mut live) = self.live.take() else { return Ok(Err(RoomError::Gone)) };
        self.events += 1;
        let span = tracing::debug_span!("turn", room = %self.room, event = event.name(),
            number = self.events, module = %self.code.module.hash());
        let called = self.deliver(&mut live, event, about).instrument(span).await?;
        let spared = called.as_ref().err().is_none_or(GuestFault::spares_instance);
        self.live = spared.then_some(live);
        let (answer, turn) = match called {
            Ok(done) => done,
            Err(fault) => return Ok(Err(fault.into())),
        };
        if let Answer::Response(response) = &answer
            && let Some(problem) = response.problem(self.parts.limits.response_bytes_max)
        {
            return Ok(Err(GuestFault::Rejected(problem).into()));
        }
        let (outputs, offset) = self.commit(turn).await?;
        Ok(Ok(Committed { answer, outputs, offset }))
    }

    /// Runs one callback, commits what it flushes, and meanwhile lets out what becomes durable.
    async fn deliver(
        &mut self,
        live: &mut Live,
        event: &Event,
        about: Option<Serial>,
    ) -> Result<Result<(Answer, Turn), GuestFault>, StoreError> {
        let turn = self.begin(about);
        let turn = if matches!(event, Event::Alarm) { turn.for_alarm() } else { turn };
        let mut call = std::pin::pin!(live.instance.call(event, turn));
        loop {
            tokio::select! {
                biased;
                called = &mut call => return Ok(called),
                Some(flush) = live.flushes.recv() => self.flush(flush, about).await?,
                Ok(()) = self.settled.changed(), if self.outlet.is_holding() => self.release()?,
            }
        }
    }

    fn begin(&self, about: Option<Serial>) -> Turn {
        let limits = self.parts.limits.clone();
        Turn::new(self.store.view(), self.outlet.roster.connections(), about, limits)
    }

    /// Ends a turn in the middle of a callback and begins another.
    async fn flush(&mut self, flush: Flush, about: Option<Serial>) -> Result<(), StoreError> {
        let Flush { turn, resume } = flush;
        let (outputs, offset) = self.commit(turn).await?;
        self.outlet.hold(offset, outputs, Reply::Nobody);
        // Whoever does not resume was stopped by its budget meanwhile.
        drop(resume.send(self.begin(about)));
        Ok(())
    }

    /// Hands a turn's writes to the store and applies the rest of it to the room.
    async fn commit(&mut self, turn: Turn) -> Result<(Vec<Output>, Option<Offset>), StoreError> {
        let effects = turn.finish().map_err(|error| StoreError::Io(error.to_string()))?;
        let mut effects: Effects = effects;
        let writes = std::mem::take(&mut effects.writes);
        let offset = match writes.is_empty() {
            true => None,
            false => Some(self.store.commit(writes).await?),
        };
        self.outlet.roster.apply(&mut effects);
        Ok((effects.outputs, offset))
    }

    fn fault(&mut self, event: &Event, error: &RoomError) {
        let RoomError::Guest(fault) = error else {
            return;
        };
        let (room, event) = (&self.room, event.name());
        match fault {
            GuestFault::Trapped { backtrace, .. } => {
                tracing::error!(target: "room::guest", party = %room.party(), room = room.name(),
                    event, "turn dropped: {fault}\n{backtrace}");
            }
            _ => tracing::error!(target: "room::guest", party = %room.party(), room = room.name(),
                event, "turn dropped: {fault}"),
        }
        if fault.spares_instance() {
            return;
        }
        if let Some(rest) = self.faults.fault(Instant::now(), &self.parts.limits) {
            tracing::error!(%room, rest_ms = rest.as_millis(), "the room failed repeatedly and rests");
        }
    }

    fn hold(&mut self, turn: Committed, reply: Reply) {
        self.outlet.hold(turn.offset, turn.outputs, reply);
    }

    /// Lets out everything that has become durable.
    fn release(&mut self) -> Result<(), StoreError> {
        self.outlet.release(|offset| self.store.settled(offset))
    }

    // Ends.

    /// Waits until everything is said, and says goodbye to those who are still there.
    async fn drain(&mut self) -> Result<(), StoreError> {
        while self.outlet.is_holding() {
            if self.settled.changed().await.is_err() {
                break;
            }
            self.release()?;
        }
        self.outlet.roster.close_all(&CloseFrame::new(1012, "the server is shutting down"));
        self.mailbox.close().into_iter().for_each(|mail| mail.fail(&RoomError::Draining));
        Ok(())
    }

    /// The storage failed: nothing that was held back is ever said, and everybody is told that it is
    /// over. The next activation begins with what the disk holds.
    fn broken(&mut self, error: StoreError) -> Stopped {
        tracing::error!(room = %self.room, %error, "the room breaks: its storage failed");
        self.live = None;
        let room_error = RoomError::from(error.clone());
        self.outlet.abandon(&room_error, &CloseFrame::new(1011, "the room's storage failed"));
        self.mailbox.close().into_iter().for_each(|mail| mail.fail(&room_error));
        Stopped::Broken(error)
    }
}

/// Whether the loop goes on.
enum Flow {
    On,
    Stop,
}

/// Why the loop woke up.
enum Woken {
    Work,
    Quiet,
}
