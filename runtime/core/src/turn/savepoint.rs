//! Savepoints: a part of a turn that can be undone. Owns what the turn was at each of them.
//!
//! Invariant: an undone part leaves no trace, nor does it count against a limit. Without an open savepoint nothing is
//! noted. A savepoint notes each key, state and job once, so that a turn's limits bound it, too. The id of a job that was
//! undone is not given again. It does not know who undoes a part, or why.

mod before;

use super::{AlarmChange, Cleared, Output, Refusal, ResponsePhase, Tags, TickChange, Turn};
use crate::id::{RequestId, Serial};
use crate::jobs::{Job, JobId, JobTallies};
use crate::limits::size;
use crate::presence::PresenceMark;
use crate::span::{Key, Overlay};
use before::Before;
use bytes::Bytes;
use std::collections::BTreeMap;

/// No savepoint with this number is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no savepoint {0} is open in this turn: each can be rolled back or released once")]
pub struct NoSavepoint(pub u32);

/// The savepoints of one turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Savepoints {
    /// The number of savepoints that the turn has made.
    made: u32,
    /// In the order in which they were made.
    open: Vec<Savepoint>,
}

/// What a turn had done when the savepoint was made.
#[derive(Clone, Debug)]
struct Savepoint {
    number: u32,
    outputs: usize,
    send_bytes: usize,
    write_bytes: usize,
    alarm: AlarmChange,
    tags: Option<Tags>,
    ticks: Option<TickChange>,
    /// All of them: a turn changes few.
    responses: BTreeMap<RequestId, Option<ResponsePhase>>,
    cleared: Cleared,
    keys: Before<Key, Option<Bytes>>,
    states: Before<Serial, Bytes>,
    /// The number of best-effort requests.
    unstored: usize,
    job_tallies: JobTallies,
    presence: Option<Box<PresenceMark>>,
    jobs: Before<JobId, Option<Job>>,
}

impl Savepoints {
    /// Notes the changes that others are about to replace.
    pub(super) fn note_keys(&mut self, keys: &Overlay, changes: &Overlay) {
        let Some(savepoint) = self.open.last_mut() else { return };
        for key in changes.keys() {
            savepoint.keys.note(key, keys.get(key));
        }
    }

    /// Notes the changes that were forgotten, because everything is removed.
    pub(super) fn note_all(&mut self, keys: Overlay) {
        if let Some(savepoint) = self.open.last_mut() {
            savepoint.keys.note_all(keys);
        }
    }

    /// Notes a state that was replaced.
    pub(super) fn note_state(&mut self, serial: Serial, old: Option<&Bytes>) {
        if let Some(savepoint) = self.open.last_mut() {
            savepoint.states.note(&serial, old);
        }
    }

    /// Notes the change of a job that is about to be replaced.
    pub(super) fn note_job(&mut self, id: JobId, old: Option<&Option<Job>>) {
        if let Some(savepoint) = self.open.last_mut() {
            savepoint.jobs.note(&id, old);
        }
    }

    /// Returns the position of an open savepoint.
    fn find(&self, number: u32) -> Result<usize, NoSavepoint> {
        let found = self.open.iter().position(|savepoint| savepoint.number == number);
        found.ok_or(NoSavepoint(number))
    }
}

impl Turn {
    /// Marks what the turn has done so far. Returns the number of the savepoint.
    ///
    /// # Errors
    /// [`Refusal::UsedUp`] if as many are open as [`Limits::turn_savepoints_max`](crate::limits::Limits) allows.
    pub fn savepoint(&mut self) -> Result<u32, Refusal> {
        if self.savepoints.open.len() >= size(self.limits.turn_savepoints_max) {
            return Err(Refusal::UsedUp("turn_savepoints_max"));
        }
        let number = self.savepoints.made;
        self.savepoints.made = number.wrapping_add(1);
        self.savepoints.open.push(Savepoint {
            number,
            outputs: self.effects.outputs.len(),
            send_bytes: self.send_bytes,
            write_bytes: self.write_bytes,
            alarm: self.effects.writes.alarm,
            tags: self.effects.tags.clone(),
            ticks: self.effects.ticks,
            responses: self.effects.responses.clone(),
            cleared: self.effects.writes.cleared,
            keys: Before::default(),
            states: Before::default(),
            unstored: self.effects.unstored.len(),
            job_tallies: self.jobs.tallies,
            presence: self.presence.as_ref().map(|draft| Box::new(draft.mark())),
            jobs: Before::default(),
        });
        Ok(number)
    }

    /// Undoes what the turn did since a savepoint, and ends it and those after it. A read that failed is not undone:
    /// the turn cannot commit.
    ///
    /// # Errors
    /// [`NoSavepoint`] if it is not open. Nothing was undone.
    pub fn roll_back(&mut self, number: u32) -> Result<(), NoSavepoint> {
        let at = self.savepoints.find(number)?;
        for savepoint in self.savepoints.open.split_off(at).into_iter().rev() {
            self.undo(savepoint);
        }
        Ok(())
    }

    /// Keeps what the turn did since a savepoint, and ends it and those after it.
    ///
    /// # Errors
    /// [`NoSavepoint`] if it is not open.
    pub fn release(&mut self, number: u32) -> Result<(), NoSavepoint> {
        let at = self.savepoints.find(number)?;
        // From the outermost on: of two notes of one key, the older one counts.
        for later in self.savepoints.open.split_off(at) {
            let Some(outer) = self.savepoints.open.last_mut() else { return Ok(()) };
            outer.keys.take_over(later.keys);
            outer.states.take_over(later.states);
            outer.jobs.take_over(later.jobs);
        }
        Ok(())
    }

    /// Returns true while a savepoint is open.
    pub fn has_savepoint(&self) -> bool {
        !self.savepoints.open.is_empty()
    }

    fn undo(&mut self, savepoint: Savepoint) {
        for output in self.effects.outputs.drain(savepoint.outputs..) {
            if let Output::Close { to, .. } = output {
                self.effects.closed.remove(&to);
            }
        }
        let writes = &mut self.effects.writes;
        savepoint.keys.restore(&mut writes.keys);
        writes.cleared = savepoint.cleared;
        savepoint.states.restore(&mut self.effects.states);
        savepoint.jobs.restore(&mut self.jobs.changes);
        self.jobs.tallies = savepoint.job_tallies;
        self.effects.unstored.truncate(savepoint.unstored);
        (self.send_bytes, self.write_bytes) = (savepoint.send_bytes, savepoint.write_bytes);
        writes.alarm = savepoint.alarm;
        (self.effects.tags, self.effects.ticks) = (savepoint.tags, savepoint.ticks);
        self.effects.responses = savepoint.responses;
        if let (Some(draft), Some(mark)) = (&mut self.presence, savepoint.presence) {
            draft.roll_back(*mark);
        }
    }
}

#[cfg(test)]
mod tests;
