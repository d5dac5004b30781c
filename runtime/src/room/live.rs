//! A room's instance while it has one. Owns its place among those that may live.
//!
//! Invariant: there is no instance without a place, and none outlives its `Live`. It does not know
//! what the instance is told.

use super::RoomError;
use super::actor::Parts;
use crate::id::RoomId;
use crate::wasm::{Code, Flush, Instance};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// An instance, with what it asks for in the middle of a call.
pub(super) struct Live {
    pub(super) instance: Instance,
    pub(super) flushes: mpsc::Receiver<Flush>,
    _place: OwnedSemaphorePermit,
}

impl Live {
    /// A new instance that was told nothing yet.
    ///
    /// # Errors
    /// [`RoomError::Busy`] if as many live as may; [`RoomError::Guest`] if its initialisers failed.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is left of it.
    pub(super) async fn new(code: &Code, room: &RoomId, parts: &Parts) -> Result<Self, RoomError> {
        let place = parts.places.clone().try_acquire_owned().map_err(|_| RoomError::Busy)?;
        let mut instance = Instance::new(code, room, parts.clock).await?;
        Ok(Self { flushes: instance.flushes(), instance, _place: place })
    }
}
