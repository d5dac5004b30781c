//! All rooms of this node. Owns the list of running rooms, and that each runs once.
//!
//! Invariant: at most one actor a [`RoomId`]. A hundred first visitors find the same one, because one step
//! makes the actor and puts it on the list, and one step takes it off the list and closes its mailbox. An
//! actor that replaces another starts when the other has ended. It does not know how a room works or who
//! visits it. `entrance` lets clients in, `operate` holds what an operator may do to rooms, `rollout`
//! brings new code to them, and `shards` lets them go to other nodes of a cluster.

mod census;
mod entrance;
mod guests;
mod operate;
mod outside;
mod renames;
mod rollout;
mod shards;

pub use entrance::RoomEntrance;
pub use guests::{GuestHost, Guests};
pub use operate::{LiveRoomReport, NodeSnapshot};
pub use renames::AsideParties;
pub use rollout::{ReloadError, Reloaded};

use crate::cluster::ProjectHomes;
use crate::room::{
    Actor, AlarmGuard, CronReach, EvictedTotals, Mailbox, Outside, RoomError, RoomFigures,
    RoomHandle, RoomOrders, RoomParts, Stopped,
};
use crate::taps::Taps;
use census::Census;
use futures_util::FutureExt;
use hashbrown::{HashMap, HashSet};
use outside::NodeOutside;
use room_auth::PartyAuth;
use room_core::byte_budget::ByteBudget;
use room_core::clock::Clock;
use room_core::config::{
    AutoResponse, Cors, FetchHosts, Origins, Presence, Retention, SseAccess, WhenQuiet,
};
use room_core::event::{BodyDelivery, CloseFrame};
use room_core::id::{PartyName, RoomId};
use room_core::lock::lock;
use room_core::logs::Logs;
use room_core::metrics::{RoomMetrics, level};
use room_core::report;
use room_core::ttl::{Lifetime, Served};
use room_core::webhooks::WebhookEvents;
use room_guest::Code;
use room_store::{Store, StoreError};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The rooms of one node. Cheap to clone; clones are the same rooms.
#[derive(Clone)]
pub struct Rooms(Arc<RoomsInner>);

struct RoomsInner {
    parts: Arc<RoomParts>,
    state: Mutex<RoomsState>,
    census: Arc<Census>,
    begun: Instant,
    tasks: TaskTracker,
}

#[derive(Default)]
struct RoomsState {
    parties: HashMap<PartyName, Arc<Party>>,
    /// The auto-responses of each party, for its open sockets.
    answers: HashMap<PartyName, watch::Sender<Option<Arc<AutoResponse>>>>,
    running: Residents,
    /// Parties whose rooms are getting another name: none of their rooms may run.
    aside: HashSet<PartyName>,
    /// The sums of the figures of rooms that have left memory.
    gone: EvictedTotals,
    draining: bool,
}

/// The rooms in memory. Those on the list are in the census.
#[derive(Default)]
struct Residents {
    by_id: HashMap<RoomId, Resident>,
    census: Arc<Census>,
}

impl Residents {
    fn of(census: &Arc<Census>) -> Self {
        Self { by_id: HashMap::new(), census: census.clone() }
    }

    fn insert(&mut self, room: RoomId, resident: Resident) -> Option<Resident> {
        self.census.insert(room.clone(), resident.figures.clone());
        self.by_id.insert(room, resident)
    }

    fn remove(&mut self, room: &RoomId) {
        if let Some(resident) = self.by_id.remove(room) {
            self.census.remove(room, &resident.figures);
        }
    }

    fn get(&self, room: &RoomId) -> Option<&Resident> {
        self.by_id.get(room)
    }

    fn get_mut(&mut self, room: &RoomId) -> Option<&mut Resident> {
        self.by_id.get_mut(room)
    }

    fn len(&self) -> usize {
        self.by_id.len()
    }

    fn iter(&self) -> impl Iterator<Item = (&RoomId, &Resident)> {
        self.by_id.iter()
    }
}

/// The actor on the list for a room.
#[derive(Clone)]
struct Resident {
    handle: RoomHandle,
    figures: Arc<RoomFigures>,
    phase: ResidentPhase,
    /// Cancelled when the actor and all that it held is gone.
    ended: CancellationToken,
}

