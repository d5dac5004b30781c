//! Rooms as a list: which, in which order, and where the next page starts. Owns paging and sorting.
//!
//! Invariant: the cost of a page is bounded, however many rooms there are. By name, a page reads only its own part of
//! the store. By a live figure, it reads only the rooms in memory. By bytes, it scans all stored rooms in steps, keeps
//! only the page, and stops if the caller has left. A room that changes its position between two pages may be on both
//! or on neither. It does not know how a list is shown.

use crate::{Operator, OperatorError};
use room_core::id::{PartyName, RoomId};
use room_core::limits::{ms, size};
use room_core::logs::Glob;
use room_core::span::Direction;
use room_rooms::room::{RoomFigures, RoomSnapshot};
use room_store::{RoomFacts, RoomSpan, name_order};
use std::cmp::Ordering;
use std::sync::Arc;

/// The sort key of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Party, then name. The shorter of two names comes first, so that `room-2` precedes `room-10`.
    Name,
    /// Open connections. Rooms in memory only.
    Connections,
    /// Messages in both directions since the room was activated. Rooms in memory only.
    Messages,
    /// Stored bytes.
    Bytes,
    /// When it handled an event last. Rooms in memory only.
    Active,
}

/// A request for a page.
#[derive(Clone, Debug)]
pub struct RoomList {
    pub party: Option<PartyName>,
    pub search: Option<Glob>,
    pub sort: Sort,
    pub direction: Direction,
    /// The most rooms on the page.
    pub limit: usize,
    /// The end of the page before.
    pub after: Option<Cursor>,
}

/// The end of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The sort value of the last room; 0 if the list is sorted by name.
    pub value: u64,
    /// The last room of the page.
    pub room: RoomId,
}

/// One room of a list.
#[derive(Debug)]
pub struct ListedRoom {
    pub room: RoomId,
    /// The facts stored for it.
    pub facts: Option<RoomFacts>,
    /// Its live figures, if it is in memory.
    pub glance: Option<RoomSnapshot>,
}

/// A page.
#[derive(Debug)]
pub struct Listing {
    pub rows: Vec<ListedRoom>,
    /// The start of the next page, or `None` if this page is the last.
    pub next: Option<Cursor>,
}

/// A room with its sort value.
struct RankedRoom {
    value: u64,
    room: RoomId,
    facts: Option<RoomFacts>,
}

impl RoomList {
    fn wants(&self, room: &RoomId) -> bool {
        self.party.as_ref().is_none_or(|party| room.party() == party)
            && self.search.as_ref().is_none_or(|search| search.matches(room.name()))
    }

    /// Returns which of two rooms comes first. Rooms of the same value are sorted by name, always ascending.
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

    /// Returns true if a room comes after the previous page.
    fn is_ahead(&self, value: u64, room: &RoomId) -> bool {
        self.after.as_ref().is_none_or(|after| {
            self.order((after.value, &after.room), (value, room)) == Ordering::Less
        })
    }
}

/// Collects the first rooms of all that pass: as many as a page has, and one more that shows whether there is a next
/// page. All other rooms are dropped without being copied.
struct FirstRooms<'l> {
    list: &'l RoomList,
    ranked: Vec<RankedRoom>,
    /// True if all rooms after the kept ones were removed. A room after the last kept one is then not among the
    /// first.
    is_cut: bool,
}

impl<'l> FirstRooms<'l> {
    fn of(list: &'l RoomList) -> Self {
        Self { list, ranked: Vec::new(), is_cut: false }
    }

    /// Keeps a room if it may be among the first, and returns whether it was kept.
    fn pass(&mut self, value: u64, room: &RoomId, facts: Option<RoomFacts>) -> bool {
        let list = self.list;
        if !list.is_ahead(value, room) {
            return false;
        }
        let last = self.ranked.get(list.limit).filter(|_| self.is_cut);
        let order = |last: &RankedRoom| list.order((last.value, &last.room), (value, room));
        if last.is_some_and(|last| order(last) == Ordering::Less) {
            return false;
        }
        self.ranked.push(RankedRoom { value, room: room.clone(), facts });
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

    /// Returns the rooms, in order.
    fn rooms(mut self) -> Vec<RankedRoom> {
        self.cut();
        self.ranked
    }
}

impl Operator {
    /// Returns a page of the rooms that are stored or in memory.
    ///
    /// # Errors
    /// [`OperatorError::ScanTooLong`]: there are too many stored rooms to sort them by bytes. Or the store's error.
    ///
    /// # Cancel safety
    /// A dropped call changes nothing.
    pub async fn list(&self, list: &RoomList) -> Result<Listing, OperatorError> {
        match list.sort {
            Sort::Name => self.by_name(list).await,
            Sort::Bytes => {
                let limit = self.0.limits.admin_scan_ms_max;
                let sorted = tokio::time::timeout(ms(limit), self.by_bytes(list)).await;
                sorted.unwrap_or(Err(OperatorError::ScanTooLong(limit)))
            }
            Sort::Connections => self.by_figure(list, RoomFigures::connections).await,
            Sort::Messages => self.by_figure(list, RoomFigures::messages).await,
            Sort::Active => self.by_figure(list, |figures| self.0.rooms.used_us(figures)).await,
        }
    }

