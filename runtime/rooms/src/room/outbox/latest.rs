//! The keys of the messages that wait in one outbox. Owns the places that a replaced message leaves behind.
//!
//! Invariant: each key names at most one waiting message, and at most half of a queue's places are empty. A queue whose
//! messages have no keys pays nothing. It does not know bounds.

use super::OutboxItem;
use bytes::Bytes;
use room_core::event::Message;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// So few empty places are not worth moving the others.
const HOLES_MIN: usize = 16;

/// The keys of a queue. A place is counted from the first item that was in the queue, and not from its front.
#[derive(Default)]
pub(super) struct LatestKeys {
    /// The place of the front.
    front: u64,
    by_key: HashMap<Arc<str>, u64>,
    by_place: HashMap<u64, Arc<str>>,
    holes: HashSet<u64>,
}

impl LatestKeys {
    /// Returns true if a message with a key waits, or an empty place is left: items are taken by [`LatestKeys::pop`] then.
    pub(super) fn are_waiting(&self) -> bool {
        !self.by_place.is_empty() || !self.holes.is_empty()
    }

    /// Returns the number of empty places.
    pub(super) fn holes(&self) -> usize {
        self.holes.len()
    }

    /// Takes the message with this key out of the queue.
    pub(super) fn take(
        &mut self,
        key: &str,
        said: &mut VecDeque<OutboxItem>,
    ) -> Option<OutboxItem> {
        let place = self.by_key.remove(key)?;
        self.by_place.remove(&place);
        let at = usize::try_from(place - self.front).ok()?;
        self.empty(at, said)
    }

    /// Takes the item without a key at this index out of the queue.
    pub(super) fn remove(&mut self, at: usize, said: &mut VecDeque<OutboxItem>) {
        match self.are_waiting() {
            true => drop(self.empty(at, said)),
            // Items may have been taken without a count.
            false => drop(said.remove(at)),
        }
    }

    /// Takes an item whose place has no key any more, and leaves the place empty.
    fn empty(&mut self, at: usize, said: &mut VecDeque<OutboxItem>) -> Option<OutboxItem> {
        let empty = OutboxItem::Message(Message::Binary(Bytes::new()));
        let taken = said.get_mut(at).map(|item| std::mem::replace(item, empty));
        match at + 1 == said.len() {
            true => drop(said.pop_back()),
            false => drop(self.holes.insert(self.front + at as u64)),
        }
        if self.holes.len() > HOLES_MIN.max(said.len() / 2) {
            self.close_up(said);
        }
        taken
    }

    /// Notes that the last item of the queue, which has this many, has this key.
    pub(super) fn note(&mut self, key: &str, len: usize) {
        if !self.are_waiting() {
            // Items may have been taken without a count.
            self.front = 0;
        }
        let (key, place) = (Arc::<str>::from(key), self.front + (len as u64).saturating_sub(1));
        self.by_key.insert(key.clone(), place);
        self.by_place.insert(place, key);
    }

    /// Takes the first item of the queue.
    pub(super) fn pop(&mut self, said: &mut VecDeque<OutboxItem>) -> Option<OutboxItem> {
        loop {
            let item = said.pop_front()?;
            let place = self.front;
            self.front += 1;
            if self.holes.remove(&place) {
                continue;
            }
            if let Some(key) = self.by_place.remove(&place) {
                self.by_key.remove(&key);
            }
            return Some(item);
        }
    }

    /// Moves the items together.
    fn close_up(&mut self, said: &mut VecDeque<OutboxItem>) {
        let (mut place, mut kept) = (self.front, 0);
        let (mut by_place, front) = (HashMap::with_capacity(self.by_place.len()), self.front);
        said.retain(|_| {
            let was = place;
            place += 1;
            if self.holes.contains(&was) {
                return false;
            }
            if let Some(key) = self.by_place.remove(&was) {
                self.by_key.insert(key.clone(), front + kept);
                by_place.insert(front + kept, key);
            }
            kept += 1;
            true
        });
        self.by_place = by_place;
        self.holes.clear();
    }
}
