//! Parties of a deployment that had another name before. Owns the order in which their rooms get their names.
//!
//! Invariant: rooms of a renamed party are served only while all of them have the name by which they are served. A
//! deployment that fails brings them back. It does not know how a room is moved.

use super::{DeployError, Node};
use hashbrown::HashMap;
use room_core::config::PartyRename;
use room_core::id::PartyName;
use room_core::jobs::{Job, JobTable, Wake};
use room_core::limits::size;
use room_core::logs::LogLevel;
use room_rooms::rooms::{AsideParties, Party};
use room_store::{RenameSide, RoomSpan, StoreError};

/// What a deployment does with renamed parties.
#[derive(Default)]
pub(super) struct RenamePlan {
    /// The rooms to bring under one of two names.
    steps: Vec<(PartyRename, RenameSide)>,
    /// Renames whose line was removed: the new name is the only one.
    confirmed: Vec<PartyRename>,
}

/// Rooms that were brought under other names for a deployment that is not complete yet.
pub(super) struct RenamedRooms {
    plan: RenamePlan,
    /// `None` if nothing had to be moved.
    aside: Option<AsideParties>,
    /// The number of rooms that were moved.
    pub(super) count: u64,
}

impl Node {
    /// Returns what to do for a project with these renames and parties.
    pub(super) fn plan_renames(
        &self,
        wanted: &[PartyRename],
        parties: &HashMap<PartyName, Party>,
    ) -> RenamePlan {
        let mut plan = RenamePlan::default();
        let mut step = |rename: &PartyRename, to| {
            if !self.store.is_renamed(rename, to) {
                plan.steps.push((rename.clone(), to));
            }
        };
        wanted.iter().for_each(|rename| step(rename, RenameSide::Now));
        for rename in self.store.renames().iter().filter(|rename| !wanted.contains(rename)) {
            let is_done = self.store.is_renamed(rename, RenameSide::Now);
            match (parties.contains_key(&rename.was), parties.contains_key(&rename.now)) {
                // An earlier version is served again.
                (true, false) => step(rename, RenameSide::Was),
                // It was broken off, and never served.
                (true, true) if !is_done => step(rename, RenameSide::Was),
                (_, true) => {
                    step(rename, RenameSide::Now);
                    plan.confirmed.push(rename.clone());
                }
                (false, false) => {}
            }
        }
        plan
    }

    /// Ends the rooms of renamed parties, and gives their data the name by which it is served next.
    ///
    /// # Errors
    /// [`DeployError`]: the parties are served as before.
    pub(super) async fn rename_rooms(&self, plan: RenamePlan) -> Result<RenamedRooms, DeployError> {
        if plan.steps.is_empty() {
            return Ok(RenamedRooms { plan, aside: None, count: 0 });
        }
        for (PartyRename { was, .. }, _) in &plan.steps {
            if !self.door.is_alone() && self.has_rooms(was).await? {
                return Err(DeployError::RenamedInSpace(was.clone()));
            }
        }
        let both =
            plan.steps.iter().flat_map(|(rename, _)| [rename.was.clone(), rename.now.clone()]);
        let both: Vec<PartyName> = both.collect();
        let aside = self.rooms.set_aside(&both).await;
        let mut renamed = RenamedRooms { plan, aside: Some(aside), count: 0 };
        for at in 0..renamed.plan.steps.len() {
            let (rename, to) = &renamed.plan.steps[at];
            let PartyRename { was, now } = rename;
            let (from, into) = if *to == RenameSide::Now { (was, now) } else { (now, was) };
            match self.bring_rooms(rename, *to, from).await {
                Ok(count) => renamed.count += count,
                Err(error) => {
                    renamed.plan.steps.truncate(at + 1);
                    self.undo_renames(renamed).await;
                    return Err(error);
                }
            }
            let text = format!("the rooms of the party {from} are those of {into} now");
            self.logs.node(LogLevel::Info, &text);
        }
        Ok(renamed)
    }

    async fn bring_rooms(
        &self,
        rename: &PartyRename,
        to: RenameSide,
        from: &PartyName,
    ) -> Result<u64, DeployError> {
        self.check_answered(from).await?;
        Ok(self.store.rename(rename, to).await?)
    }

    /// Refuses rooms that wait for answers: the names of requests and calls have the name of their room in them, and with
    /// another name the other side would take a repetition for a new one.
    async fn check_answered(&self, party: &PartyName) -> Result<(), DeployError> {
        let mut span = RoomSpan { party: Some(party.clone()), ..RoomSpan::default() };
        loop {
            let rooms = self.store.rooms(span.clone(), size(self.limits.rename_rooms_max)).await?;
            let Some((last, _)) = rooms.last() else { return Ok(()) };
            span.after = Some(last.clone());
            for (room, _) in rooms.iter().filter(|(_, facts)| facts.wake != Wake::NoJobs) {
                let stored = self.store.room(room).await?.take_jobs();
                if JobTable::of(stored).0.jobs().any(|(_, job)| matches!(job, Job::Outcall(_))) {
                    return Err(DeployError::RenamedUnanswered(room.to_string()));
                }
            }
        }
    }

    async fn has_rooms(&self, party: &PartyName) -> Result<bool, StoreError> {
        let span = RoomSpan { party: Some(party.clone()), ..RoomSpan::default() };
        Ok(!self.store.rooms(span, 1).await?.is_empty())
    }

    /// Serves renamed rooms, after a deployment that succeeded.
    pub(super) fn keep_renames(&self, renamed: RenamedRooms) {
        for rename in &renamed.plan.confirmed {
            if let Err(error) = self.store.confirm_rename(rename) {
                tracing::warn!(%error, "that a party has only one name is not noted");
            }
        }
        if renamed.aside.is_some() {
            self.rooms.admit();
        }
    }

    /// Gives rooms their names back, after a deployment that failed.
    pub(super) async fn undo_renames(&self, renamed: RenamedRooms) {
        let Some(aside) = renamed.aside else { return };
        for (rename, to) in renamed.plan.steps.iter().rev() {
            let back = match to {
                RenameSide::Now => RenameSide::Was,
                RenameSide::Was => RenameSide::Now,
            };
            if let Err(error) = self.store.rename(rename, back).await {
                // Nobody may reach some of the rooms and not the others. The next deployment continues.
                let PartyRename { was, now } = rename;
                tracing::error!(%error, %was, %now, "rooms are between two names, and are not served");
                return;
            }
        }
        self.rooms.bring_back(aside);
    }
}
