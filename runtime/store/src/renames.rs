//! Rooms of a party that has another name now. Owns the way of their data from one name to the other, and the note that
//! says how far it is.
//!
//! Invariant: a room's data is whole under one of both names at every moment, and after a crash the note says which. The
//! copy under the other name is void until then. It does not know which of the names is served, and its caller makes
//! sure that no room of either runs.
//!
//! ```text
//! no note      the rooms are under the old name
//! Forth        they are on their way to the new name: what the old one still has is the truth
//! Done         they are under the new name
//! Back         they are on their way to the old name: what the new one still has is the truth
//! ```

use crate::keys;
use crate::notes::{Noted, merged_by_name};
use crate::{
    Change, OutboundChange, OutboundFacts, RoomFacts, RoomSpan, RoomStore, Store, StoreError, Wipe,
    apply, blocking, outbound,
};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hashbrown::HashSet;
use room_core::config::PartyRename;
use room_core::id::{ModuleHash, PartyName, RoomId};
use room_core::jobs::JobsChange;
use room_core::limits::size;
use room_core::span::{Key, Overlay, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The file's name in the store's folder.
pub(super) const FILE: &str = "renames";

/// The progress of each rename, by the new name and the old one.
pub(super) type RenameNotes = BTreeMap<String, BTreeMap<String, Progress>>;

/// Where the rooms of a renamed party are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Progress {
    Forth,
    Done,
    Back,
}

impl Noted for RenameNotes {
    fn merged(before: &Self, new: Self, stored: Self) -> Self {
        merged_by_name(before, new, stored)
    }
}

/// The name under which the rooms of a party belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameSide {
    /// The old one.
    Was,
    /// The new one.
    Now,
}

