//! Operations of an operator on a room, whether it runs or not. Owns how a room is inspected and changed from
//! outside.
//!
//! Invariant: a room that runs is changed by its own actor between two turns, or stopped first. A room at
//! rest is changed by a resident that takes its place on the list, so that no actor runs it during the
//! change. Inspecting wakes no room. It does not know who asks.

use super::{Resident, ResidentPhase, Rooms, RoomsState, Unreachable};
use crate::room::{
    ActorReport, ClientWindow, Edit, EvictedTotals, FaultRecord, RoomError, RoomFigures, RoomLeft,
    RoomParts, RoomSnapshot,
};
use room_core::event::CloseFrame;
use room_core::id::{ModuleHash, RoomId};
use room_core::turn;
use room_store::{LastUse, RoomContent, RoomFacts, StoreError};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The figures of a node.
#[derive(Debug)]
pub struct NodeSnapshot {
    /// Rooms in memory.
    pub running: usize,
    /// Rooms with an instance.
    pub live: usize,
    /// The upper bound of `live`.
    pub live_max: usize,
    /// Rooms in memory that rest because their guests failed.
    pub broken: usize,
    /// Sums since the node started, except that the connections are those of now.
    pub totals: EvictedTotals,
    /// Bytes of all guests' memories.
    pub guest_bytes: u64,
    /// The upper bound of `guest_bytes`.
    pub guest_bytes_max: u64,
    /// Seconds since the node started.
    pub uptime_seconds: u64,
    /// Why the store takes no more turns, if it does not.
    pub failure: Option<StoreError>,
}

/// The state of a room in memory. `report` is missing if the room is busy.
#[derive(Debug)]
pub struct LiveRoomReport {
    /// Its figures.
    pub glance: RoomSnapshot,
    /// The newest first.
    pub faults: Vec<FaultRecord>,
    /// What it holds.
    pub report: Option<ActorReport>,
}

/// A resident that took a room's place on the list while the room does not run, and the resident before,
/// whose end it waits for.
struct ReplacedResident {
    next: Resident,
    before: Option<Resident>,
}

impl Rooms {
    // Inspecting.

    /// Shows every room in memory to `visit`, in no particular order. No room waits for the visit.
    pub fn visit(&self, visit: impl FnMut(&RoomId, &Arc<RoomFigures>)) {
        self.0.census.visit(visit);
    }

    /// Returns the figures of a room, if it is in memory.
    pub fn figures_of(&self, room: &RoomId) -> Option<Arc<RoomFigures>> {
        self.state().running.get(room).map(|resident| resident.figures.clone())
    }

    /// Returns the present values of the figures.
    pub fn glance_at(&self, figures: &RoomFigures) -> RoomSnapshot {
        figures.glance(&self.0.parts.clock)
    }

    /// Returns when a room was last used, in microseconds since the node started.
    pub fn used_us(&self, figures: &RoomFigures) -> u64 {
        let since = figures.used().saturating_duration_since(self.0.begun);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// Returns the present figures of the node.
    pub fn glance(&self) -> NodeSnapshot {
        let parts = &self.0.parts;
        let mut totals = self.state().gone;
        totals.connections = 0;
        let (mut running, mut broken) = (0, 0);
        self.visit(|_, room| {
            totals.add(room);
            running += 1;
            broken += usize::from(room.is_broken());
        });
        NodeSnapshot {
            running,
            live: self.live(),
            live_max: self.live_max(),
            broken,
            totals,
            guest_bytes: parts.places.memory_bytes(),
            guest_bytes_max: parts.limits.rooms_memory_bytes_max,
            uptime_seconds: self.0.begun.elapsed().as_secs(),
            failure: self.storage_failure(),
        }
    }

    /// Inspects a room; `None` if it is not in memory. A room that does not answer in time counts as busy.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn inspect(&self, room: &RoomId, window: ClientWindow) -> Option<LiveRoomReport> {
        let Resident { handle, figures, .. } = self.state().running.get(room).cloned()?;
        let report = handle.inspect(window).ok()?.await;
        let glance = figures.glance(&self.0.parts.clock);
        Some(LiveRoomReport { glance, faults: figures.faults(), report })
    }

