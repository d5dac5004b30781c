//! A room's instance while it has one. Owns its place among those that may live.
//!
//! Invariant: there is no instance without a place, and none outlives its `Live`. It does not know
//! what the instance is told.

use super::RoomError;
use crate::clock::Clock;
use crate::id::RoomId;
use crate::wasm::{Code, Flush, Instance};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// An instance, with what it asks for in the middle of a call.
pub(super) struct Live {
    pub(super) instance: Instance,
    pub(super) flushes: mpsc::Receiver<Flush>,
    place: OwnedSemaphorePermit,
}

impl Live {
    /// A new instance that was told nothing yet, on one of these places.
    ///
    /// # Errors
    /// [`RoomError::Busy`] if none is free; [`RoomError::Guest`] if its initialisers failed.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is left of it.
    pub(super) async fn new(
        code: &Code,
        room: &RoomId,
        clock: Clock,
        places: &Arc<Semaphore>,
    ) -> Result<Self, RoomError> {
        let place = places.clone().try_acquire_owned().map_err(|_| RoomError::Busy)?;
        let mut instance = Instance::new(code, room, clock).await?;
        Ok(Self { flushes: instance.flushes(), instance, place })
    }

    /// Moves in where another instance lived, which is gone.
    pub(super) fn take_over(&mut self, old: Self) {
        self.place = old.place;
    }
}