/// The reason why rooms do not get their new name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// Rooms are stored under both names, and no rename has begun.
    #[error(
        "rooms are stored for the party {now} and for {was}, which it is to replace: export the rooms of one of them and \
         delete them, or remove `was`"
    )]
    BothStored {
        /// The old name.
        was: PartyName,
        /// The new name.
        now: PartyName,
    },
    /// The store failed. The next try continues.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Returns the renames that have begun or are done.
    pub fn renames(&self) -> Vec<PartyRename> {
        let notes = self.renames.known();
        let parsed = notes.iter().flat_map(|(now, olds)| {
            olds.keys().filter_map(|was| {
                let (was, now) = (PartyName::parse(was).ok()?, PartyName::parse(now).ok()?);
                Some(PartyRename { was, now })
            })
        });
        parsed.collect()
    }

    /// Returns true if all rooms of a renamed party are under this name.
    pub fn is_renamed(&self, rename: &PartyRename, to: RenameSide) -> bool {
        let wanted = match to {
            RenameSide::Was => None,
            RenameSide::Now => Some(Progress::Done),
        };
        self.progress(rename) == wanted
    }

    /// Brings all rooms of a renamed party under one of its names, and returns how many. Continues what was begun, and
    /// turns back if it was begun in the other direction.
    ///
    /// # Errors
    /// [`RenameError`]: the rooms are where they were, or on their way.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, rooms are on their way, and the next call continues.
    pub async fn rename(&self, rename: &PartyRename, to: RenameSide) -> Result<u64, RenameError> {
        let PartyRename { was, now } = rename;
        let (from, into, way, other) = match to {
            RenameSide::Now => (was, now, Progress::Forth, Progress::Back),
            RenameSide::Was => (now, was, Progress::Back, Progress::Forth),
        };
        if self.is_renamed(rename, to) {
            return Ok(0);
        }
        match self.progress(rename) {
            None if self.has_rooms(was).await? && self.has_rooms(now).await? => {
                let (was, now) = (was.clone(), now.clone());
                return Err(RenameError::BothStored { was, now });
            }
            // What is in both is whole where it was: under the name that is left now.
            Some(progress) if progress == other => self.drop_copies(into, from).await?,
            _ => {}
        }
        self.note_rename(rename, Some(way))?;
        let rooms = self.move_rooms(from, into).await?;
        self.note_rename(rename, (to == RenameSide::Now).then_some(Progress::Done))?;
        Ok(rooms)
    }

    /// Forgets that a party had another name: its rooms are its own from now on.
    ///
    /// # Errors
    /// [`StoreError`]: it may be forgotten only until the store is closed.
    pub fn confirm_rename(&self, rename: &PartyRename) -> Result<(), StoreError> {
        self.note_rename(rename, None)
    }

    fn progress(&self, rename: &PartyRename) -> Option<Progress> {
        self.renames.known().get(rename.now.as_str())?.get(rename.was.as_str()).copied()
    }

    fn note_rename(
        &self,
        rename: &PartyRename,
        progress: Option<Progress>,
    ) -> Result<(), StoreError> {
        let mut notes = self.renames.known();
        let olds = notes.entry(rename.now.to_string()).or_default();
        match progress {
            Some(progress) => olds.insert(rename.was.to_string(), progress),
            None => olds.remove(rename.was.as_str()),
        };
        notes.retain(|_, olds| !olds.is_empty());
        self.renames.keep(notes)
    }

    async fn has_rooms(&self, party: &PartyName) -> Result<bool, StoreError> {
        Ok(!self.rooms(RoomSpan::of(party), 1).await?.is_empty())
    }

    /// Moves all rooms of a party, a few at a time.
    async fn move_rooms(&self, from: &PartyName, into: &PartyName) -> Result<u64, StoreError> {
        let (mut moved, mut span) = (0, RoomSpan::of(from));
        loop {
            let rooms = self.rooms(span.clone(), size(self.limits.rename_rooms_max)).await?;
            let Some((last, _)) = rooms.last() else { return Ok(moved) };
            span.after = Some(last.clone());
            moved += rooms.len() as u64;
            let mut moves = FuturesUnordered::new();
            for (room, facts) in rooms {
                let new = RoomId::new(into.clone(), room.name(), usize::MAX);
                let new = new.map_err(|error| StoreError::Corrupt(error.to_string()))?;
                moves.push(self.move_room(room, new, facts));
            }
            while let Some(done) = moves.next().await {
                done?;
            }
        }
    }

    /// Copies a room, and deletes it when the copy is durable.
    async fn move_room(
        &self,
        room: RoomId,
        new: RoomId,
        facts: RoomFacts,
    ) -> Result<(), StoreError> {
        let copy = self.room(&new).await?;
        let mut change = Change { wipe: Wipe::Room, ..Change::default() };
        let mut after = None;
        loop {
            let (keys, last) = self.piece(&room, after)?;
            change.keys = keys;
            if last.is_none() {
                break;
            }
            copy.commit_change(std::mem::take(&mut change), ModuleHash::NONE).await?;
            after = last;
        }
        self.copy_outbound(&room, &facts, (&copy, &mut change)).await?;
        // What wakes the room comes last.
        change.alarm = Some(facts.alarm);
        change.touch = facts.touch;
        change.jobs = self.jobs(&room, &facts)?;
        let offset = copy.commit_change(change, ModuleHash::NONE).await?;
        copy.durable(offset).await?;
        let old = self.room(&room).await?;
        let offset = old.commit_end(ModuleHash::NONE).await?;
        old.durable(offset).await
    }

    /// Returns the next keys of a room with their values, and the last of them if there may be more.
    fn piece(
        &self,
        room: &RoomId,
        after: Option<Key>,
    ) -> Result<(Overlay, Option<Key>), StoreError> {
        let (bytes_max, prefix) =
            (size(self.limits.commit_bytes_max) / 4, keys::guest_prefix(room).len());
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let span = keys::below(&keys::guest_prefix(room), &Span { start, ..Span::ALL });
        let tree = self.applier.shared().tree();
        blocking(|| {
            let (mut piece, mut bytes) = (Overlay::new(), 0);
            for entry in tree.scan(&span, HashSet::new()) {
                let (key, value) = entry?;
                let key = key[prefix..].to_vec();
                bytes += key.len() + value.len();
                piece.insert(key.clone(), Some(value));
                if bytes >= bytes_max {
                    return Ok((piece, Some(key)));
                }
            }
            Ok((piece, None))
        })
    }

    /// Adds the messages that a room remembers to what its copy commits next, and commits them as far as they are too many
    /// for one commit.
    async fn copy_outbound(
        &self,
        room: &RoomId,
        facts: &RoomFacts,
        (copy, change): (&RoomStore, &mut Change),
    ) -> Result<(), StoreError> {
        let Some(OutboundFacts { floor, .. }) = facts.outbound else { return Ok(()) };
        let bytes_max = size(self.limits.commit_bytes_max) / 4;
        let tree = self.applier.shared().tree();
        let entries = blocking(|| outbound::entries_of(&*tree, room, &keys::outbound(room)))?;
        let first = OutboundChange { floor: Some(floor), ..OutboundChange::default() };
        change.outbound = Some(Box::new(first));
        let mut bytes = bytes_max;
        for (id, value) in entries {
            bytes += value.len();
            if bytes >= bytes_max {
                copy.commit_change(std::mem::take(change), ModuleHash::NONE).await?;
                bytes = value.len();
            }
            change.outbound.get_or_insert_default().entries.insert(id, value);
        }
        Ok(())
    }

    fn jobs(&self, room: &RoomId, facts: &RoomFacts) -> Result<Option<JobsChange>, StoreError> {
        let tree = self.applier.shared().tree();
        let jobs = blocking(|| apply::jobs_of(&*tree, room, facts))?;
        let entries: Overlay = jobs.into_iter().map(|(key, value)| (key, Some(value))).collect();
        Ok((!entries.is_empty()).then_some(JobsChange { entries, wake: Some(facts.wake) }))
    }

    /// Deletes the rooms of a party that are also under its other name.
    async fn drop_copies(&self, of: &PartyName, copied_to: &PartyName) -> Result<(), StoreError> {
        let mut span = RoomSpan::of(of);
        loop {
            let rooms = self.rooms(span.clone(), size(self.limits.rename_rooms_max)).await?;
            let Some((last, _)) = rooms.last() else { return Ok(()) };
            span.after = Some(last.clone());
            for (room, _) in rooms {
                let copy = RoomId::new(copied_to.clone(), room.name(), usize::MAX);
                let copy = copy.map_err(|error| StoreError::Corrupt(error.to_string()))?;
                if self.facts(&copy).await?.is_some() {
                    self.forget(&copy).await?;
                }
            }
        }
    }
}

impl RoomSpan {
    /// Returns the span of all rooms of a party.
    fn of(party: &PartyName) -> Self {
        Self { party: Some(party.clone()), ..Self::default() }
    }
}

#[cfg(test)]
mod tests;
