//! The death of the server that a room under test is on.
//!
//! Owns what survives it. Invariant: what the room stored survives, and nothing that a node has in memory does. The room
//! is notified of nothing, as it would in reality. It does not know callbacks.

use super::world::World;
use super::{Builder, TestRoom};
use crate::Room;
use crate::connection::Close;
use crate::host::OutcallTarget;

/// What the clients see: nobody said goodbye.
const LOST: u16 = 1006;

impl<R: Room> Builder<R> {
    /// How many of its messages the room stores, as `history` of the party in `room.toml` with `durable = true`: a
    /// [`crash`](TestRoom::crash) forgets none of them.
    pub fn durable_history(self, messages: usize) -> Self {
        let mut builder = self.history(messages);
        builder.world.memory.is_durable = true;
        builder
    }
}

impl<R: Room> TestRoom<R> {
    /// Ends the room between two turns, as the death of its server does, or its stop. The instance, the connections and the
    /// open responses are gone, and no callback runs for them: clients see 1006. What the room stored stays, with its
    /// alarm, timers and requests, except best-effort ones. Its messages stay if they are
    /// [durable](Builder::durable_history). The next event starts the room again.
    pub fn crash(&self) {
        let mut runner = self.runner.borrow_mut();
        runner.drop_instance();
        runner.world.lose_memory();
    }
}

impl World {
    /// Forgets what only memory has.
    fn lose_memory(&mut self) {
        for link in std::mem::take(&mut self.links) {
            let close = Close { code: LOST, reason: String::new(), clean: false };
            self.clients[link.client].closed.get_or_insert(close);
        }
        self.ended.clear();
        self.streams.break_off();
        self.outcalls.retain(|_, outcall| match &outcall.target {
            OutcallTarget::Fetch { options, .. } => !options.best_effort,
            OutcallTarget::Call { .. } | OutcallTarget::Request { .. } => true,
        });
        self.tickets_used.clear();
        self.memory.lose();
        self.lose_presence();
    }
}