    /// Returns when the room with these facts expires if it stays unused (Unix ms, on this node's service
    /// clock); `None` if its party has no ttl.
    pub fn expires_ms(&self, room: &RoomId, facts: &RoomFacts) -> Option<u64> {
        let lifetime = self.state().parties.get(room.party())?.lifetime?;
        let RoomParts { clock, served, .. } = &*self.0.parts;
        let wait_ms = lifetime.due_ms(facts.touch?.at_ms).saturating_sub(served.ms());
        Some(clock.wall_ms().saturating_add(wait_ms))
    }

    // Changing.

    /// Returns a note that the room is used now.
    fn used_now(&self) -> Option<LastUse> {
        Some(LastUse { at_ms: self.0.parts.served.ms(), tries: 0 })
    }

    /// Closes one connection of a room. Returns false if the room is not in memory, or no connection has this
    /// id.
    ///
    /// # Errors
    /// [`RoomError::Busy`] or [`RoomError::TimedOut`]: the room is busy, and may still close it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still closes it.
    pub async fn kick(
        &self,
        room: &RoomId,
        id: String,
        frame: CloseFrame,
    ) -> Result<bool, RoomError> {
        let Some(Resident { handle, .. }) = self.state().running.get(room).cloned() else {
            return Ok(false);
        };
        match handle.kick(id, frame) {
            Ok(kicked) => kicked.await,
            Err(RoomLeft(())) => Ok(false),
        }
    }

