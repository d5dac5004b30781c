//! The calls that a cron makes at one time. Owns the order of the rooms, and what becomes of calls that fail.
//!
//! Invariant: a room is called again only after it failed. Few rooms are called at a time, and few of the stored ones
//! are in memory, however many there are. It does not know when the next time is.

use super::Crons;
use super::table::{CronCause, CronJob};
use crate::room::{CronReach, RoomError, next_try};
use crate::rooms::Unreachable;
use futures_util::stream::{FuturesUnordered, StreamExt};
use room_core::clock::until;
use room_core::id::RoomId;
use room_core::limits::fixed::CRON_ERROR_BYTES_MAX;
use room_core::limits::{ms, size};
use room_core::report;
use room_store::{AlarmRecord, CronOutcome, RoomSpan};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// The pause before a room is called again that could not take the call, and before a failed look at the store is
/// repeated.
const RETRY: Duration = Duration::from_secs(1);

/// The calls of one time.
pub(super) struct Calls<'a> {
    crons: &'a Crons,
    job: &'a CronJob,
    reach: CronReach,
    /// Rooms that were not called yet.
    waiting: VecDeque<RoomId>,
    /// The rooms after the last one of `waiting`; `None` if there are none.
    rest: Option<RoomSpan>,
    /// Rooms that failed, by the time of their next call, with the number of failed turns.
    retries: BTreeMap<(u64, RoomId), u32>,
    outcome: CronOutcome,
    /// Whether a room that was to be called is on another node.
    is_moved: bool,
}

/// How the calls of one time ended.
pub(super) enum CallsEnd {
    /// A deployment removed the cron.
    Removed,
    /// The cron's room is on another node, which makes the call.
    NotHere,
    Made(CronOutcome),
}

/// A call of a room, with the number of failed turns before.
struct CronTry {
    room: RoomId,
    tries: u32,
}

impl<'a> Calls<'a> {
    pub(super) fn of(crons: &'a Crons, job: &'a CronJob) -> Self {
        let mut calls = Self {
            crons,
            job,
            reach: CronReach::OneRoom,
            waiting: VecDeque::new(),
            rest: None,
            retries: BTreeMap::new(),
            outcome: CronOutcome { at_ms: job.at_ms, ..CronOutcome::default() },
            is_moved: false,
        };
        match &job.cron.room {
            Some(room) if (crons.0.lives_here)(room) => calls.waiting.push_back(room.clone()),
            Some(_) => calls.is_moved = true,
            None => {
                calls.reach = CronReach::EveryRoom;
                let party = Some(job.cron.party.clone());
                calls.rest = Some(RoomSpan { party, ..RoomSpan::default() });
            }
        }
        calls
    }

    /// Makes the calls, and returns how they ended.
    pub(super) async fn run(mut self) -> CallsEnd {
        let mut running = FuturesUnordered::new();
        loop {
            if !self.crons.table().has(&self.job.cron) {
                return CallsEnd::Removed;
            }
            while running.len() < self.crons.0.batch_max
                && let Some(next) = self.next(running.len()).await
            {
                running.push(call(self.crons, self.job, self.reach, next));
            }
            if running.is_empty() && self.retries.is_empty() {
                break;
            }
            let retry = self
                .retries
                .first_key_value()
                .map(|((due_ms, _), _)| Instant::now() + ms(due_ms.saturating_sub(self.now_ms())));
            tokio::select! {
                Some((made, answer)) = running.next(), if !running.is_empty() => {
                    self.answered(made, answer);
                }
                () = until(retry), if running.len() < self.crons.0.batch_max => {}
            }
        }
        let is_planned = matches!(self.job.cause, CronCause::Planned);
        if self.is_moved && is_planned && self.job.cron.room.is_some() {
            return CallsEnd::NotHere;
        }
        self.outcome.ended_ms = self.now_ms();
        CallsEnd::Made(self.outcome)
    }

