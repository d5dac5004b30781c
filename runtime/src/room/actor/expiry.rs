//! The end of a room that nobody uses. Owns when it comes, and what becomes of it if the guest fails.
//!
//! Invariant: a room that was used meanwhile, or that somebody is connected to or waits for, does not end.
//! One that ends is gone with the turn that told its guest, or after the last try without one. It does
//! not know how rooms are found that nobody uses.

use super::super::figures::FaultRecord;
use super::super::outlet::Reply;
use super::super::{AlarmGuard, RoomError};
use super::Actor;
use crate::event::Event;
use crate::logs::LogLevel;
use crate::store::{StoreError, Touch};
use std::time::Duration;
use tokio::time::Instant;

impl Actor {
    /// When the use of a room is noted anew although nothing happens: while somebody is connected.
    pub(super) fn renewal(&self) -> Option<Instant> {
        let turns = &self.turns;
        if turns.outlet.roster.is_empty() || turns.store.facts().turns == 0 {
            return None;
        }
        // A note that cannot be written is not tried again and again.
        let wait = turns.usage.renews_in(turns.store.touch())?;
        Some(Instant::now() + wait.max(Duration::from_millis(1)))
    }

    /// Nobody may have used the room for too long.
    pub(super) async fn expire(&mut self, done: AlarmGuard) -> Result<(), StoreError> {
        if self.behind > 0 || self.mailbox.len() > 0 {
            // Whoever waits may use it. It is told again if not.
            return Ok(());
        }
        if !self.turns.outlet.roster.is_empty() {
            self.turns.usage.used();
        }
        self.leaves = true;
        let noted = self.turns.store.touch();
        let Some(due) = noted.filter(|noted| self.turns.usage.is_due(*noted)) else {
            // It was used meanwhile, or its party keeps rooms for longer now.
            self.turns.note_use().await;
            self.turns.outlet.answer(None, Reply::Alarm(done));
            return Ok(());
        };
        match self.turn(&Event::Expire, None).await? {
            Ok(turn) => {
                self.say_expired(LogLevel::Info, "nobody has used the room for its ttl");
                self.turns.hold(turn, Reply::Alarm(done));
                Ok(())
            }
            Err(error @ RoomError::Guest(_)) => self.not_ended(due, &error, done).await,
            Err(error) => {
                tracing::debug!(room = %self.turns.room, %error, "the room's end waits");
                Ok(())
            }
        }
    }

    /// The guest failed: once more later, or without it.
    async fn not_ended(
        &mut self,
        due: Touch,
        error: &RoomError,
        done: AlarmGuard,
    ) -> Result<(), StoreError> {
        let tries = due.tries + 1;
        let offset = match self.turns.usage.again(due, &self.turns.parts.limits) {
            Some(next) => {
                self.turns.parts.metrics.expiries_retried.increment(1);
                tracing::warn!(room = %self.turns.room, %error, tries, "the room's end failed");
                let text = format!("on_expire failed, try {tries}; it is tried again");
                self.turns.log(LogLevel::Warn, &text);
                if let Err(error) = self.turns.store.note_use(next).await {
                    // It is told again as it is, and counts this try once more.
                    tracing::debug!(room = %self.turns.room, %error, "the try is not noted");
                    return Ok(());
                }
                None
            }
            None => {
                let at_ms = self.turns.parts.clock.wall_ms();
                let reason = format!("the room is deleted although on_expire failed {tries} times");
                self.say_expired(LogLevel::Error, &reason);
                let fault = FaultRecord { at_ms, event: "expire", reason, backtrace: None };
                self.turns.figures.note_fault(fault);
                Some(self.turns.end().await?)
            }
        };
        self.turns.outlet.answer(offset, Reply::Alarm(done));
        Ok(())
    }

    fn say_expired(&self, level: LogLevel, why: &str) {
        self.turns.parts.metrics.expired.increment(1);
        match level {
            LogLevel::Error => tracing::error!(room = %self.turns.room, why, "expired"),
            _ => tracing::info!(room = %self.turns.room, why, "expired"),
        }
        self.turns.log(level, &format!("expired: {why}"));
    }
}
