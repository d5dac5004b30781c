//! Calls rooms at the planned times of a project's crons. Owns the waiting, and the notes about what was called.
//!
//! Invariant: a planned time is noted as done after its rooms' turns are durable, so that a crash repeats calls and
//! loses none. Of the times that were missed, the last one is called, once. It does not know what a call means to a
//! room.

mod calls;
mod table;

pub use table::{CronAskError, CronReport};

use crate::rooms::Rooms;
use calls::{Calls, CallsEnd};
use futures_util::stream::{FuturesUnordered, StreamExt};
use room_core::config::Cron;
use room_core::id::RoomId;
use room_core::limits::{ms, size};
use room_core::lock::lock;
use room_store::CronOutcome;
use std::sync::{Arc, Mutex, MutexGuard};
use table::{CronCause, CronJob, CronTable};
use tokio::sync::{Notify, Semaphore, oneshot};

/// The crons of one node. Cheap to clone; clones are the same crons.
#[derive(Clone)]
pub struct Crons(Arc<CronsInner>);

struct CronsInner {
    rooms: Rooms,
    /// Whether a room is on this node.
    lives_here: Box<dyn Fn(&RoomId) -> bool + Send + Sync>,
    table: Mutex<CronTable>,
    /// Notifies the loop of a deployment, and of what an operator asks for.
    changed: Notify,
    /// One for each room that is called at the same time.
    places: Semaphore,
    batch_max: usize,
    /// Held while the notes are written, so that newer ones are never replaced by older ones.
    writing: Mutex<()>,
}

impl Crons {
    /// Returns the crons of a node, none so far. [`Crons::run`] does their work. `lives_here` tells whether a room is on
    /// this node: others are left to their own nodes.
    pub fn new(rooms: Rooms, lives_here: impl Fn(&RoomId) -> bool + Send + Sync + 'static) -> Self {
        let batch_max = size(rooms.parts().limits.crons_batch_max).min(rooms.live_max() / 4).max(1);
        Self(Arc::new(CronsInner {
            rooms,
            lives_here: Box::new(lives_here),
            table: Mutex::default(),
            changed: Notify::new(),
            places: Semaphore::new(batch_max.min(Semaphore::MAX_PERMITS)),
            batch_max,
            writing: Mutex::default(),
        }))
    }

    /// Puts the crons of a deployment in place of those before. A cron that is as it was continues. A new one, and one
    /// that has changed, counts from now on. Calls of crons that are gone are not made.
    pub fn replace(&self, crons: Vec<Cron>) {
        let parts = self.0.rooms.parts();
        let noted = parts.store.cron_notes();
        self.table().replace(crons, &noted, parts.clock.wall_ms());
        self.note();
        self.0.changed.notify_one();
    }

    /// Returns the crons with their times, in the order of the project.
    pub fn list(&self) -> Vec<CronReport> {
        self.table().list()
    }

    /// Calls the rooms of a cron now, each once. Its planned times stay as they are. The receiver gets how the calls
    /// ended; it is closed without that if a deployment removes the cron.
    ///
    /// # Errors
    /// [`CronAskError`]: nothing is called.
    pub fn ask(&self, name: &str) -> Result<oneshot::Receiver<CronOutcome>, CronAskError> {
        let answer = self.table().ask(name)?;
        self.0.changed.notify_one();
        Ok(answer)
    }

    /// Calls rooms at the planned times, until the future is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future at any time loses no planned time: one whose calls were not all made is called again.
    pub async fn run(self) {
        let parts = self.0.rooms.parts();
        let look_max = ms(parts.limits.alarm_look_ms_max);
        let mut running = FuturesUnordered::new();
        loop {
            self.take_over();
            let now_ms = parts.clock.wall_ms();
            let (jobs, next_ms) = self.table().due(now_ms);
            running.extend(jobs.into_iter().map(|job| self.work(job)));
            let wait = next_ms.map_or(look_max, |next_ms| ms(next_ms.saturating_sub(now_ms)));
            tokio::select! {
                Some(()) = running.next(), if !running.is_empty() => {}
                () = self.0.changed.notified() => {}
                () = tokio::time::sleep(wait.min(look_max)) => {}
            }
        }
    }

    /// Finds out which crons this node makes the calls of. A cron of one room belongs to that room's node. A cron of all
    /// rooms belongs to every node, for its own rooms.
    fn take_over(&self) {
        let lives_here = &self.0.lives_here;
        let is_here = |cron: &Cron| cron.room.as_ref().is_none_or(lives_here);
        if self.table().take_over(is_here) {
            let noted = self.0.rooms.parts().store.cron_notes();
            self.table().catch_up(&noted);
        }
    }

    /// Makes the calls of one time, and notes how they ended.
    async fn work(&self, job: CronJob) {
        let outcome = match Calls::of(self, &job).run().await {
            CallsEnd::Made(outcome) => outcome,
            CallsEnd::NotHere => return self.table().left(&job),
            CallsEnd::Removed => return,
        };
        if self.table().ended(&job, &outcome) {
            self.note();
        }
        if let CronCause::Asked(reply) = job.cause {
            // An operator that has left needs no answer.
            drop(reply.send(outcome));
        }
    }

    /// Writes the notes. If that fails, a restart repeats calls.
    fn note(&self) {
        let _one_at_a_time = lock(&self.0.writing);
        let notes = self.table().notes();
        let store = &self.0.rooms.parts().store;
        if notes != store.cron_notes()
            && let Err(error) = store.keep_cron_notes(notes)
        {
            let project = self.0.rooms.logs().project();
            tracing::error!(project, %error, "the times of crons are not noted, so a restart repeats calls");
        }
    }

    fn table(&self) -> MutexGuard<'_, CronTable> {
        lock(&self.0.table)
    }
}

#[cfg(test)]
mod tests;
