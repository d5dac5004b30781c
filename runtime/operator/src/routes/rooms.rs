//! `GET /rooms` and `/overview`: all rooms at once. Owns the JSON of each room.
//!
//! Invariant: an invalid request is refused before anything is read. It does not know how rooms are found and sorted.
//!
//! ```text
//! GET /rooms?party=&search=&sort=&order=&limit=&after=
//!   {"rooms":[{"party":"main","room":"lobby","phase":"running",…}],"next":"…"}
//! GET /overview
//!   {"rooms":{…},"stored":{…},"connections":0,…}
//! ```

use super::PAGE;
use super::query::{Query, encoded, invalid};
use crate::listing::{Cursor, ListedRoom, Listing, RoomList, Sort};
use crate::{Operator, OperatorError};
use axum::Json;
use http::Uri;
use room_core::id::{PartyName, RoomId};
use room_core::limits::{Limits, size};
use room_core::logs::Glob;
use room_core::span::Direction;
use room_rooms::room::RoomStage;
use serde_json::{Value, json};

/// The parameters of the query.
const WORDS: [&str; 6] = ["party", "search", "sort", "order", "limit", "after"];

const SORTS: [(&str, Sort); 5] = [
    ("name", Sort::Name),
    ("connections", Sort::Connections),
    ("messages", Sort::Messages),
    ("bytes", Sort::Bytes),
    ("active", Sort::Active),
];

pub(super) async fn list(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    let list = read(&uri, &operator.0.limits)?;
    let Listing { rows, next } = operator.list(&list).await?;
    let rooms: Vec<Value> = rows.iter().map(row).collect();
    let next = next.map(|cursor| write(&cursor, list.sort));
    Ok(Json(json!({ "rooms": rooms, "next": next })))
}

