//! Rooms as a list: which, in which order, and where the next page begins. Owns paging and sorting.
//!
//! Invariant: what a page costs is bounded, however many rooms there are. By name, a page reads its own part
//! of the store alone; by a live figure, it looks at the rooms in memory alone; by bytes, it looks at all
//! stored rooms in steps, keeps only the page, and ends when nobody waits for it. A room that changes its
//! place between two pages may be on both or on none. It does not know how a list is shown.

use super::{Operator, OperatorError};
use crate::id::{PartyName, RoomId};
use crate::limits::{ms, size};
use crate::logs::Glob;
use crate::room::{Figures, Glance};
use crate::span::Direction;
use crate::store::{RoomFacts, RoomSpan, name_order};
use std::cmp::Ordering;
use std::sync::Arc;

/// What rooms are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Party, then name; the shorter of two names first, as `room-2` and `room-10` should be.
    Name,
    /// Open connections. Rooms in memory only.
    Connections,
    /// Messages either way since the room came into memory. Rooms in memory only.
    Messages,
    /// Stored bytes.
    Bytes,
    /// When it handled something last. Rooms in memory only.
    Active,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct RoomList {
    pub(crate) party: Option<PartyName>,
    pub(crate) search: Option<Glob>,
    pub(crate) sort: Sort,
    pub(crate) direction: Direction,
    /// At most so many rooms.
    pub(crate) limit: usize,
    /// Where the page before ended.
    pub(crate) after: Option<Cursor>,
}

/// The end of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// What the list is sorted by; 0 if that is the name.
    pub(crate) value: u64,
    /// The last room.
    pub(crate) room: RoomId,
}

/// One room of a list.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) room: RoomId,
    /// What is stored for it.
    pub(crate) facts: Option<RoomFacts>,
    /// How it is, if it is in memory.
    pub(crate) glance: Option<Glance>,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) rows: Vec<Row>,
    /// Where the next page begins; none if this is the last.
    pub(crate) next: Option<Cursor>,
}

/// A room with what it is sorted by.
struct Ranked {
    value: u64,
    room: RoomId,
    facts: Option<RoomFacts>,
}

impl RoomList {
    fn wants(&self, room: &RoomId) -> bool {
        self.party.as_ref().is_none_or(|party| room.party() == party)
            && self.search.as_ref().is_none_or(|search| search.matches(room.name()))
    }

    /// Which of two rooms comes first. Those of the same value are sorted by name, from first to last.
    fn order(&self, (value, room): (u64, &RoomId), (other, rival): (u64, &RoomId)) -> Ordering {
        let names = name_order(room).cmp(&name_order(rival));
        let turned = |order: Ordering| match self.direction {
            Direction::Forward => order,
            Direction::Reverse => order.reverse(),
        };
        match self.sort {
            Sort::Name => turned(names),
            _ => turned(value.cmp(&other)).then(names),
        }
    }

    /// True if a room comes behind the page before.
    fn is_ahead(&self, value: u64, room: &RoomId) -> bool {
        self.after.as_ref().is_none_or(|after| {
            self.order((after.value, &after.room), (value, room)) == Ordering::Less
        })
    }
}

/// The first rooms of those that pass: as many as a page has, and one that tells that there are more. The others
/// are not copied.
struct First<'l> {
    list: &'l RoomList,
    ranked: Vec<Ranked>,
    /// True if all behind so many as are kept were removed: who comes behind the last of these is not among them.
    is_cut: bool,
}

impl<'l> First<'l> {
    fn of(list: &'l RoomList) -> Self {
        Self { list, ranked: Vec::new(), is_cut: false }
    }

    /// Takes a room if it may be among the first, and says whether it was taken.
    fn pass(&mut self, value: u64, room: &RoomId, facts: Option<RoomFacts>) -> bool {
        let list = self.list;
        if !list.is_ahead(value, room) {
            return false;
        }
        let last = self.ranked.get(list.limit).filter(|_| self.is_cut);
        let order = |last: &Ranked| list.order((last.value, &last.room), (value, room));
        if last.is_some_and(|last| order(last) == Ordering::Less) {
            return false;
        }
        self.ranked.push(Ranked { value, room: room.clone(), facts });
        if self.ranked.len() > 2 * (list.limit + 1) {
            self.cut();
        }
        true
    }

