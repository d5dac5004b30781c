//! The figures of the rooms in memory, for callers that look at many rooms. Owns a list of its own, beside
//! the list by which events find their rooms.
//!
//! Invariant: a visit of all rooms holds a small part of the list at a time, and no lock that an event needs.
//! The cost of a look does not depend on other looks, and no room waits for it. It does not know what the
//! figures are.

use crate::room::RoomFigures;
use hashbrown::{DefaultHashBuilder, HashMap};
use room_core::id::RoomId;
use room_core::lock::lock;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard};

/// Parts of the list, each with a lock of its own: a part of 10,000 rooms is visited in microseconds.
const PARTS: usize = 64;

/// The rooms in memory.
pub(super) struct Census {
    parts: [Mutex<HashMap<RoomId, Arc<RoomFigures>>>; PARTS],
    hasher: DefaultHashBuilder,
}

impl Default for Census {
    fn default() -> Self {
        let parts = std::array::from_fn(|_| Mutex::default());
        Self { parts, hasher: DefaultHashBuilder::default() }
    }
}

impl Census {
    /// Adds a room, or replaces its figures.
    pub(super) fn insert(&self, room: RoomId, figures: Arc<RoomFigures>) {
        self.part(&room).insert(room, figures);
    }

    /// Removes a room, unless it has other figures by now.
    pub(super) fn remove(&self, room: &RoomId, figures: &Arc<RoomFigures>) {
        let mut part = self.part(room);
        if part.get(room).is_some_and(|found| Arc::ptr_eq(found, figures)) {
            part.remove(room);
        }
    }

    /// Shows every room to `visit`, in no particular order. May leave out a room that comes or leaves during
    /// the visit.
    pub(super) fn visit(&self, mut visit: impl FnMut(&RoomId, &Arc<RoomFigures>)) {
        for part in &self.parts {
            let part = lock(part);
            part.iter().for_each(|(room, figures)| visit(room, figures));
        }
    }

    fn part(&self, room: &RoomId) -> MutexGuard<'_, HashMap<RoomId, Arc<RoomFigures>>> {
        let hash = usize::try_from(self.hasher.hash_one(room) % PARTS as u64).unwrap_or_default();
        lock(&self.parts[hash])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::id::PartyName;
    use room_core::limits::Limits;

    #[test]
    fn the_census_visits_each_room_once_and_only_its_own_figures_remove_it() {
        let census = Census::default();
        let party = PartyName::parse("main").unwrap();
        let limits = Arc::new(Limits::default());
        let rooms: Vec<_> = (0..1_000)
            .map(|number| {
                let room = RoomId::new(party.clone(), &format!("room-{number}"), 256).unwrap();
                (room, Arc::new(RoomFigures::new(limits.clone())))
            })
            .collect();
        for (room, figures) in &rooms {
            census.insert(room.clone(), figures.clone());
        }
        let visited = || {
            let mut found = Vec::new();
            census.visit(|room, _| found.push(room.clone()));
            found.sort();
            found
        };
        let mut all: Vec<RoomId> = rooms.iter().map(|(room, _)| room.clone()).collect();
        all.sort();
        assert_eq!(visited(), all);
        let (first, figures) = &rooms[0];
        census.remove(first, &rooms[1].1);
        assert_eq!(visited().len(), 1_000);
        census.remove(first, figures);
        assert_eq!(visited().len(), 999);
        // The room came back with other figures: the end of its first stay must not remove them.
        let (second, old) = &rooms[1];
        census.insert(second.clone(), rooms[2].1.clone());
        census.remove(second, old);
        assert_eq!(visited().len(), 999);
    }
}