/// The progress of a resident.
#[derive(Clone)]
enum ResidentPhase {
    /// It waits for its content, and does not know yet which code it runs.
    Waiting,
    /// It runs. It holds this code when it reaches the end of its mailbox.
    Running(Arc<Party>),
}

impl Resident {
    fn new(phase: ResidentPhase, handle: RoomHandle, parts: &RoomParts) -> Self {
        let figures = Arc::new(RoomFigures::new(parts.limits.clone()));
        Self { handle, figures, phase, ended: CancellationToken::new() }
    }

    /// Returns true if this is the resident's mailbox.
    fn has(&self, mailbox: &Mailbox) -> bool {
        self.handle.mailbox().is(mailbox)
    }
}

/// The code and the settings of a party's rooms.
#[derive(Clone)]
pub struct Party {
    /// The code that its rooms run.
    pub code: Code,
    /// The behaviour of its rooms when they are quiet.
    pub when_quiet: WhenQuiet,
    /// The answer that sockets give without waking the room.
    pub auto_response: Option<Arc<AutoResponse>>,
    /// How long its rooms are kept while unused; `None` keeps them forever.
    pub lifetime: Option<Lifetime>,
    /// The origins whose pages may open WebSockets to its rooms.
    pub origins: Origins,
    /// The pages of other sites that may read the responses of its rooms.
    pub cors: Cors,
    /// The servers that its rooms may fetch from.
    pub fetch_hosts: FetchHosts,
    /// How bodies of plain requests reach its rooms.
    pub request_bodies: BodyDelivery,
    /// How much its rooms remember of what they sent; `None` if nothing.
    pub retention: Option<Retention>,
    /// How its rooms show who is there; `None` if they do not.
    pub presence: Option<Presence>,
    /// Whether clients may connect by server-sent events.
    pub sse: SseAccess,
    /// The events of its rooms that the project's receiver gets webhooks of.
    pub webhooks: WebhookEvents,
    /// What it asks of its clients, if it asks anything.
    pub auth: Option<PartyAuth>,
}

impl Party {
    fn orders(&self) -> RoomOrders {
        let Self { code, when_quiet, lifetime, webhooks, .. } = self;
        let (retention, presence) = (self.retention, self.presence);
        let (code, when_quiet, lifetime) = (code.clone(), *when_quiet, *lifetime);
        RoomOrders { code, when_quiet, lifetime, retention, presence, webhooks: *webhooks }
    }
}

/// The reason why a caller cannot reach a room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// There is no such party.
    #[error("party {0} not found")]
    UnknownParty(PartyName),
    /// The room refused.
    #[error(transparent)]
    Room(#[from] RoomError),
}

impl Rooms {
    /// Returns a node's rooms. None runs yet.
    pub fn new(
        store: Store,
        (clock, served): (Clock, Served),
        guests: &Guests,
        metrics: Arc<RoomMetrics>,
        homes: ProjectHomes,
    ) -> Self {
        let Guests { engine, places, spares, bytes, history, limits, .. } = guests;
        let client = guests.fetch.clone();
        let (limits, places, spares) = (limits.clone(), places.clone(), spares.clone());
        let (logs, taps) = (engine.logs().clone(), Taps::new(&limits, clock));
        let (bytes, history) = (bytes.clone(), history.clone());
        let census = Arc::new(Census::default());
        Self(Arc::new_cyclic(|rooms| {
            let outside = NodeOutside {
                rooms: rooms.clone(),
                client,
                homes: homes.clone(),
                store: store.id(),
                limits: limits.clone(),
            };
            let outside: Arc<dyn Outside> = Arc::new(outside);
            let parts = RoomParts {
                store,
                limits,
                clock,
                served,
                places,
                spares,
                metrics,
                logs,
                taps,
                bytes,
                history,
                homes,
                outside,
            };
            RoomsInner {
                parts: Arc::new(parts),
                state: Mutex::new(RoomsState {
                    running: Residents::of(&census),
                    ..RoomsState::default()
                }),
                census,
                begun: Instant::now(),
                tasks: TaskTracker::new(),
            }
        }))
    }

    /// Returns true until a project is deployed for the first time.
    pub fn is_empty(&self) -> bool {
        self.state().parties.is_empty()
    }

    /// Reports to a room that its alarm is due. `done` is completed when the room has handled the alarm, and
    /// dropped if the room could not handle it.
    pub fn ring(&self, room: &RoomId, done: AlarmGuard) {
        if let Ok(handle) = self.handle(room) {
            handle.alarm(done);
        }
    }

