//! The right to have a live instance. Owns which rooms hold a place, and which room goes when all places are
//! taken.
//!
//! Invariant: there are never more instances than places, neither in the process nor in a project. A room
//! that was asked to go gives its place up before it handles anything else, and a room that works or has
//! promised to stay is never asked. It does not know what rooms do.
//!
//! The process has [`SharedRoomSlots`], as all its rooms share one address space and one limit on mappings. A
//! project has [`RoomSlots`] among them, up to its own limit. Where a project is at its limit, its own least
//! recently used room goes; where the process is, the least recently used room of all projects goes.
//!
//! All of it lies under one lock, which a turn does not take: a room that is used again notes the time on its own seat,
//! under a lock of its own, and the search moves the room in the order when it meets it. A search costs O(log n) for
//! each room it moves, which was used since it was moved last; it never looks at all rooms. It does look at all
//! projects, at most a thousand on a server, and only while a room waits.

mod seat;

pub(crate) use seat::RoomSlot;
use seat::Standing;
pub(super) use seat::{Seat, SeatVerdict};

use super::RoomError;
use room_core::limits::{Limits, ms, size};
use room_core::lock::lock;
use room_guest::GuestMemory;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

/// The places of a process. Cheap to clone; clones are the same places.
#[derive(Clone)]
pub struct SharedRoomSlots(Arc<SlotsShared>);

struct SlotsShared {
    state: Mutex<SlotsState>,
    total: usize,
    /// Bytes that the guests of all projects may have.
    memory_max: u64,
    /// The start from which times of use are counted.
    start: Instant,
}

struct SlotsState {
    free: usize,
    /// RoomSlots given so far: the number of the last seat.
    given: u64,
    /// Rooms that waited so far: the ticket of the last one.
    tickets: u64,
    /// Rooms that were asked to go and have not gone yet.
    told: usize,
    /// Rooms that have promised to stay.
    staying: usize,
    /// Rooms that wait for a place.
    waiting: usize,
    /// By their numbers.
    projects: BTreeMap<u64, ProjectShare>,
    /// The number of the last project.
    numbers: u64,
}

/// One project's share of the places.
struct ProjectShare {
    total: usize,
    memory: GuestMemory,
    memory_max: u64,
    taken: usize,
    told: usize,
    staying: usize,
    /// Rooms that may be asked to go, by the time of their use when they were put here.
    order: BTreeMap<(u64, u64), Arc<Seat>>,
    /// Rooms that want a place, by their tickets: first come, first served.
    waiting: BTreeMap<u64, Waiter>,
}

/// A room in the queue, as the code that gives places sees it.
struct Waiter {
    places: RoomSlots,
    to: oneshot::Sender<RoomSlot>,
}

/// The places of one project. Cheap to clone; clones are the same places.
#[derive(Clone)]
pub struct RoomSlots(Arc<ProjectMembership>);

/// A project's entry in the shared state, until it is dropped.
struct ProjectMembership {
    shared: Arc<SlotsShared>,
    number: u64,
    total: usize,
    memory: GuestMemory,
    memory_max: u64,
    wait: Duration,
}

/// A room in the queue for a place. When it is dropped, the room leaves the queue.
struct Ticket {
    places: RoomSlots,
    number: u64,
    granted: oneshot::Receiver<RoomSlot>,
}

impl SharedRoomSlots {
    /// Makes this many places, all free, whose guests may have this many bytes of memory together.
    pub fn new(total: u64, memory_max: u64) -> Self {
        let total = size(total);
        let state = SlotsState {
            free: total,
            given: 0,
            tickets: 0,
            told: 0,
            staying: 0,
            waiting: 0,
            projects: BTreeMap::new(),
            numbers: 0,
        };
        let (state, start) = (Mutex::new(state), Instant::now());
        Self(Arc::new(SlotsShared { state, total, memory_max, start }))
    }

    /// Returns the places of one project, at most `rooms_active_max`. `memory` counts the bytes of its
    /// guests.
    pub fn for_project(&self, limits: &Limits, memory: GuestMemory) -> RoomSlots {
        let total = size(limits.rooms_active_max).min(self.0.total);
        let memory_max = limits.rooms_memory_bytes_max;
        let mut state = self.0.state();
        state.numbers += 1;
        let number = state.numbers;
        let project = ProjectShare {
            total,
            memory: memory.clone(),
            memory_max,
            taken: 0,
            told: 0,
            staying: 0,
            order: BTreeMap::new(),
            waiting: BTreeMap::new(),
        };
        state.projects.insert(number, project);
        drop(state);
        let wait = ms(limits.place_wait_ms_max);
        let shared = self.0.clone();
        RoomSlots(Arc::new(ProjectMembership { shared, number, total, memory, memory_max, wait }))
    }
}

impl Drop for ProjectMembership {
    fn drop(&mut self) {
        self.shared.state().projects.remove(&self.number);
    }
}

