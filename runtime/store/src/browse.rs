//! Reads of stored data from outside the rooms. Owns how much one look reads.
//!
//! Invariant: a look changes nothing, wakes no room, reads a bounded piece, and sees every commit before it.
//! It does not know which rooms run.

use crate::apply::info_of;
use crate::keys::{self, RoomFacts};
use crate::{Store, StoreError};
use bytes::Bytes;
use hashbrown::HashSet;
use room_core::id::{PartyName, RoomId};
use room_core::span::{Direction, Key, ListOptions, Span};
use std::ops::Bound;

/// A span of stored rooms with a direction. Rooms are ordered by party, then by the length of their names,
/// then by the names' bytes. The keys of the tree have this order, so reading a piece costs only that piece.
#[derive(Clone, Debug, Default)]
pub struct RoomSpan {
    /// The party; `None` for all parties.
    pub party: Option<PartyName>,
    /// The room after which the span starts, in its direction.
    pub after: Option<RoomId>,
    /// From the first to the last, or from the last to the first.
    pub direction: Direction,
}

/// A page of a room's keys.
#[derive(Debug, Default)]
pub struct KeyPage {
    /// In order.
    pub entries: Vec<(Key, Bytes)>,
    /// The key that comes next, if there are more.
    pub next: Option<Key>,
}

/// Returns the position of a room in the order by name.
pub fn name_order(room: &RoomId) -> (usize, &str, usize, &str) {
    let (party, name) = (room.party().as_str(), room.name());
    (party.len(), party, name.len(), name)
}

impl Store {
    /// Returns the facts of a room; `None` if nothing is stored for it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn facts(&self, room: &RoomId) -> Result<Option<RoomFacts>, StoreError> {
        Ok(self.facts_of(vec![room.clone()]).await?.pop().flatten())
    }

    /// As [`Store::facts`], for several rooms, in their order.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn facts_of(&self, rooms: Vec<RoomId>) -> Result<Vec<Option<RoomFacts>>, StoreError> {
        self.look(move |store| {
            let tree = store.applier.shared().tree();
            let facts = rooms.iter().map(|room| {
                let facts = info_of(&*tree, room)?;
                Ok((facts != RoomFacts::default()).then_some(facts))
            });
            facts.collect()
        })
        .await
    }

    /// Returns the next stored rooms, at most `max`. Fewer rooms are the last ones.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn rooms(
        &self,
        span: RoomSpan,
        max: usize,
    ) -> Result<Vec<(RoomId, RoomFacts)>, StoreError> {
        self.look(move |store| {
            let entries = store.applier.shared().tree().scan(&span.keys(), HashSet::new());
            let rooms = entries.take(max).map(|entry| {
                let (key, value) = entry?;
                Ok((keys::decode_info_key(&key)?, keys::decode_info(&value)?))
            });
            rooms.collect()
        })
        .await
    }

    /// Returns a page of a room's entries: at most the given number of entries, and about the given number of
    /// bytes, but at least one entry.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn entries(
        &self,
        room: &RoomId,
        options: ListOptions,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<KeyPage, StoreError> {
        let prefix = keys::guest_prefix(room);
        self.look(move |store| {
            let span = Span::of(&options).map_err(|why| StoreError::Io(why.to_owned()))?;
            let (mut page, mut bytes) = (KeyPage::default(), 0);
            // During the read nothing is applied: a large value lies in pieces, which must all be of one
            // moment.
            let shared = store.applier.shared();
            let _still = shared.copy();
            for entry in shared.tree().scan(&keys::below(&prefix, &span), HashSet::new()) {
                let (key, value) = entry?;
                let key = key[prefix.len()..].to_vec();
                bytes += key.len() + value.len();
                let full = page.entries.len() >= entries_max || bytes > bytes_max;
                if full && !page.entries.is_empty() {
                    page.next = Some(key);
                    break;
                }
                page.entries.push((key, value));
            }
            Ok(page)
        })
        .await
    }

    /// Returns the value of a room's key.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn value(&self, room: &RoomId, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let key = [&keys::guest_prefix(room), key].concat();
        self.look(move |store| {
            let shared = store.applier.shared();
            let _still = shared.copy();
            shared.tree().get(&key)
        })
        .await
    }

    /// Reads on a thread that runs no rooms. If the read meets damage, the tree is rebuilt.
    async fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.applied().await?;
        let store = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            read(&store).inspect_err(|error| {
                if matches!(error, StoreError::Corrupt(_)) {
                    store.applier.shared().distrust(error);
                }
            })
        });
        reading.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl RoomSpan {
    pub(super) fn keys(&self) -> Span {
        let mut span = match &self.party {
            Some(party) => keys::infos_of(party),
            None => keys::all_infos(),
        };
        span.direction = self.direction;
        if let Some(after) = &self.after {
            let after: Bound<Key> = Bound::Excluded(keys::info(after));
            match self.direction {
                Direction::Forward => span.start = after,
                Direction::Reverse => span.end = after,
            }
        }
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RoomContent;
    use room_core::limits::Limits;

    fn id(text: &str) -> RoomId {
        let (party, name) = text.split_once('/').unwrap();
        RoomId::new(PartyName::parse(party).unwrap(), name, 256).unwrap()
    }

    /// Makes a store with these rooms, each with one key.
    async fn store(rooms: &[&str]) -> Store {
        let store = Store::in_memory(&Limits::default()).unwrap();
        for room in rooms {
            let lines = format!(
                "{{\"room-export\":1,\"party\":\"{}\",\"room\":\"{}\",\"alarm\":null}}\n\
                 {{\"key\":\"k\",\"json\":1}}",
                id(room).party(),
                id(room).name()
            );
            let content = RoomContent::read(lines.as_bytes(), &Limits::default()).unwrap();
            store.import(content, None).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn rooms_are_listed_in_pages_in_both_directions() {
        let names = ["a/1", "a/2", "a/10", "b/x", "bb/a", "bb/b"];
        let store = store(&["bb/b", "a/10", "b/x", "a/2", "bb/a", "a/1"]).await;
        for (direction, wanted) in [
            (Direction::Forward, names.to_vec()),
            (Direction::Reverse, names.iter().rev().copied().collect()),
        ] {
            let (mut found, mut span) = (Vec::new(), RoomSpan { direction, ..RoomSpan::default() });
            loop {
                let piece = store.rooms(span.clone(), 2).await.unwrap();
                let Some((last, _)) = piece.last() else { break };
                span.after = Some(last.clone());
                found.extend(piece.iter().map(|(room, _)| room.to_string()));
            }
            assert_eq!(found, wanted);
        }
        let span = RoomSpan { party: Some(id("b/x").party().clone()), ..RoomSpan::default() };
        let found = store.rooms(span, 9).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].1.keys, found[0].1.bytes), (1, 2));
        let mut sorted = names.map(id);
        sorted.reverse();
        sorted.sort_by(|a, b| name_order(a).cmp(&name_order(b)));
        assert_eq!(sorted, names.map(id));
    }

    #[tokio::test]
    async fn a_room_without_stored_data_is_unknown() {
        let store = store(&["a/1"]).await;
        assert_eq!(store.facts(&id("a/2")).await, Ok(None));
        assert_eq!(store.value(&id("a/1"), b"k").await, Ok(Some(Bytes::from_static(b"1"))));
        assert_eq!(store.value(&id("a/1"), b"l").await, Ok(None));
        let page = store.entries(&id("a/2"), ListOptions::default(), 9, 9).await.unwrap();
        assert!(page.entries.is_empty() && page.next.is_none());
    }
}