    /// Reports to a room that it may have been unused for too long; `done` works as with [`Rooms::ring`].
    pub fn expire(&self, room: &RoomId, done: AlarmGuard) {
        if let Ok(handle) = self.handle(room) {
            handle.expire(done);
        }
    }

    /// Calls a room for a cron with this name and planned time, and waits until the turn is durable. Activates the room
    /// if it does not run.
    ///
    /// # Errors
    /// [`Unreachable`]: the turn did nothing. After [`RoomError::TimedOut`] the room may still handle the call.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still handles the call.
    pub async fn cron(
        &self,
        room: &RoomId,
        call: (&str, u64),
        reach: CronReach,
    ) -> Result<(), Unreachable> {
        loop {
            if let Ok(handled) = self.handle(room)?.cron(call, reach) {
                return Ok(handled.await?);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Returns the parties whose rooms expire, with their lifetimes.
    pub fn lifetimes(&self) -> Vec<(PartyName, Lifetime)> {
        let state = self.state();
        let parties = state.parties.iter();
        parties.filter_map(|(name, party)| Some((name.clone(), party.lifetime?))).collect()
    }

    /// Returns the servers that a party's rooms may fetch from; `None` if there is no such party.
    fn fetch_hosts(&self, party: &PartyName) -> Option<FetchHosts> {
        self.state().parties.get(party).map(|party| party.fetch_hosts.clone())
    }

    /// Returns the handle of a room, and activates the room if it does not run.
    fn handle(&self, room: &RoomId) -> Result<RoomHandle, Unreachable> {
        let mut state = self.state();
        if state.draining {
            return Err(RoomError::Draining.into());
        }
        self.check_lives_here(room)?;
        if let Some(resident) = state.running.get(room) {
            return Ok(resident.handle.clone());
        }
        let party = state.party(room)?.clone();
        Ok(self.activate(&mut state, room, party))
    }

    /// Puts a room on the list, and starts its actor as a task of its own.
    fn activate(&self, state: &mut RoomsState, room: &RoomId, party: Arc<Party>) -> RoomHandle {
        let orders = Box::new(party.orders());
        let resident = state.new_resident(room, ResidentPhase::Running(party), &self.0.parts);
        let handle = resident.handle.clone();
        state.running.insert(room.clone(), resident.clone());
        let (rooms, room) = (self.clone(), room.clone());
        self.0.tasks.spawn(async move {
            let run = pin!(rooms.run(&room, &resident, orders));
            rooms.reside(&room, &resident, run).await;
        });
        handle
    }

    /// Lets a resident run to its end, and takes it off the list. `run` is a reference, because the task
    /// would otherwise reserve space for it twice.
    async fn reside(
        &self,
        room: &RoomId,
        resident: &Resident,
        run: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) {
        let _ended = resident.ended.clone().drop_guard();
        // A panic is our bug, not the guest's. It costs this room and nothing else.
        if AssertUnwindSafe(run).catch_unwind().await.is_err() {
            let log = self.logs().of_room(room);
            report!(error, log, [], "the room panicked; this is a bug of the runtime");
        }
        let mailbox = resident.handle.mailbox();
        let left = mailbox.close();
        {
            let mut state = self.state();
            state.forget(room, mailbox);
            state.gone.add(&resident.figures);
        }
        left.fail(&RoomError::Gone);
    }

    /// Runs a room to its end. The orders are boxed, because the task would otherwise reserve space for them
    /// as long as it lives.
    async fn run(&self, room: &RoomId, resident: &Resident, orders: Box<RoomOrders>) {
        let (parts, metrics) = (self.0.parts.clone(), &self.0.parts.metrics);
        let (log, mailbox) = (self.logs().of_room(room), resident.handle.mailbox());
        let ends = (mailbox.clone(), resident.figures.clone());
        // Boxed, because the task would otherwise keep the space that the start needs.
        let actor = Box::pin(Actor::new(room.clone(), ends, *orders, parts));
        let mut actor = match actor.await {
            Ok(actor) => actor,
            Err(error) => {
                metrics.broken.increment(1);
                report!(error, log, [], "the room does not begin: its storage failed: {error}");
                return mailbox.close().fail(&error.into());
            }
        };
        metrics.activations.increment(1);
        report!(debug, log, [], "activated");
        match actor.run(|mailbox| self.state().leave(room, mailbox)).await {
            Stopped::Evicted => {
                metrics.evictions.increment(1);
                report!(debug, log, [], "evicted");
            }
            Stopped::Drained => report!(debug, log, [], "stopped"),
            // The actor reported why when the room broke.
            Stopped::Broken(error) => {
                metrics.broken.increment(1);
                report!(debug, log, [%error], "stopped: its storage failed");
            }
        }
    }

    fn residents(&self) -> Vec<(RoomId, Resident)> {
        let state = self.state();
        state.running.iter().map(|(id, resident)| (id.clone(), resident.clone())).collect()
    }

    /// Returns the store's error if the store has failed, so that no room can be served.
    pub fn storage_failure(&self) -> Option<StoreError> {
        self.0.parts.store.failure()
    }

    /// Returns the log that watchers of this node read.
    pub fn logs(&self) -> &Logs {
        &self.0.parts.logs
    }

    /// Returns the budget of the bytes that the node may hold for clients and rooms.
    pub fn bytes(&self) -> &ByteBudget {
        &self.0.parts.bytes
    }

    /// Returns the budget of what the node's rooms remember of their messages.
    pub fn history(&self) -> &ByteBudget {
        &self.0.parts.history
    }

    /// Returns the taps: which watcher follows which room.
    pub fn taps(&self) -> &Taps {
        &self.0.parts.taps
    }

    /// Returns the parts of the node that all rooms share.
    pub(crate) fn parts(&self) -> &RoomParts {
        &self.0.parts
    }

    /// Returns the number of rooms in memory.
    pub fn count(&self) -> usize {
        self.state().running.len()
    }

    /// Returns the number of rooms with a live instance.
    pub fn live(&self) -> usize {
        self.0.parts.places.taken()
    }

    /// Returns the upper bound of rooms with a live instance.
    pub fn live_max(&self) -> usize {
        self.0.parts.places.total()
    }

    /// Sets the gauges of the rooms and of their store.
    pub fn measure(&self) {
        let metrics = &self.0.parts.metrics;
        metrics.running.set(level(self.count() as u64));
        metrics.live.set(level(self.live() as u64));
        metrics.live_max.set(level(self.live_max() as u64));
        self.0.parts.store.measure();
    }

    /// Lets every room finish what it has started, and stops it. No room is activated afterwards.
    ///
    /// # Cancel safety
    /// If the future is dropped, the rooms still stop.
    pub async fn drain(&self) {
        self.state().draining = true;
        for (_, resident) in self.residents() {
            resident.handle.stop(CloseFrame::new(1012, "the server is shutting down"));
        }
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn state(&self) -> MutexGuard<'_, RoomsState> {
        lock(&self.0.state)
    }
}

impl RoomsState {
    /// Makes a resident with a mailbox of its own, which the caller puts on the list.
    fn new_resident(
        &mut self,
        room: &RoomId,
        phase: ResidentPhase,
        parts: &Arc<RoomParts>,
    ) -> Resident {
        let answers = self.answers.entry(room.party().clone()).or_default().subscribe();
        Resident::new(phase, RoomHandle::new(answers, parts.clone()), parts)
    }

    /// Closes a mailbox if it is empty, and takes the room off the list in the same step. Returns whether it
    /// closed the mailbox.
    fn leave(&mut self, room: &RoomId, mailbox: &Mailbox) -> bool {
        let leaves = mailbox.close_if_empty();
        if leaves {
            self.forget(room, mailbox);
        }
        leaves
    }

    /// Takes a room off the list, unless another mailbox has replaced its own.
    fn forget(&mut self, room: &RoomId, mailbox: &Mailbox) {
        if self.running.get(room).is_some_and(|resident| resident.has(mailbox)) {
            self.running.remove(room);
        }
    }

    /// Notes that a room starts to run, and returns its party; `None` if its mailbox is empty, or its party
    /// is gone.
    fn begin(&mut self, room: &RoomId, mailbox: &Mailbox) -> Option<Arc<Party>> {
        if self.leave(room, mailbox) {
            return None;
        }
        let party = self.parties.get(room.party()).cloned()?;
        // If another resident has replaced this one already, a mail tells this one to stop.
        if let Some(resident) = self.running.get_mut(room)
            && resident.has(mailbox)
        {
            resident.phase = ResidentPhase::Running(party.clone());
        }
        Some(party)
    }
}

#[cfg(test)]
mod tests;
