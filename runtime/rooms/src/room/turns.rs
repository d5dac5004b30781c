//! Turns: one event, one call of the guest, one commit. Owns the instance and the outcomes of its turns.
//!
//! Invariant: all of a turn's effects are kept or none, whatever the guest did. An outer error of a function
//! here comes from the store and ends the room; an inner error comes from the guest, and the room continues. It
//! does not know where events come from.

mod batch;
mod commit;
mod ends;
mod outcalls;
mod remembering;
mod webhooks;

use commit::unreadable;

use super::faults::Faults;
use super::figures::{RoomFigures, RoomStage};
use super::jobs::RoomJobs;
use super::live::{InstanceHold, LiveInstance};
use super::mailbox::Mailbox;
use super::outcalls::RoomOutcalls;
use super::outlet::{Outlet, Reply, TurnOutputs};
use super::outside::Outside;
use super::places::{RoomSlot, RoomSlots, Seat};
use super::roster::NumberedOutputs;
use super::ticks::Ticks;
use super::usage::Usage;
use super::{RoomError, RoomOrders, StartFallback, boxed};
use crate::cluster::ProjectHomes;
use crate::taps::{RoomTap, Taps};
use remembering::StoredLog;
use room_core::byte_budget::ByteBudget;
use room_core::clock::Clock;
use room_core::event::{Event, GuestAnswer};
use room_core::id::{ModuleHash, RoomId, SequenceNumber, Serial};
use room_core::jobs::{Job, JobId, OutcallAnswer};
use room_core::limits::Limits;
use room_core::logs::{Logs, RoomLog};
use room_core::metrics::RoomMetrics;
use room_core::report;
use room_core::ttl::Served;
use room_core::turn::{Output, Turn};
use room_guest::{Code, Flush, Flushes, GuestFault};
use room_store::{LastUse, Offset, OutboundChange, RoomStore, Store, StoreError};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{Instrument, field};
use webhooks::TurnWebhooks;

/// The parts of the node that a room needs.
pub struct RoomParts {
    /// The store of the node's rooms.
    pub store: Store,
    /// The bounds of rooms.
    pub limits: Arc<Limits>,
    /// The time of rooms and their guests.
    pub clock: Clock,
    /// The clock of the service.
    pub served: Served,
    /// One for each room that may have an instance.
    pub places: RoomSlots,
    /// One permit for each instance that may start before the one that it replaces is gone.
    pub spares: Arc<Semaphore>,
    /// The counts of all rooms.
    pub metrics: Arc<RoomMetrics>,
    /// The log that watchers of the node read.
    pub logs: Logs,
    /// The taps: which watcher follows which room.
    pub taps: Taps,
    /// The budget of the bytes that mailboxes and outboxes may hold.
    pub bytes: ByteBudget,
    /// The budget of what rooms remember of their messages.
    pub history: ByteBudget,
    /// Which rooms live on this node, and whether what they say may leave it.
    pub homes: ProjectHomes,
    /// The ways to other servers and rooms.
    pub outside: Arc<dyn Outside>,
}

/// The turns of one room.
pub(super) struct Turns {
    pub(super) room: RoomId,
    pub(super) parts: Arc<RoomParts>,
    pub(super) store: RoomStore,
    pub(super) outlet: Outlet,
    pub(super) figures: Arc<RoomFigures>,
    /// The tap that shows the room's traffic to its watchers.
    pub(super) tap: Arc<RoomTap>,
    pub(super) usage: Usage,
    pub(super) jobs: RoomJobs,
    pub(super) outcalls: RoomOutcalls,
    pub(super) ticks: Ticks,
    pub(super) webhooks: TurnWebhooks,
    code: Code,
    /// The room's own mailbox, to which the answers to its requests come.
    mailbox: Mailbox,
    /// Boxed, because each turn takes it out and puts it back.
    live: Option<Box<LiveInstance>>,
    faults: Faults,
    /// What the next commit changes of the stored log of messages.
    remembered: Option<Box<OutboundChange>>,
    stored_log: StoredLog,
}

/// A turn that committed: its outputs and the offset at which its writes are durable.
pub(super) struct Committed {
    pub(super) answer: GuestAnswer,
    said: TurnOutputs,
    offset: Option<Offset>,
}

