//! What may run guests. Owns the engine with the permits for its instances (the places of rooms, the spares of
//! rooms that take over new code, the hooks at the door) and the bytes that are kept for them.
//!
//! Invariant: a permit stands for an instance that the engine's pool has space for. The pool and the permits are
//! the process's ([`GuestHost`]); a project ([`Guests`]) has of them what its own limits allow. It does not know
//! what the instances do.

use crate::byte_budget::ByteBudget;
use crate::limits::{Limits, Misfit, size};
use crate::logs::Logs;
use crate::room::{Places, SharedPlaces};
use crate::wasm::{CodeCaches, Engine, EngineError, SharedEngine};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What runs the guests of all projects of a process. Cheap to clone; clones are the same host.
#[derive(Clone)]
pub(crate) struct GuestHost {
    engine: SharedEngine,
    places: SharedPlaces,
    spares: Arc<Semaphore>,
    hooks: Arc<Semaphore>,
    bytes: ByteBudget,
    limits: Arc<Limits>,
}

/// What runs the guests of one project.
pub(crate) struct Guests {
    pub(crate) engine: Engine,
    pub(crate) places: Places,
    /// One permit for each instance that may start before the one that it replaces is gone, or to try out code.
    pub(crate) spares: Arc<Semaphore>,
    /// One permit for each hook that may run at the door.
    pub(crate) hooks: Arc<Semaphore>,
    /// What is kept for guests and clients of all projects.
    pub(crate) bytes: ByteBudget,
    /// The project's limits, none of which exceeds what the process has.
    pub(crate) limits: Arc<Limits>,
}

impl GuestHost {
    /// An engine with permits for as many instances as these limits allow.
    ///
    /// # Errors
    /// [`EngineError`]: the address space is not to be had, or the cache folder cannot be made.
    pub(crate) fn new(limits: &Arc<Limits>, caches: CodeCaches<'_>) -> Result<Self, EngineError> {
        let engine = SharedEngine::new(limits, caches)?;
        Ok(Self {
            places: SharedPlaces::new(engine.rooms_max(), limits.rooms_memory_bytes_max),
            engine,
            spares: permits(limits.reload_rooms_max),
            hooks: permits(limits.door_instances_max),
            bytes: ByteBudget::new(limits.buffered_bytes_max),
            limits: limits.clone(),
        })
    }

    /// What is kept for guests and clients of all projects.
    pub(crate) fn bytes(&self) -> &ByteBudget {
        &self.bytes
    }

    /// What runs the guests of a project with these limits, which write to `logs`.
    ///
    /// # Errors
    /// [`Misfit`]: the project's limits ask for more than the process can give.
    pub(crate) fn for_project(&self, limits: &Limits, logs: Logs) -> Result<Guests, Misfit> {
        let limits = Arc::new(self.fitting(limits)?);
        let engine = self.engine.for_project(limits.clone(), logs);
        let places = self.places.for_project(&limits, engine.memory().clone());
        let (spares, hooks) = (self.spares.clone(), self.hooks.clone());
        Ok(Guests { engine, places, spares, hooks, bytes: self.bytes.clone(), limits })
    }

    /// The limits of a project as they are here.
    ///
    /// # Errors
    /// As [`GuestHost::for_project`].
    pub(crate) fn fitting(&self, limits: &Limits) -> Result<Limits, Misfit> {
        limits.within_process(&self.limits)
    }

    /// What runs the guests of a project that has the process for itself.
    ///
    /// # Errors
    /// As [`GuestHost::new`].
    #[cfg(test)]
    pub(crate) fn alone(limits: &Arc<Limits>) -> Result<Guests, EngineError> {
        let cache = room_test_guest::target_dir().join("guests/compiled");
        let logs = Logs::new(limits, crate::clock::Clock::system());
        let caches = CodeCaches { folder: Some(&cache), functions: false };
        Ok(Self::new(limits, caches)?.for_project(limits, logs).expect("they are its own"))
    }
}

fn permits(count: u64) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(size(count).min(Semaphore::MAX_PERMITS)))
}
