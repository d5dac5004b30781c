//! A room's live instance. Owns its place among the live instances.
//!
//! Invariant: there is no instance without a place, and none outlives its `LiveInstance`. It does not know which
//! events the instance gets.

use super::RoomError;
use super::places::{RoomSlot, Seat};
use room_core::clock::Clock;
use room_core::id::RoomId;
use room_guest::{Code, Flushes, Instance, LiveSamples};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// An instance, with the way of its flushes.
pub(super) struct LiveInstance {
    pub(super) instance: Instance,
    pub(super) flushes: Flushes,
    /// Dropped after the instance: the place is free when the instance is gone.
    hold: InstanceHold,
}

/// The right of an instance to live.
pub(super) enum InstanceHold {
    /// The place that every room needs.
    Place(RoomSlot),
    /// The permit of an instance that starts before the one that it replaces is gone.
    Spare(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
}

impl LiveInstance {
    /// Makes a new instance, without calling it.
    ///
    /// # Errors
    /// [`RoomError::Guest`] if its initialisers failed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, nothing is left of the instance.
    pub(super) async fn new(
        code: &Code,
        room: &RoomId,
        clock: Clock,
        hold: InstanceHold,
    ) -> Result<Self, RoomError> {
        let mut instance = Instance::new(code, room, LiveSamples::of_system(clock)).await?;
        instance.count_memory(code.memory());
        Ok(Self { flushes: instance.flushes(), instance, hold })
    }

    /// Takes over the place of another instance, which is gone.
    pub(super) fn take_over(&mut self, old: Self) {
        self.hold = old.hold;
    }

    /// Returns its seat; `None` while it only tries out new code.
    pub(super) fn seat(&self) -> Option<Arc<Seat>> {
        match &self.hold {
            InstanceHold::Place(place) => Some(place.seat()),
            InstanceHold::Spare(_) => None,
        }
    }
}