    fn cut(&mut self) {
        let list = self.list;
        self.ranked.sort_by(|a, b| list.order((a.value, &a.room), (b.value, &b.room)));
        self.is_cut = self.ranked.len() > list.limit;
        self.ranked.truncate(list.limit + 1);
    }

    /// The rooms, in order.
    fn rooms(mut self) -> Vec<Ranked> {
        self.cut();
        self.ranked
    }
}

impl Operator {
    /// A page of the rooms that are stored or in memory.
    ///
    /// # Errors
    /// [`OperatorError::ScanTooLong`]: there are too many stored rooms to be sorted by bytes; and what the store
    /// says.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub(crate) async fn list(&self, list: &RoomList) -> Result<Listing, OperatorError> {
        match list.sort {
            Sort::Name => self.by_name(list).await,
            Sort::Bytes => {
                let limit = self.0.limits.admin_scan_ms_max;
                let sorted = tokio::time::timeout(ms(limit), self.by_bytes(list)).await;
                sorted.unwrap_or(Err(OperatorError::ScanTooLong(limit)))
            }
            Sort::Connections => self.by_figure(list, Figures::connections).await,
            Sort::Messages => self.by_figure(list, Figures::messages).await,
            Sort::Active => self.by_figure(list, |figures| self.0.rooms.used_us(figures)).await,
        }
    }

    /// The stored rooms with those in memory between them. The page ends early if many were looked at in
    /// vain.
    async fn by_name(&self, list: &RoomList) -> Result<Listing, OperatorError> {
        let _place = self.scan().await?;
        // No page has more of those in memory than these.
        let running = self.running(list, |_| 0);
        let mut running = running.into_iter().map(|ranked| ranked.room).peekable();
        let mut span = RoomSpan {
            party: list.party.clone(),
            after: list.after.as_ref().map(|after| after.room.clone()),
            direction: list.direction,
        };
        let mut rows: Vec<Row> = Vec::new();
        let mut left = size(self.0.limits.admin_scan_rooms_max);
        loop {
            // Without a search all that is read is shown.
            let wanted = match &list.search {
                None => list.limit + 1 - rows.len().min(list.limit),
                Some(_) => left,
            };
            let max = wanted.min(left);
            let stored = self.0.store.rooms(span.clone(), max).await?;
            let (read, is_last) = (stored.len(), stored.len() < max);
            for (room, facts) in stored {
                while let Some(before) =
                    running.next_if(|id| list.order((0, id), (0, &room)) == Ordering::Less)
                {
                    rows.push(self.row(before, None));
                }
                running.next_if_eq(&room);
                if list.wants(&room) {
                    rows.push(self.row(room.clone(), Some(facts)));
                }
                span.after = Some(room);
                if rows.len() > list.limit {
                    return Ok(cut(rows, list.limit));
                }
            }
            left -= read;
            if is_last {
                rows.extend(running.map(|room| self.row(room, None)));
                return Ok(cut(rows, list.limit));
            }
            if left == 0 {
                let next = span.after.map(|room| Cursor { value: 0, room });
                return Ok(Listing { rows, next });
            }
        }
    }

    /// All stored rooms, the first of which are kept while the others pass, and between them those in memory of
    /// which nothing is stored.
    async fn by_bytes(&self, list: &RoomList) -> Result<Listing, OperatorError> {
        let _place = self.scan().await?;
        let step = size(self.0.limits.admin_scan_rooms_max);
        let mut span = RoomSpan { party: list.party.clone(), ..RoomSpan::default() };
        let mut first = First::of(list);
        loop {
            let stored = self.0.store.rooms(span.clone(), step).await?;
            let is_last = stored.len() < step;
            let to = stored.last().map(|(room, _)| room).filter(|_| !is_last);
            let is_here = |room: &RoomId| {
                span.after.as_ref().is_none_or(|from| name_order(from) < name_order(room))
                    && to.is_none_or(|to| name_order(room) <= name_order(to))
            };
            self.0.rooms.visit(|room, _| {
                if list.wants(room) && is_here(room) && position(&stored, room).is_err() {
                    first.pass(0, room, None);
                }
            });
            for (room, facts) in &stored {
                if list.wants(room) {
                    first.pass(facts.bytes, room, Some(*facts));
                }
            }
            if is_last {
                return Ok(self.page(list, first.rooms()));
            }
            span.after = to.cloned();
            // Rooms and other looks at the store come in between.
            tokio::task::yield_now().await;
        }
    }

    /// The rooms in memory, by something that they count.
    async fn by_figure(
        &self,
        list: &RoomList,
        value: impl Fn(&Figures) -> u64,
    ) -> Result<Listing, OperatorError> {
        let mut ranked = self.running(list, value);
        let shown = ranked.len().min(list.limit);
        let rooms = ranked[..shown].iter().map(|ranked| ranked.room.clone()).collect();
        let facts = self.0.store.facts_of(rooms).await?;
        for (ranked, facts) in ranked.iter_mut().zip(facts) {
            ranked.facts = facts;
        }
        Ok(self.page(list, ranked))
    }

    /// The rooms in memory that are asked for and come behind the page before, in order: as many as a page has,
    /// and one that tells that there are more.
    fn running(&self, list: &RoomList, value: impl Fn(&Figures) -> u64) -> Vec<Ranked> {
        let mut first = First::of(list);
        self.0.rooms.visit(|room, figures| {
            if list.wants(room) {
                first.pass(value(figures), room, None);
            }
        });
        first.rooms()
    }

    fn page(&self, list: &RoomList, mut ranked: Vec<Ranked>) -> Listing {
        let more = ranked.len() > list.limit;
        ranked.truncate(list.limit);
        let last = ranked.last().filter(|_| more);
        let next = last.map(|last| Cursor { value: last.value, room: last.room.clone() });
        let rows = ranked.into_iter().map(|ranked| self.row(ranked.room, ranked.facts)).collect();
        Listing { rows, next }
    }

    fn row(&self, room: RoomId, facts: Option<RoomFacts>) -> Row {
        let figures: Option<Arc<Figures>> = self.0.rooms.figures_of(&room);
        let glance = figures.map(|figures| self.0.rooms.glance_at(&figures));
        Row { room, facts, glance }
    }
}