impl RoomSlots {
    /// Returns the number of places.
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// Returns the bytes of the memories of the project's guests.
    pub fn memory_bytes(&self) -> u64 {
        self.0.memory.bytes()
    }

    /// Returns the number of places taken.
    pub fn taken(&self) -> usize {
        self.state().projects.get(&self.0.number).map_or(0, |project| project.taken)
    }

    /// Waits for a place: a free one, or that of the least recently used room that may go.
    ///
    /// # Errors
    /// [`RoomError::Busy`]: no room may go, or none went within `place_wait_ms_max`.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, no place is lost.
    pub(super) async fn take(&self) -> Result<RoomSlot, RoomError> {
        let mut ticket = {
            let mut state = self.state();
            let shared = &self.0.shared;
            let Some(project) = state.projects.get(&self.0.number) else {
                return Err(RoomError::Draining);
            };
            let (fits, shared_fits) = (project.has_space_for(1), shared.has_space_for(&state, 1));
            if fits && shared_fits && project.waiting.is_empty() {
                return Ok(self.give(&mut state));
            }
            let all_stay = |staying: usize, taken: usize| staying == taken;
            let in_vain = match (fits, shared_fits) {
                (false, _) => all_stay(project.staying, project.taken),
                (true, false) => all_stay(state.staying, shared.total - state.free),
                (true, true) => false,
            };
            if in_vain {
                // Waiting would not help: every room has promised to stay.
                return Err(RoomError::Busy);
            }
            let ticket = self.queue(&mut state);
            // Memory may have become free since the other rooms started to wait.
            shared.serve(&mut state, self);
            ticket
        };
        if let Ok(Ok(place)) = tokio::time::timeout(self.0.wait, &mut ticket.granted).await {
            return Ok(place);
        }
        // The place may have come at the last moment. After the ticket has left the queue, it cannot come any
        // more.
        self.state().leave_queue(&ticket);
        ticket.granted.try_recv().map_err(|_| RoomError::Busy)
    }

    fn queue(&self, state: &mut SlotsState) -> Ticket {
        let (sender, granted) = oneshot::channel();
        state.tickets += 1;
        state.waiting += 1;
        let number = state.tickets;
        if let Some(project) = state.projects.get_mut(&self.0.number) {
            project.waiting.insert(number, Waiter { places: self.clone(), to: sender });
        }
        Ticket { places: self.clone(), number, granted }
    }

    fn give(&self, state: &mut SlotsState) -> RoomSlot {
        state.free -= 1;
        state.given += 1;
        if let Some(project) = state.projects.get_mut(&self.0.number) {
            project.taken += 1;
        }
        RoomSlot::new(self.clone(), state.given)
    }

    fn has_too_much_memory(&self) -> bool {
        let ProjectMembership { memory, memory_max, shared, .. } = &*self.0;
        memory.bytes() > *memory_max || memory.all_bytes() > shared.memory_max
    }

    fn state(&self) -> MutexGuard<'_, SlotsState> {
        self.0.shared.state()
    }
}

impl SlotsShared {
    /// Returns true if the process has this many places more, and its guests may have the memory of this many
    /// instances more, each of the present average size.
    fn has_space_for(&self, state: &SlotsState, more: usize) -> bool {
        let bytes = state.memory_bytes();
        state.free >= more && has_memory(bytes, self.total - state.free, more, self.memory_max)
    }

    /// Gives free places to waiting rooms, and asks rooms to go for the rest of them. `by` holds the places
    /// that have changed.
    fn serve(&self, state: &mut SlotsState, by: &RoomSlots) {
        let mut given = 0;
        while state.waiting > 0 && self.has_space_for(state, given + 1) {
            let first = |(number, project): (&u64, &ProjectShare)| {
                let (ticket, _) = project.waiting.first_key_value()?;
                project.has_space_for(given + 1).then_some((*ticket, *number))
            };
            let Some((_, number)) = state.projects.iter().filter_map(first).min() else { break };
            let Some(project) = state.projects.get_mut(&number) else { break };
            let Some((_, waiter)) = project.waiting.pop_first() else { break };
            state.waiting -= 1;
            given += 1;
            // The receiver listens: a ticket leaves the queue before its room stops listening, and this one
            // was in the queue.
            drop(waiter.to.send(waiter.places.give(state)));
        }
        self.make_space(state, by);
    }

