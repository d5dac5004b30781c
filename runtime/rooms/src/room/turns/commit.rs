//! The end of a turn that succeeded. Owns what of its effects goes where.
//!
//! Invariant: outputs are numbered before the commit that makes their numbers durable, and what the room holds in memory
//! follows what it committed. It does not know what the turn was about.

use super::super::outlet::{AskedOutcall, TurnOutputs};
use super::Turns;
use super::remembering::StoredLog;
use room_core::turn::{Effects, ReadError, Turn, Writes};
use room_store::{CommitExtras, Offset, StoreError};

impl Turns {
    /// Commits a turn's writes to the store, and applies its other effects to the room.
    pub(super) async fn commit(
        &mut self,
        mut effects: Effects,
    ) -> Result<(TurnOutputs, Option<Offset>), StoreError> {
        // Before the commit, which makes their numbers durable.
        let mut said = self.numbered(std::mem::take(&mut effects.outputs));
        let commits = !effects.writes.is_empty() || !self.webhooks.is_empty();
        if self.stored_log != StoredLog::Absent {
            self.remember_said(&mut said, commits);
        }
        self.outcalls.note_unstored(&effects.unstored);
        let asked = asked(&mut effects);
        let offset = match commits || self.remembered.is_some() {
            false => None,
            true => Some(self.commit_writes(std::mem::take(&mut effects.writes)).await?),
        };
        if let Some(change) = effects.ticks {
            self.ticks.change(change);
        }
        self.outlet.apply_presence(std::mem::take(&mut effects.presence));
        self.outlet.roster.apply(&mut effects);
        self.outlet.exchanges.apply(&mut effects);
        Ok((TurnOutputs { said, asked }, offset))
    }

    /// Commits writes. The jobs in memory follow those in the store.
    pub(in super::super) async fn commit_writes(
        &mut self,
        writes: Writes,
    ) -> Result<Offset, StoreError> {
        let jobs = writes.jobs.clone();
        let extras =
            CommitExtras { webhooks: self.take_webhooks(), outbound: self.remembered.take() };
        let (module, note) = (self.module(), self.note());
        let offset = self.store.commit_with(writes, module, note, extras).await?;
        if let Some(change) = jobs {
            self.jobs.apply(&change);
            if self.outcalls.has_waiting() {
                self.give_up_waiting(&change);
            }
        }
        Ok(offset)
    }

    /// Takes the outputs of a room's last turn, and deletes everything that is stored for the room, the
    /// turn's own writes included.
    pub(super) async fn commit_end(
        &mut self,
        turn: Box<Turn>,
    ) -> Result<(TurnOutputs, Option<Offset>), StoreError> {
        let mut effects = turn.finish().map_err(unreadable)?;
        let said = self.numbered(std::mem::take(&mut effects.outputs));
        let offset = self.end().await?;
        self.outlet.apply_presence(std::mem::take(&mut effects.presence));
        self.outlet.roster.apply(&mut effects);
        self.outlet.exchanges.apply(&mut effects);
        // What is stored for the room is gone, and its requests with it.
        Ok((TurnOutputs { said, asked: Vec::new() }, Some(offset)))
    }

    /// Deletes everything that is stored for the room, and drops the instance with its memory.
    pub(in super::super) async fn end(&mut self) -> Result<Offset, StoreError> {
        self.rest();
        self.usage.forget();
        self.jobs.forget();
        self.outcalls.clear();
        self.ticks.stop();
        if let Some(log) = &self.outlet.roster.log {
            log.lock().clear(self.store.sequence().last());
        }
        let webhooks = self.take_last_webhooks();
        self.store.commit_end_with(self.module(), webhooks).await
    }
}

/// Takes the requests of a turn.
fn asked(effects: &mut Effects) -> Vec<AskedOutcall> {
    if effects.asked.is_empty() && effects.unstored.is_empty() {
        return Vec::new();
    }
    let stored = std::mem::take(&mut effects.asked).into_iter().map(AskedOutcall::Stored);
    let unstored = std::mem::take(&mut effects.unstored).into_iter();
    let unstored = unstored.map(|(id, outcall)| AskedOutcall::Unstored(id, Box::new(outcall)));
    stored.chain(unstored).collect()
}

/// Returns the error of a room whose turn could not read.
pub(super) fn unreadable(error: ReadError) -> StoreError {
    StoreError::Io(error.to_string())
}
