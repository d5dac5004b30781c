//! A room's instance while it has one. Owns its place among those that may live.
//!
//! Invariant: there is no instance without a place, and none outlives its `Live`. It does not know
//! what the instance is told.

use super::RoomError;
use super::places::{Place, Seat};
use crate::clock::Clock;
use crate::id::RoomId;
use crate::wasm::{Code, Flushes, Instance, LiveSamples};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// An instance, with what it asks for in the middle of a call.
pub(super) struct Live {
    pub(super) instance: Instance,
    pub(super) flushes: Flushes,
    /// After the instance: its place is free when it is gone.
    hold: Hold,
}

/// What lets an instance live.
pub(super) enum Hold {
    /// A place, as every room needs one.
    Place(Place),
    /// The permit of an instance that starts before the one that it replaces is gone.
    Spare(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
}

impl Live {
    /// A new instance that was told nothing yet.
    ///
    /// # Errors
    /// [`RoomError::Guest`] if its initialisers failed.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is left of it.
    pub(super) async fn new(
        code: &Code,
        room: &RoomId,
        clock: Clock,
        hold: Hold,
    ) -> Result<Self, RoomError> {
        let mut instance = Instance::new(code, room, LiveSamples::of_system(clock)).await?;
        instance.count_memory(code.memory());
        Ok(Self { flushes: instance.flushes(), instance, hold })
    }

    /// Moves in where another instance lived, which is gone.
    pub(super) fn take_over(&mut self, old: Self) {
        self.hold = old.hold;
    }

    /// Its seat; none while it only tries out new code.
    pub(super) fn seat(&self) -> Option<Arc<Seat>> {
        match &self.hold {
            Hold::Place(place) => Some(place.seat()),
            Hold::Spare(_) => None,
        }
    }
}
