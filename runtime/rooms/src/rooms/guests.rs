//! The engine and its permits. Owns the engine with the permits for its instances (the places of rooms, the
//! spares of rooms that take over new code, the hooks at the door), the budget of the bytes held for guests, and the
//! client for their requests to other servers.
//!
//! Invariant: a permit stands for an instance that the engine's pool has space for. The pool and the permits
//! belong to the process ([`GuestHost`]); a project ([`Guests`]) gets as many of them as its own limits
//! allow. It does not know what the instances do.

use crate::room::{RoomSlots, SharedRoomSlots};
use room_core::byte_budget::ByteBudget;
use room_core::limits::{Limits, Misfit, size};
use room_core::logs::Logs;
use room_fetch::FetchClient;
use room_guest::{CodeCaches, Engine, EngineError, SharedEngine};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The engine and the permits of a process. Cheap to clone; clones are the same host.
#[derive(Clone)]
pub struct GuestHost {
    engine: SharedEngine,
    places: SharedRoomSlots,
    spares: Arc<Semaphore>,
    hooks: Arc<Semaphore>,
    bytes: ByteBudget,
    history: ByteBudget,
    fetch: FetchClient,
    limits: Arc<Limits>,
}

/// One project's share of the engine and the permits.
pub struct Guests {
    /// Compiles and runs guests.
    pub engine: Engine,
    /// One permit for each room that may have an instance.
    pub places: RoomSlots,
    /// One permit for each instance that may start before the one that it replaces is gone, or to try out code.
    pub spares: Arc<Semaphore>,
    /// One permit for each hook that may run at the door.
    pub hooks: Arc<Semaphore>,
    /// The budget of the bytes held for guests and clients of all projects.
    pub bytes: ByteBudget,
    /// The budget of what rooms of all projects remember of their messages.
    pub history: ByteBudget,
    /// Sends the project's requests to other servers.
    pub fetch: FetchClient,
    /// The project's limits. None of them exceeds the process's.
    pub limits: Arc<Limits>,
}

impl GuestHost {
    /// Makes an engine with permits for as many instances as these limits allow.
    ///
    /// # Errors
    /// [`EngineError`]: the address space is not available, or the cache folder cannot be made.
    pub fn new(limits: &Arc<Limits>, caches: CodeCaches<'_>) -> Result<Self, EngineError> {
        let engine = SharedEngine::new(limits, caches)?;
        let bytes = ByteBudget::new(limits.buffered_bytes_max);
        Ok(Self {
            places: SharedRoomSlots::new(engine.rooms_max(), limits.rooms_memory_bytes_max),
            engine,
            spares: permits(limits.reload_rooms_max),
            hooks: permits(limits.door_instances_max),
            fetch: FetchClient::new(limits, bytes.clone()),
            bytes,
            history: ByteBudget::new(limits.history_node_bytes_max),
            limits: limits.clone(),
        })
    }

    /// Returns the budget of the bytes held for guests and clients of all projects.
    pub fn bytes(&self) -> &ByteBudget {
        &self.bytes
    }

    /// Returns the share of a project with these limits, whose guests write to `logs`.
    ///
    /// # Errors
    /// [`Misfit`]: the project's limits ask for more than the process can give.
    pub fn for_project(&self, limits: &Limits, logs: Logs) -> Result<Guests, Misfit> {
        let limits = Arc::new(self.fitting(limits)?);
        let engine = self.engine.for_project(limits.clone(), logs);
        let places = self.places.for_project(&limits, engine.memory().clone());
        let (spares, hooks) = (self.spares.clone(), self.hooks.clone());
        let (bytes, history) = (self.bytes.clone(), self.history.clone());
        let fetch = self.fetch.for_project(limits.clone());
        Ok(Guests { engine, places, spares, hooks, bytes, history, fetch, limits })
    }

    /// Returns the limits of a project as they hold in this process.
    ///
    /// # Errors
    /// As [`GuestHost::for_project`].
    pub fn fitting(&self, limits: &Limits) -> Result<Limits, Misfit> {
        limits.within_process(&self.limits)
    }

    /// Makes the share of a project that has the process for itself.
    ///
    /// # Errors
    /// As [`GuestHost::new`].
    #[cfg(test)]
    pub fn alone(limits: &Arc<Limits>) -> Result<Guests, EngineError> {
        let cache = room_test_guest::target_dir().join("guests/compiled");
        let logs = Logs::new(limits, room_core::clock::Clock::system());
        let caches = CodeCaches { folder: Some(&cache), functions: false };
        Ok(Self::new(limits, caches)?.for_project(limits, logs).expect("they are its own"))
    }
}

fn permits(count: u64) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(size(count).min(Semaphore::MAX_PERMITS)))
}