    /// Asks rooms to go. In each project whose limit keeps rooms waiting, it asks as many of the project's
    /// own rooms as wait. Among all projects, it asks as many as wait because the process has no places for
    /// them, or one if the guests have too much memory. It asks fewer if no more rooms may go.
    fn make_space(&self, state: &mut SlotsState, by: &RoomSlots) {
        let own = by.0.number;
        if state.projects.get(&own).is_some_and(ProjectShare::has_too_much_memory) {
            self.tell(state, own, 1);
        }
        let mut wanted = usize::from(state.memory_bytes() > self.memory_max);
        if state.waiting > 0 {
            let waits = |project: &&ProjectShare| !project.waiting.is_empty();
            let at_limit = |project: &&ProjectShare| waits(project) && !project.has_space_for(1);
            let numbers: Vec<u64> = state
                .projects
                .iter()
                .filter(|(_, project)| at_limit(project))
                .map(|(number, _)| *number)
                .collect();
            for number in numbers {
                let waiting =
                    state.projects.get(&number).map_or(0, |project| project.waiting.len());
                self.tell(state, number, waiting);
            }
            let projects = state.projects.values();
            let others = projects.filter(|project| waits(project) && !at_limit(project));
            wanted = wanted.max(others.map(|project| project.waiting.len()).sum());
        }
        // A room that goes in a project at its limit makes space for that project alone.
        let promised =
            |project: &ProjectShare| if project.waiting.is_empty() { 0 } else { project.told };
        if wanted == 0 {
            return;
        }
        loop {
            let at_limit = state.projects.values().filter(|project| !project.has_space_for(1));
            if state.told - at_limit.map(promised).sum::<usize>() >= wanted {
                return;
            }
            let first = |(number, project): (&u64, &ProjectShare)| {
                project.order.first_key_value().map(|(used, _)| (*used, *number))
            };
            let Some((_, number)) = state.projects.iter().filter_map(first).min() else { return };
            self.tell_next(state, number);
        }
    }

    /// Asks rooms of one project to go until `wanted` rooms have been asked and have not gone.
    fn tell(&self, state: &mut SlotsState, number: u64, wanted: usize) {
        let goes_on = |project: &ProjectShare| project.told < wanted && !project.order.is_empty();
        while state.projects.get(&number).is_some_and(goes_on) {
            self.tell_next(state, number);
        }
    }

    /// Looks at the first room in a project's order, and asks it to go or puts it where it belongs.
    fn tell_next(&self, state: &mut SlotsState, number: u64) {
        let Some(project) = state.projects.get_mut(&number) else { return };
        let Some(((listed_at, _), seat)) = project.order.pop_first() else { return };
        let mut standing = seat.standing();
        standing.listed_at = None;
        if !standing.idle {
            // It works. When it is idle again, it lists itself.
        } else if standing.used == listed_at {
            standing.told = true;
            project.told += 1;
            state.told += 1;
            seat.go.notify_one();
        } else {
            // It was used since, and has its place further back.
            project.list(&seat, &mut standing);
        }
    }

    fn state(&self) -> MutexGuard<'_, SlotsState> {
        lock(&self.state)
    }
}

/// Returns true if guests with this many bytes may have this many instances more, each of the present average
/// size.
fn has_memory(bytes: u64, instances: usize, more: usize, max: u64) -> bool {
    let average = bytes / instances.max(1) as u64;
    bytes.saturating_add(average.saturating_mul(more as u64)) <= max
}

impl SlotsState {
    /// Returns the bytes of the guests of all projects.
    fn memory_bytes(&self) -> u64 {
        self.projects.values().next().map_or(0, |project| project.memory.all_bytes())
    }

    fn set_staying(&mut self, seat: &Seat, stays: bool) {
        let Some(project) = self.projects.get_mut(&seat.places.0.number) else { return };
        match (std::mem::replace(&mut seat.standing().stays, stays), stays) {
            (false, true) => {
                project.staying += 1;
                self.staying += 1;
            }
            (true, false) => {
                project.staying -= 1;
                self.staying -= 1;
            }
            _ => {}
        }
    }

    /// Puts an idle room into the order, unless it is there or was asked to go already.
    fn list(&mut self, seat: &Arc<Seat>) {
        let Some(project) = self.projects.get_mut(&seat.places.0.number) else { return };
        let mut standing = seat.standing();
        if standing.listed_at.is_none() && !standing.told {
            project.list(seat, &mut standing);
        }
    }

    fn leave_queue(&mut self, ticket: &Ticket) {
        let project = self.projects.get_mut(&ticket.places.0.number);
        if project.is_some_and(|project| project.waiting.remove(&ticket.number).is_some()) {
            self.waiting -= 1;
        }
    }
}

impl ProjectShare {
    /// Returns true if its limits allow this many places more.
    fn has_space_for(&self, more: usize) -> bool {
        self.taken + more <= self.total
            && has_memory(self.memory.bytes(), self.taken, more, self.memory_max)
    }

    fn has_too_much_memory(&self) -> bool {
        self.memory.bytes() > self.memory_max
    }

    fn list(&mut self, seat: &Arc<Seat>, standing: &mut Standing) {
        standing.listed_at = Some(standing.used);
        self.order.insert((standing.used, seat.number), seat.clone());
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // A place given at the last moment goes back when `granted` is dropped, without the lock.
        self.places.state().leave_queue(self);
    }
}

#[cfg(test)]
mod tests;