impl Turns {
    /// Opens the room's storage, before any turn.
    ///
    /// # Errors
    /// [`StoreError`] if the stored facts of the room cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub(super) async fn new(
        room: RoomId,
        (mailbox, figures): (Mailbox, Arc<RoomFigures>),
        orders: RoomOrders,
        parts: Arc<RoomParts>,
    ) -> Result<Self, StoreError> {
        let RoomOrders { code, lifetime, retention, presence, webhooks, .. } = orders;
        let tap = Arc::new(parts.taps.of(room.clone()));
        // Before anything of the room is read.
        let right = parts.homes.right_to(&room);
        let mut store = parts.store.room(&room).await?;
        let (jobs, damages) = RoomJobs::of(store.take_jobs());
        for damage in damages {
            let log = parts.logs.of_room(&room);
            report!(
                error,
                log,
                [],
                "a stored timer or request cannot be read and is left alone: {damage}"
            );
        }
        let (log, stored_log) = remembering::begin(retention, &store, &parts);
        let mut outlet = Outlet::new((parts.clone(), right), figures.clone(), tap.clone(), log);
        outlet.keep_presence(presence);
        Ok(Self {
            usage: Usage::new(parts.served, lifetime, &parts.limits),
            jobs,
            outcalls: RoomOutcalls::default(),
            ticks: Ticks::default(),
            webhooks: TurnWebhooks::of(webhooks),
            store,
            outlet,
            figures,
            tap,
            room,
            parts,
            code,
            mailbox,
            live: None,
            faults: Faults::default(),
            remembered: None,
            stored_log,
        })
    }

    /// Makes sure that there is an instance, and that it has started.
    pub(super) async fn ready(&mut self) -> Result<Result<(), RoomError>, StoreError> {
        if self.faults.is_broken(Instant::now) {
            return Ok(Err(RoomError::Broken));
        }
        if self.live.is_some() {
            return Ok(Ok(()));
        }
        match self.place().await? {
            Ok(place) => self.start(InstanceHold::Place(place)).await,
            Err(error) => Ok(Err(error)),
        }
    }

    /// Waits for a place, and releases outputs that become durable during the wait.
    async fn place(&mut self) -> Result<Result<RoomSlot, RoomError>, StoreError> {
        let places = self.parts.places.clone();
        let mut taking = std::pin::pin!(places.take());
        loop {
            tokio::select! {
                biased;
                taken = &mut taking => return Ok(taken),
                () = self.store.settles(), if self.outlet.is_holding() => self.release()?,
            }
        }
    }

    /// Returns the seat of the instance, if there is one.
    pub(super) fn seat(&self) -> Option<Arc<Seat>> {
        self.live.as_deref().and_then(LiveInstance::seat)
    }

    /// Returns true if there is an instance.
    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Returns the bytes of the instance's memory, if there is an instance.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        self.live.as_deref().map(|live| live.instance.memory_bytes())
    }

    /// Returns whether there is an instance. The figures themselves know whether the room rests after faults.
    pub(super) fn stage(&self) -> RoomStage {
        if self.is_live() { RoomStage::Running } else { RoomStage::Hibernated }
    }

    /// Returns the hash of the code that gets the next event.
    pub(super) fn module(&self) -> ModuleHash {
        self.code.module.hash()
    }

    /// Returns true if that code handles timers.
    pub(super) fn handles_timers(&self) -> bool {
        self.code.module.handles_timers()
    }

    /// Returns true if that code handles calls of other rooms.
    pub(super) fn handles_calls(&self) -> bool {
        self.code.module.handles_calls()
    }

    /// Returns true if that code handles this answer.
    pub(super) fn handles_answers(&self, answer: &OutcallAnswer) -> bool {
        self.code.module.handles_answer(answer)
    }

    /// Returns true if that code handles crons.
    pub(super) fn handles_crons(&self) -> bool {
        self.code.module.handles_crons()
    }

    /// Drops the instance; a new one gets the next event.
    pub(super) fn rest(&mut self) {
        self.live = None;
    }

    /// Delivers one event to the started guest, and keeps all of its effects or none. An inner error comes
    /// from the guest, and the room continues.
    pub(super) async fn turn(
        &mut self,
        event: &Event,
        about: Option<Serial>,
    ) -> Result<Result<Committed, RoomError>, StoreError> {
        let outcome = self.call(event, about).await?;
        self.judge(event.name(), &outcome);
        Ok(outcome)
    }

    /// Takes over other code. The old instance goes when the new one has started. If the start fails,
    /// `otherwise` says whether the old code stays or the room rests. Returns whether the code was replaced.
    pub(super) async fn reload(
        &mut self,
        code: Code,
        otherwise: StartFallback,
        spare: OwnedSemaphorePermit,
    ) -> Result<Result<bool, RoomError>, StoreError> {
        if code.is(&self.code) {
            return Ok(Ok(false));
        }
        let old_code = std::mem::replace(&mut self.code, code);
        let Some(old) = self.live.take() else {
            self.forgive();
            return Ok(Ok(true));
        };
        let started = self.start(InstanceHold::Spare(spare)).await?;
        match (&started, &mut self.live) {
            (Ok(()), Some(new)) => {
                new.take_over(*old);
                self.forgive();
            }
            _ if otherwise == StartFallback::Rest => self.live = None,
            _ => {
                self.code = old_code;
                self.live = Some(old);
            }
        }
        Ok(started.map(|()| true))
    }

    /// Makes a new instance and starts it. If the start fails, the guest gets no event.
    async fn start(&mut self, hold: InstanceHold) -> Result<Result<(), RoomError>, StoreError> {
        let begun = Instant::now();
        match LiveInstance::new(&self.code, &self.room, self.parts.clock, hold).await {
            Ok(live) => self.live = Some(Box::new(live)),
            Err(error) => {
                self.fault(Event::Start.name(), &error);
                return Ok(Err(error));
            }
        }
        match self.call(&Event::Start, None).await? {
            Ok(turn) => {
                self.hold(turn, Reply::Nobody);
                self.parts.metrics.start_seconds.record(begun.elapsed());
                Ok(Ok(()))
            }
            Err(error) => {
                self.fault(Event::Start.name(), &error);
                self.live = None;
                Ok(Err(error))
            }
        }
    }

    /// Calls the guest, commits its effects, and counts how the turn ended, also where the store fails and
    /// the room ends.
    async fn call(
        &mut self,
        event: &Event,
        about: Option<Serial>,
    ) -> Result<Result<Committed, RoomError>, StoreError> {
        let outcome = self.attempt(event, about).await?;
        self.count(&outcome);
        Ok(outcome)
    }

    async fn attempt(
        &mut self,
        event: &Event,
        about: Option<Serial>,
    ) -> Result<Result<Committed, RoomError>, StoreError> {
        let Some(mut live) = self.live.take() else { return Ok(Err(RoomError::Gone)) };
        let turn = self.begin(about);
        let number = self.next_number();
        let turn = match event {
            Event::Alarm => {
                let tries = self.store.alarm().map_or(0, |alarm| alarm.tries);
                Box::new(turn.for_alarm(tries))
            }
            Event::Timer { id, again, .. } => {
                Box::new(turn.for_job(*id, again.clone().map(Job::Timer)))
            }
            Event::Answer { id, .. } => Box::new(turn.for_job(*id, None)),
            Event::Request(..) => Box::new(turn.for_request(self.outlet.exchanges.own(number))),
            Event::Call { call, payload, until_ms } => {
                Box::new(turn.for_call(payload.interrupted(call, *until_ms)))
            }
            Event::Publish { receipt: Some(receipt), .. } => {
                Box::new(turn.for_call((**receipt).clone()))
            }
            Event::Expire => Box::new(turn.for_end()),
            _ => turn,
        };
        let called = {
            let LiveInstance { instance, flushes, .. } = &mut *live;
            // By reference: otherwise the futures around it would copy the whole state of a call.
            let call = std::pin::pin!(instance.call(event, turn));
            self.observed(event.name(), about, call, flushes).await?
        };
        let spared = called.as_ref().err().is_none_or(GuestFault::spares_instance);
        self.live = spared.then_some(live);
        let (answer, turn) = match called {
            Ok((_, turn)) if matches!(event, Event::Publish { .. }) => {
                (Self::published(number), turn)
            }
            Ok(done) => done,
            Err(fault) => return Ok(Err(fault.into())),
        };
        if let GuestAnswer::Response(response) | GuestAnswer::Refused(response) = &answer
            && let Some(problem) = response.problem(self.parts.limits.response_bytes_max)
        {
            return Ok(Err(GuestFault::Rejected(problem).into()));
        }
        let turn = match event {
            Event::Call { .. } | Event::Publish { .. } => match self.receipted(turn, &answer) {
                Ok(turn) => turn,
                Err(error) => {
                    // Its memory may hold what is not committed.
                    self.rest();
                    return Ok(Err(error));
                }
            },
            _ => turn,
        };
        let (said, offset) = match event {
            Event::Expire => self.commit_end(turn).await?,
            Event::Connect { connection, .. } => {
                self.note_connected(connection);
                self.commit(turn.finish().map_err(unreadable)?).await?
            }
            Event::Close { connection, .. } => {
                self.note_disconnected(connection);
                self.commit(turn.finish().map_err(unreadable)?).await?
            }
            _ => self.commit(turn.finish().map_err(unreadable)?).await?,
        };
        Ok(Ok(Committed { answer, said, offset }))
    }

    /// Runs one turn of the guest with its number, its span and its figures.
    async fn observed<T>(
        &mut self,
        event: &'static str,
        about: Option<Serial>,
        call: Pin<&mut impl Future<Output = Result<T, GuestFault>>>,
        flushes: &Flushes,
    ) -> Result<Result<T, GuestFault>, StoreError> {
        let number = self.store.sequence().take(1);
        let span = tracing::debug_span!("turn", room = %self.room, event, %number,
            module = %self.code.module.hash(), fault = field::Empty);
        let begun = Instant::now();
        self.figures.note_begin(event, begun);
        let called = {
            let delivery = std::pin::pin!(self.deliver(call, about, flushes));
            delivery.instrument(span.clone()).await?
        };
        if let Err(fault) = &called {
            span.record("fault", field::display(fault));
        }
        let took = begun.elapsed();
        self.figures.note_end(took);
        self.parts.metrics.turn_seconds.record(took);
        Ok(called)
    }

    /// Waits for the guest, commits what it flushes, and releases outputs that become durable in the meantime.
    async fn deliver<T>(
        &mut self,
        mut call: Pin<&mut impl Future<Output = T>>,
        about: Option<Serial>,
        flushes: &Flushes,
    ) -> Result<T, StoreError> {
        loop {
            tokio::select! {
                biased;
                called = &mut call => return Ok(called),
                flush = flushes.next() => self.flush(flush, about).await?,
                () = self.store.settles(), if self.outlet.is_holding() => self.release()?,
            }
        }
    }

    /// Begins a turn. Boxed, because it passes through many futures on its way into the guest and back.
    fn begin(&self, about: Option<Serial>) -> Box<Turn> {
        let (limits, connections) = (self.parts.limits.clone(), self.outlet.roster.connections());
        let (view, jobs) = (self.store.view(), self.jobs.table());
        let first = JobId::first_of(self.next_number());
        let (responses, unstored) = (self.outlet.exchanges.open(), self.outcalls.unstored());
        let history = self.outlet.roster.history(self.parts.clock);
        let presence = self.outlet.draft_presence();
        boxed(|| {
            let turn = Turn::new(view, connections, about, limits);
            turn.with_jobs(jobs, first)
                .with_unstored(unstored)
                .with_responses(responses)
                .with_history(history)
                .with_presence(presence)
        })
    }

    /// Returns the number that the next turn's event takes.
    fn next_number(&self) -> SequenceNumber {
        self.store.sequence().last().after(1)
    }

    /// Ends a turn in the middle of a callback and starts another.
    async fn flush(&mut self, flush: Flush, about: Option<Serial>) -> Result<(), StoreError> {
        let Flush { turn, resume } = flush;
        let (tries, own) = (turn.alarm_tries(), turn.own_request());
        let (effects, carried) = turn.finish_part().map_err(unreadable)?;
        let (said, offset) = self.commit(effects).await?;
        self.outlet.hold(offset, said, Reply::Nobody);
        // A guest that does not resume was stopped by its budget.
        let next = self.begin(about).continued(carried).with_alarm_tries(tries).for_request(own);
        drop(resume.send(Box::new(next)));
        Ok(())
    }

    /// Returns the note of the room's use that goes with a commit.
    pub(super) fn note(&self) -> Option<LastUse> {
        self.usage.note(self.store.touch())
    }

    /// Notes that the room was used, where that must not wait for a commit. If the store cannot note it now,
    /// the room tries again later: nothing in the room depends on the note.
    pub(super) async fn note_use(&mut self) {
        if let Some(touch) = self.usage.own_note(|| self.store.touch())
            && let Err(error) = self.store.note_use(touch).await
        {
            report!(debug, self.log(), [], "the room's use is not noted: {error}");
        }
    }

    /// Returns the room's log.
    pub(super) fn log(&self) -> RoomLog<'_> {
        self.parts.logs.of_room(&self.room)
    }

    /// Hands a turn's outputs to the gate.
    pub(super) fn hold(&mut self, turn: Committed, reply: Reply) {
        self.outlet.hold(turn.offset, turn.said, reply);
        self.send_let_out();
    }

    /// Hands an output that comes from no turn to the gate, after the outputs of earlier turns.
    pub(super) fn say(&mut self, output: Output) {
        let said = self.numbered(vec![output]);
        self.outlet.hold(None, TurnOutputs { said, asked: Vec::new() }, Reply::Nobody);
    }

    /// Gives outputs the next numbers.
    fn numbered(&self, outputs: Vec<Output>) -> NumberedOutputs {
        let first = self.store.sequence().take(outputs.len());
        NumberedOutputs { first, outputs, entries: Vec::new() }
    }

    /// Releases all outputs that have become durable.
    pub(super) fn release(&mut self) -> Result<(), StoreError> {
        self.outlet.release(|offset| self.store.settled(offset))?;
        self.send_let_out();
        Ok(())
    }

    /// Sends on what has left the gate for other servers and rooms.
    fn send_let_out(&mut self) {
        if self.outlet.has_let_out() {
            self.start_let_out();
        }
    }
}
