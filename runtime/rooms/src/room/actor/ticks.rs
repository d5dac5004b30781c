//! The turns of ticks. Owns that a tick is an event like others, and keeps no room in memory by itself.
//!
//! Invariant: a tick that is due is handled before the next mail, and never two of them wait. It does not know
//! when ticks are due.

use super::super::outlet::Reply;
use super::Actor;
use room_core::event::Event;
use room_core::limits::size;
use room_store::StoreError;
use tokio::time::Instant;

impl Actor {
    /// Handles the tick that is due.
    pub(super) async fn tick(&mut self) -> Result<(), StoreError> {
        self.turns.ticks.taken();
        self.hold_down_to(size(self.turns.parts.limits.held_bytes_max)).await?;
        if let Ok(turn) = self.turn(&Event::Tick, None).await? {
            self.turns.hold(turn, Reply::Nobody);
        }
        // The next event tries to start the guest again.
        self.failed_start = None;
        self.turns.release()?;
        if self.turns.outlet.has_clients() {
            self.last_event = Instant::now();
        }
        Ok(())
    }
}