    /// Changes one key of a room, waits until the change is durable, and returns whether the key existed
    /// before. A room that runs makes the change itself: its connections stay, and a fresh instance gets its
    /// next event. The inner error names a limit that the change exceeds.
    ///
    /// # Errors
    /// [`RoomError`]: nothing was changed. After [`RoomError::TimedOut`] the room may still change it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the change is still made.
    pub async fn edit(
        &self,
        room: &RoomId,
        mut edit: Edit,
    ) -> Result<Result<bool, turn::Refusal>, RoomError> {
        loop {
            let found = self.state().find_or_take(room, &self.0.parts)?;
            let handle = match found {
                ResidentLookup::Running(resident) => resident.handle,
                ResidentLookup::Free(taken) => {
                    let (rooms, id) = (self.clone(), room.clone());
                    let written = self.work_on(room, taken, async move {
                        let store = rooms.0.parts.store.room(&id).await?;
                        let (writes, was_there) =
                            match edit.writes(&store, &rooms.0.parts.limits)? {
                                Ok(changed) => changed,
                                Err(refusal) => return Ok(Err(refusal)),
                            };
                        if !writes.is_empty() {
                            let none = ModuleHash::NONE;
                            let touch = rooms.used_now();
                            store.durable(store.commit(writes, none, touch).await?).await?;
                        }
                        Ok(Ok(was_there))
                    });
                    return written.await;
                }
            };
            match handle.edit(edit) {
                Ok(edited) => return edited.await,
                // The room is leaving memory.
                Err(RoomLeft(back)) => edit = back,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Stops a room if it runs, and closes its connections with `frame`. A client that comes during the stop
    /// waits, and then reaches a restarted room. Returns the number of connections closed.
    ///
    /// # Errors
    /// [`RoomError::Draining`]: the node stops.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room is still stopped.
    pub async fn close(&self, room: &RoomId, frame: CloseFrame) -> Result<u64, RoomError> {
        let Some(connections) = self.connections(room) else { return Ok(0) };
        let taken = self.state().take_place(room, frame, &self.0.parts)?;
        self.work_on(room, taken, async { Ok(()) }).await?;
        Ok(connections)
    }

    /// Deletes everything that is stored for a room, and waits until the deletion is durable. A room that
    /// runs is stopped first, and its connections are closed with `frame`. Returns the number of connections
    /// closed.
    ///
    /// # Errors
    /// [`RoomError`]: the room is stopped, and its storage is unchanged.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room is still deleted.
    pub async fn delete(&self, room: &RoomId, frame: CloseFrame) -> Result<u64, RoomError> {
        let connections = self.connections(room).unwrap_or_default();
        let taken = self.state().take_place(room, frame, &self.0.parts)?;
        let (store, id) = (self.0.parts.store.clone(), room.clone());
        self.work_on(room, taken, async move { store.forget(&id).await }).await?;
        Ok(connections)
    }

    /// Returns the number of connections of a room in memory.
    pub fn connections(&self, room: &RoomId) -> Option<u64> {
        self.state().running.get(room).map(|resident| resident.figures.connections())
    }

    /// Replaces everything that is stored for a room, and waits until the new content is durable. A room that
    /// runs is stopped first, and its connections are closed with a code that asks the clients to come back.
    /// A client that comes during the import waits, and then reaches the new content.
    ///
    /// # Errors
    /// [`Unreachable`]: nothing was changed, or, if the storage failed, as [`room_store::Store::import`]
    /// says. The room continues with the stored data.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room is still replaced.
    pub async fn import(&self, content: RoomContent) -> Result<(), Unreachable> {
        let room = content.room().clone();
        let frame = CloseFrame::new(1012, "the room's storage was replaced");
        let taken = {
            let mut state = self.state();
            state.check_not_aside(room.party())?;
            if !state.draining && !state.parties.contains_key(room.party()) {
                return Err(Unreachable::UnknownParty(room.party().clone()));
            }
            state.take_place(&room, frame, &self.0.parts)?
        };
        let store = self.0.parts.store.clone();
        let touch = self.used_now();
        Ok(self.work_on(&room, taken, async move { store.import(content, touch).await }).await?)
    }

    /// Waits for the end of the resident before, then does `work` on the room's storage. Afterwards the room
    /// runs, if its mailbox holds mails.
    async fn work_on<T: Send + 'static>(
        &self,
        room: &RoomId,
        ReplacedResident { next, before }: ReplacedResident,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, RoomError> {
        let (rooms, room) = (self.clone(), room.clone());
        let (reply, answer) = oneshot::channel();
        self.0.tasks.spawn(async move {
            let run = pin!(async {
                if let Some(before) = before {
                    before.ended.cancelled().await;
                }
                // A caller that has left needs no answer.
                drop(reply.send(work.await));
                let party = rooms.state().begin(&room, next.handle.mailbox());
                if let Some(party) = party {
                    rooms.run(&room, &next, Box::new(party.orders())).await;
                }
            });
            rooms.reside(&room, &next, run).await;
        });
        Ok(answer.await.map_err(|_| RoomError::Gone)??)
    }
}

/// The result of a look at the list.
enum ResidentLookup {
    Running(Resident),
    Free(ReplacedResident),
}

impl RoomsState {
    /// Returns the resident of a room. A room without a resident gets one, in the same step.
    fn find_or_take(
        &mut self,
        room: &RoomId,
        parts: &Arc<RoomParts>,
    ) -> Result<ResidentLookup, RoomError> {
        if self.draining {
            return Err(RoomError::Draining);
        }
        parts.check_lives_here(room)?;
        if let Some(resident) = self.running.get(room) {
            return Ok(ResidentLookup::Running(resident.clone()));
        }
        self.check_not_aside(room.party())?;
        let next = self.new_resident(room, ResidentPhase::Waiting, parts);
        self.running.insert(room.clone(), next.clone());
        Ok(ResidentLookup::Free(ReplacedResident { next, before: None }))
    }

    /// Puts a resident that waits for its content on the list, and notifies the previous resident, if there is
    /// one, to stop in the same step.
    fn take_place(
        &mut self,
        room: &RoomId,
        frame: CloseFrame,
        parts: &Arc<RoomParts>,
    ) -> Result<ReplacedResident, RoomError> {
        if self.draining {
            return Err(RoomError::Draining);
        }
        parts.check_lives_here(room)?;
        self.check_not_aside(room.party())?;
        let next = self.new_resident(room, ResidentPhase::Waiting, parts);
        let before = self.running.insert(room.clone(), next.clone());
        if let Some(before) = &before {
            before.handle.stop(frame);
        }
        Ok(ReplacedResident { next, before })
    }
}
