//! The call of a cron. Owns the notice to its caller: that the turn is durable, or why there was none.
//!
//! Invariant: a call is one turn, like any other event. It does not know schedules, or who tries again.

use super::super::RoomError;
use super::super::mail::{CronCall, CronReach};
use super::super::outlet::{DueOutputs, Reply};
use super::Actor;
use room_core::event::Event;
use room_guest::GuestFault;
use room_store::StoreError;

impl Actor {
    /// Handles the call of a cron.
    pub(super) async fn cron(&mut self, call: CronCall) -> Result<(), StoreError> {
        let CronCall { name, at_ms, reach, reply } = call;
        if reach == CronReach::OneRoom {
            self.turns.usage.used();
        }
        if !self.turns.handles_crons() {
            let why = format!("the room's code has no on_cron for the cron {name:?}");
            let error = RoomError::Guest(GuestFault::Rejected(why));
            self.refuse(Reply::Cron(DueOutputs::new(reply, Err(error))));
            return Ok(());
        }
        match self.turn(&Event::Cron { name, at_ms }, None).await? {
            Ok(turn) => self.turns.hold(turn, Reply::Cron(DueOutputs::new(reply, Ok(())))),
            Err(error) => self.refuse(Reply::Cron(DueOutputs::new(reply, Err(error)))),
        }
        Ok(())
    }
}
