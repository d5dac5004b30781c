//! The end of an unused room. Owns when it comes, and what happens if the guest fails.
//!
//! Invariant: a room does not end if it was used since, or if a client is connected to it or waits for it, nor while it waits
//! for an answer or a call may come again. A room that ends is gone with the turn in which its guest handled the expiry,
//! or after the last failed try. It does not know how the search finds unused rooms.

use super::super::figures::FaultRecord;
use super::super::outlet::Reply;
use super::super::{AlarmGuard, RoomError};
use super::Actor;
use room_core::event::Event;
use room_core::report;
use room_store::{LastUse, StoreError};
use std::time::Duration;
use tokio::time::Instant;

impl Actor {
    /// Returns when the room's use must be noted again without an event: while a client is connected.
    pub(super) fn renewal(&self) -> Option<Instant> {
        let turns = &self.turns;
        if !turns.usage.ends() || !turns.outlet.has_clients() || turns.store.facts().turns == 0 {
            return None;
        }
        // A note that cannot be written must not be retried repeatedly without a pause.
        let wait = turns.usage.renews_in(turns.store.touch())?;
        Some(Instant::now() + wait.max(Duration::from_millis(1)))
    }

    /// Handles a report that the room may have been unused for too long.
    pub(super) async fn expire(&mut self, done: AlarmGuard) -> Result<(), StoreError> {
        if self.behind > 0 || self.mailbox.len() > 0 {
            // The mail that waits may be a use. If it is not, the search reports again.
            return Ok(());
        }
        // A request that is not answered is a use, and so is a call that may come again: what was promised to others
        // does not end with the room.
        let owes = self.turns.jobs.owes() || !self.turns.outcalls.is_empty();
        if owes || self.turns.outlet.has_clients() {
            self.turns.usage.used();
        }
        self.leaves = true;
        let noted = self.turns.store.touch();
        let Some(due) = noted.filter(|noted| self.turns.usage.is_due(*noted)) else {
            // The room was used in the meantime, or its party keeps rooms for longer now.
            self.turns.note_use().await;
            self.turns.outlet.answer(None, Reply::Alarm(done));
            return Ok(());
        };
        match self.turn(&Event::Expire, None).await? {
            Ok(turn) => {
                self.turns.parts.metrics.expired.increment(1);
                report!(
                    info,
                    self.turns.log(),
                    [],
                    "expired: nobody has used the room for its ttl"
                );
                self.turns.hold(turn, Reply::Alarm(done));
                Ok(())
            }
            Err(error @ RoomError::Guest(_)) => self.not_ended(due, &error, done).await,
            Err(error) => {
                report!(debug, self.turns.log(), [], "the room's end waits: {error}");
                Ok(())
            }
        }
    }

    /// Handles a failed end: the room tries again later, or ends without its guest.
    async fn not_ended(
        &mut self,
        due: LastUse,
        error: &RoomError,
        done: AlarmGuard,
    ) -> Result<(), StoreError> {
        let tries = due.tries + 1;
        let offset = match self.turns.usage.again(due, &self.turns.parts.limits) {
            Some(next) => {
                self.turns.parts.metrics.expiries_retried.increment(1);
                let log = self.turns.log();
                report!(warn, log, [%error, tries], "on_expire failed, try {tries}; it is tried again");
                if let Err(error) = self.turns.store.note_use(next).await {
                    // The search reports the room with its old note again, and that try counts instead of
                    // this one.
                    report!(debug, self.turns.log(), [], "the try is not noted: {error}");
                    return Ok(());
                }
                None
            }
            None => {
                let at_ms = self.turns.parts.clock.wall_ms();
                let reason = format!("the room is deleted although on_expire failed {tries} times");
                self.turns.parts.metrics.expired.increment(1);
                report!(error, self.turns.log(), [%error, tries], "expired: {reason}");
                let fault = FaultRecord { at_ms, event: "expire", reason, backtrace: None };
                self.turns.figures.note_fault(fault);
                Some(self.turns.end().await?)
            }
        };
        self.turns.outlet.answer(offset, Reply::Alarm(done));
        Ok(())
    }
}