    /// Lists the stored rooms, merged with those in memory. The page ends early if the search skipped many rooms.
    async fn by_name(&self, list: &RoomList) -> Result<Listing, OperatorError> {
        let _place = self.scan().await?;
        // A page shows at most as many rooms in memory as this returns.
        let running = self.running(list, |_| 0);
        let mut running = running.into_iter().map(|ranked| ranked.room).peekable();
        let mut span = RoomSpan {
            party: list.party.clone(),
            after: list.after.as_ref().map(|after| after.room.clone()),
            direction: list.direction,
        };
        let mut rows: Vec<ListedRoom> = Vec::new();
        let mut left = size(self.0.limits.admin_scan_rooms_max);
        loop {
            // Without a search every room that is read is shown.
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

    /// Scans all stored rooms and keeps the first ones. Rooms in memory that have nothing stored are merged in between.
    async fn by_bytes(&self, list: &RoomList) -> Result<Listing, OperatorError> {
        let _place = self.scan().await?;
        let step = size(self.0.limits.admin_scan_rooms_max);
        let mut span = RoomSpan { party: list.party.clone(), ..RoomSpan::default() };
        let mut first = FirstRooms::of(list);
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
            // Yields, so that rooms and other requests to the store run in between.
            tokio::task::yield_now().await;
        }
    }

    /// Lists the rooms in memory by one of their figures.
    async fn by_figure(
        &self,
        list: &RoomList,
        value: impl Fn(&RoomFigures) -> u64,
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

    /// Returns the requested rooms in memory that come after the previous page, in order: as many as a page has, and
    /// one more that shows whether there is a next page.
    fn running(&self, list: &RoomList, value: impl Fn(&RoomFigures) -> u64) -> Vec<RankedRoom> {
        let mut first = FirstRooms::of(list);
        self.0.rooms.visit(|room, figures| {
            if list.wants(room) {
                first.pass(value(figures), room, None);
            }
        });
        first.rooms()
    }

    fn page(&self, list: &RoomList, mut ranked: Vec<RankedRoom>) -> Listing {
        let more = ranked.len() > list.limit;
        ranked.truncate(list.limit);
        let last = ranked.last().filter(|_| more);
        let next = last.map(|last| Cursor { value: last.value, room: last.room.clone() });
        let rows = ranked.into_iter().map(|ranked| self.row(ranked.room, ranked.facts)).collect();
        Listing { rows, next }
    }

    fn row(&self, room: RoomId, facts: Option<RoomFacts>) -> ListedRoom {
        let figures: Option<Arc<RoomFigures>> = self.0.rooms.figures_of(&room);
        let glance = figures.map(|figures| self.0.rooms.glance_at(&figures));
        ListedRoom { room, facts, glance }
    }
}

/// Returns the position of a room among stored ones, which are sorted by name.
fn position(stored: &[(RoomId, RoomFacts)], room: &RoomId) -> Result<usize, usize> {
    stored.binary_search_by(|(other, _)| name_order(other).cmp(&name_order(room)))
}

/// Returns the page of these rows. One row more than fits says that another page follows.
fn cut(mut rows: Vec<ListedRoom>, limit: usize) -> Listing {
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
    fn the_copies_for_a_page_hardly_grow_with_the_number_of_rooms() {
        let list = list(Sort::Bytes, Direction::Reverse, 100);
        let copied = |count: usize| {
            let mut first = FirstRooms::of(&list);
            // A prime step visits all numbers in a scrambled order.
            let numbers = (0..count).map(|at| at * 7_919 % count);
            numbers.filter(|number| first.pass(*number as u64, &room(*number), None)).count()
        };
        let (few, many) = (copied(10_000), copied(100_000));
        assert!(few <= 2_000 && many <= 3_000, "{few} of 10,000 and {many} of 100,000");
    }

    proptest! {
        #[test]
        fn a_page_has_the_first_rooms_of_all_in_order(
            values in prop::collection::vec(0..20_u64, 0..200),
            limit in 1..20_usize,
            turned in any::<bool>(),
            after in prop::option::of(0..20_u64),
        ) {
            let direction = if turned { Direction::Reverse } else { Direction::Forward };
            let after = after.map(|value| Cursor { value, room: room(7) });
            let list = RoomList { after, ..list(Sort::Bytes, direction, limit) };
            let mut first = FirstRooms::of(&list);
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