pub(super) async fn overview(operator: Operator) -> Json<Value> {
    let (node, stored) = (operator.overview(), operator.stored().await);
    let webhooks = operator.0.webhooks.counts();
    let stored = stored.map(|stored| {
        let age = u64::try_from(stored.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        json!({ "rooms": stored.rooms, "bytes": stored.bytes, "age_ms": age })
    });
    Json(json!({
        "rooms": {
            "running": node.running,
            "live": node.live,
            "live_max": node.live_max,
            "broken": node.broken,
        },
        "stored": stored,
        "connections": node.totals.connections,
        "messages_in": node.totals.messages_in,
        "messages_out": node.totals.messages_out,
        "turns": node.totals.turns,
        "faults": node.totals.faults,
        "guest_memory_bytes": node.guest_bytes,
        "guest_memory_bytes_max": node.guest_bytes_max,
        "webhooks": { "waiting": webhooks.waiting, "dead": webhooks.dead },
        "uptime_seconds": node.uptime_seconds,
        "storage_failure": node.failure.map(|error| error.to_string()),
        "version": env!("CARGO_PKG_VERSION"),
        "node": operator.0.door.node().as_str(),
    }))
}

fn read(uri: &Uri, limits: &Limits) -> Result<RoomList, OperatorError> {
    let query = Query::of(uri, &WORDS)?;
    let party = query.text("party")?.map(PartyName::parse).transpose()?;
    let search = query.text("search")?;
    let max = size(limits.room_name_bytes_max);
    if search.is_some_and(|search| search.len() > max) {
        return Err(invalid(format!("search has at most {max} bytes (room_name_bytes_max)")));
    }
    let sort = query.choice("sort", &SORTS)?;
    let (up, down) = (("asc", Direction::Forward), ("desc", Direction::Reverse));
    // Descending by default, except for names.
    let orders = if sort == Sort::Name { [up, down] } else { [down, up] };
    let direction = query.choice("order", &orders)?;
    let limit = size(query.number("limit", PAGE, limits.admin_page_entries_max)?);
    let after = query.text("after")?.map(|after| cursor(after, sort)).transpose()?;
    Ok(RoomList { party, search: search.map(Glob::new), sort, direction, limit, after })
}

/// Writes the end of a page: the sort value, except for names, and then the room.
fn write(cursor: &Cursor, sort: Sort) -> String {
    match sort {
        Sort::Name => encoded(cursor.room.to_string().as_bytes()),
        _ => encoded(format!("{}:{}", cursor.value, cursor.room).as_bytes()),
    }
}

fn cursor(text: &str, sort: Sort) -> Result<Cursor, OperatorError> {
    let read = || {
        let (value, room) = match sort {
            Sort::Name => (0, text),
            _ => {
                text.split_once(':').and_then(|(value, room)| Some((value.parse().ok()?, room)))?
            }
        };
        let (party, name) = room.split_once('/')?;
        let room = RoomId::new(PartyName::parse(party).ok()?, name, usize::MAX).ok()?;
        Some(Cursor { value, room })
    };
    read().ok_or_else(|| {
        invalid(format!("after is the `next` of a page in the same order, not {text:?}"))
    })
}

fn row(ListedRoom { room, facts, glance }: &ListedRoom) -> Value {
    let phase = glance.as_ref().map_or(RoomStage::Asleep, |glance| glance.stage);
    let mut row = json!({
        "party": room.party().as_str(),
        "room": room.name(),
        "phase": phase.name(),
        "keys": facts.map_or(0, |facts| facts.keys),
        "bytes": facts.map_or(0, |facts| facts.bytes),
        "alarm_ms": facts.and_then(|facts| facts.alarm).map(|alarm| alarm.due_ms),
    });
    // A room that is not in memory has no counters.
    if let Some(glance) = glance {
        row["connections"] = glance.connections.into();
        row["messages_in"] = glance.messages_in.into();
        row["messages_out"] = glance.messages_out.into();
        row["faults"] = glance.faults.into();
        row["last_active_ms"] = glance.last_active_ms.into();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(query: &str) -> Result<RoomList, String> {
        let uri = format!("/rooms?{query}").parse().unwrap();
        read(&uri, &Limits::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_cursor_of_a_page_starts_the_next_page() {
        for sort in SORTS.map(|(_, sort)| sort) {
            let room = RoomId::new(PartyName::parse("main").unwrap(), "a:b/c &é%", 99).unwrap();
            let value = if sort == Sort::Name { 0 } else { u64::MAX };
            let written = write(&Cursor { value, room: room.clone() }, sort);
            let name = SORTS.iter().find(|(_, other)| *other == sort).unwrap().0;
            let read = asks(&format!("sort={name}&after={written}")).unwrap();
            assert_eq!(read.after, Some(Cursor { value, room }));
        }
    }

    #[test]
    fn any_text_is_a_valid_cursor_or_is_refused() {
        let words = [":", "/", "0", "main", "é", "%"];
        room_test_inputs::Inputs::of("room-cursors", &words).each(|input| {
            for (name, sort) in SORTS {
                let Ok(list) = asks(&format!("sort={name}&after={}", encoded(input))) else {
                    continue;
                };
                let Some(cursor) = list.after else {
                    assert!(input.is_empty(), "a cursor was passed over");
                    continue;
                };
                assert!(!cursor.room.name().contains(char::is_control));
                let again = asks(&format!("sort={name}&after={}", write(&cursor, sort))).unwrap();
                assert_eq!(again.after, Some(cursor));
            }
        });
    }

    #[test]
    fn the_largest_comes_first_except_when_sorted_by_name() {
        assert_eq!(asks("").unwrap().direction, Direction::Forward);
        assert_eq!(asks("sort=bytes").unwrap().direction, Direction::Reverse);
        assert_eq!(asks("sort=bytes&order=asc").unwrap().direction, Direction::Forward);
        assert_eq!(asks("sort=&limit=").unwrap().limit, 100);
    }

    #[test]
    fn an_invalid_listing_query_is_named() {
        for (query, problem) in [
            ("sort=size", "sort is one of name, connections, messages, bytes, active, not"),
            ("limit=1001", "limit is a number from 1 to 1000"),
            ("after=x", "after is the `next` of a page in the same order"),
            ("sort=bytes&after=main%2Fx", "after is the `next` of a page in the same order"),
            ("page=2", "the query has \"page\" in it; it may have party, search"),
            ("party=a%20b", "the party name has ' ' in it"),
            ("search=%FF", "search is not valid UTF-8"),
        ] {
            let error = asks(query).unwrap_err();
            assert!(error.starts_with(problem), "{query}: {error}");
        }
    }
}