/// Where a room is among stored ones, which come in the order of their names.
fn position(stored: &[(RoomId, RoomFacts)], room: &RoomId) -> Result<usize, usize> {
    stored.binary_search_by(|(other, _)| name_order(other).cmp(&name_order(room)))
}

/// The page of these rows, which may be one more.
fn cut(mut rows: Vec<Row>, limit: usize) -> Listing {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| more);
    let next = last.map(|last| Cursor { value: 0, room: last.room.clone() });
    Listing { rows, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(sort: Sort, direction: Direction, limit: usize) -> RoomList {
        RoomList { party: None, search: None, sort, direction, limit, after: None }
    }

    fn room(number: usize) -> RoomId {
        RoomId::new(PartyName::parse("main").unwrap(), &format!("room-{number}"), 256).unwrap()
    }

    #[test]
    fn what_is_copied_for_a_page_hardly_grows_with_the_number_of_rooms() {
        let list = list(Sort::Bytes, Direction::Reverse, 100);
        let copied = |count: usize| {
            let mut first = First::of(&list);
            // A prime number walks through all of them in a disorder of its own.
            let numbers = (0..count).map(|at| at * 7_919 % count);
            numbers.filter(|number| first.pass(*number as u64, &room(*number), None)).count()
        };
        let (few, many) = (copied(10_000), copied(100_000));
        assert!(few <= 2_000 && many <= 3_000, "{few} of 10,000 and {many} of 100,000");
    }

    proptest! {
        #[test]
        fn the_first_rooms_are_those_of_all_in_order(
            values in prop::collection::vec(0..20_u64, 0..200),
            limit in 1..20_usize,
            turned in any::<bool>(),
            after in prop::option::of(0..20_u64),
        ) {
            let direction = if turned { Direction::Reverse } else { Direction::Forward };
            let after = after.map(|value| Cursor { value, room: room(7) });
            let list = RoomList { after, ..list(Sort::Bytes, direction, limit) };
            let mut first = First::of(&list);
            let mut all = Vec::new();
            for (number, value) in values.into_iter().enumerate() {
                first.pass(value, &room(number), None);
                all.push((value, room(number)));
            }
            all.retain(|(value, room)| list.is_ahead(*value, room));
            all.sort_by(|(a, x), (b, y)| list.order((*a, x), (*b, y)));
            all.truncate(limit + 1);
            let found: Vec<_> =
                first.rooms().into_iter().map(|ranked| (ranked.value, ranked.room)).collect();
            prop_assert_eq!(found, all);
        }
    }
}