    /// Returns the next room to call, while so many are called: one that failed and waited, or one that was not called
    /// yet.
    async fn next(&mut self, running: usize) -> Option<CronTry> {
        if let Some(entry) = self.retries.first_entry()
            && entry.key().0 <= self.crons.0.rooms.parts().clock.wall_ms()
        {
            let ((_, room), tries) = entry.remove_entry();
            return Some(CronTry { room, tries });
        }
        // Each of those that are called may fail.
        let retries_max = size(self.crons.0.rooms.parts().limits.cron_retries_max);
        if self.retries.len() + running >= retries_max {
            return None;
        }
        loop {
            if let Some(room) = self.waiting.pop_front() {
                return Some(CronTry { room, tries: 0 });
            }
            let span = self.rest.take()?;
            self.read(span).await;
        }
    }

    /// Reads the next stored rooms.
    async fn read(&mut self, span: RoomSpan) {
        let max = self.crons.0.batch_max;
        match self.crons.0.rooms.parts().store.rooms(span.clone(), max).await {
            Ok(rooms) => {
                let last =
                    rooms.last().filter(|_| rooms.len() == max).map(|(room, _)| room.clone());
                self.rest = last.map(|last| RoomSpan { after: Some(last), ..span });
                let rooms = rooms.into_iter().map(|(room, _)| room);
                self.waiting.extend(rooms.filter(|room| (self.crons.0.lives_here)(room)));
            }
            Err(error) => {
                let project = self.crons.0.rooms.logs().project();
                tracing::error!(project, %error, "a cron cannot read which rooms are stored");
                self.rest = Some(span);
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn answered(&mut self, made: CronTry, answer: Result<(), Unreachable>) {
        let metrics = &self.crons.0.rooms.parts().metrics;
        let Err(error) = answer else {
            metrics.crons_delivered.increment(1);
            self.outcome.rooms += 1;
            return;
        };
        let is_planned = matches!(self.job.cause, CronCause::Planned);
        if is_planned && matches!(error, Unreachable::Room(RoomError::Moved)) {
            // Its new node makes the calls from now on.
            self.is_moved = true;
            return;
        }
        let by_guest = matches!(error, Unreachable::Room(RoomError::Guest(_)));
        if by_guest {
            metrics.crons_failed.increment(1);
        }
        let (CronTry { room, tries }, name) = (made, &self.job.cron.setting.name);
        let log = self.crons.0.rooms.logs().of_room(&room);
        match self.next_try(tries, by_guest) {
            Some((due_ms, tries)) => {
                if by_guest {
                    report!(warn, log, [%error, tries], "the cron {name:?} failed, try {tries}; it is tried again");
                } else {
                    report!(debug, log, [], "the cron {name:?} waits: {error}");
                }
                self.retries.insert((due_ms, room), tries);
            }
            None => {
                report!(error, log, [%error], "the cron {name:?} is dropped: it failed {} times", tries + 1);
                metrics.crons_dropped.increment(1);
                self.outcome.dropped += 1;
                self.outcome.error = Some(cut(format!("{room}: {error}")));
            }
        }
    }

    /// Returns when a failed room is called again, with the number of its failed turns; `None` if it is not.
    fn next_try(&self, tries: u32, by_guest: bool) -> Option<(u64, u32)> {
        let now_ms = self.now_ms();
        match (&self.job.cause, by_guest) {
            (CronCause::Asked(_), _) => None,
            (CronCause::Planned, true) => {
                let failed = AlarmRecord { due_ms: self.job.at_ms, tries };
                let next = next_try(failed, now_ms, &self.crons.0.rooms.parts().limits)?;
                Some((next.due_ms, next.tries))
            }
            // The room is busy, rests, or its storage failed: that is not its turn's fault.
            (CronCause::Planned, false) => {
                let pause_ms = u64::try_from(RETRY.as_millis()).unwrap_or(u64::MAX);
                Some((now_ms.saturating_add(pause_ms), tries))
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.crons.0.rooms.parts().clock.wall_ms()
    }
}

/// Calls one room, as soon as there is a place for it.
async fn call(
    crons: &Crons,
    job: &CronJob,
    reach: CronReach,
    next: CronTry,
) -> (CronTry, Result<(), Unreachable>) {
    let _place = crons.0.places.acquire().await;
    let cron = (job.cron.setting.name.as_str(), job.at_ms);
    let answer = crons.0.rooms.cron(&next.room, cron, reach).await;
    (next, answer)
}

/// Returns as much of an error as is kept.
fn cut(mut text: String) -> String {
    let mut end = text.len().min(CRON_ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
