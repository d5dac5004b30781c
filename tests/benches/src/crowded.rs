//! As many live rooms and as many connections as a node can have. Owns those runs and their bars.
//!
//! Invariant: each room and connection in a figure answers when all of them are there. It does not know what sets the
//! limits: the server reports how many instances it allows.

use crate::crowd::{self, ECHO};
use crate::held::Held;
use crate::page::Row;
use crate::rooms::{self, Setup};
use crate::scale::Bench;
use anyhow::Result;
use room_runtime::Limits;

/// The number of live rooms that the run asks for.
const LIVE: usize = 50_000;
/// Rooms that are live before the first reading.
const LIVE_FIRST: usize = 1_000;
/// Connections that the run asks for, and the rooms that they share.
const CONNECTIONS: usize = 20_000;
const SHARED: usize = 100;
/// The other files that a process has open.
const OTHER_FILES: usize = 40;
/// The most linear memory of a small room, touched or not.
const ROOM_BYTES: u64 = 2 * 1024 * 1024;
/// Rooms do not leave memory by themselves.
const STAY_MS: u64 = 600_000;

/// Returns the measured rows.
///
/// # Errors
/// A server does not work.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = live(bench).await?;
    rows.extend(connections(bench).await?);
    Ok(rows)
}

async fn live(bench: &Bench) -> Result<Vec<Row>> {
    let limits = Limits {
        idle_evict_ms: STAY_MS,
        rooms_active_max: LIVE as u64,
        rooms_memory_bytes_max: LIVE as u64 * ROOM_BYTES,
        ..Limits::default()
    };
    let server = rooms::start(bench, &Setup { limits, ..Setup::default() })?;
    let most = crowd::gauge(server.addr, "room_rooms_live_max").await?;
    let most = LIVE.min(most as usize);
    crowd::visit(server.addr, 0..LIVE_FIRST, ECHO).await?;
    let before = Held::of(server.pid())?;
    crowd::visit(server.addr, LIVE_FIRST..most, ECHO).await?;
    let after = Held::of(server.pid())?;
    let there = crowd::gauge(server.addr, "room_rooms_live").await?;
    // Half as many again: the server admits them and evicts other rooms.
    crowd::visit(server.addr, most..most + most / 2, ECHO).await?;
    let count = most - LIVE_FIRST;
    let each = after.each(before, count) / 1_024.0;
    let mappings = (after.mappings - before.mappings) / count as f64;
    Ok(vec![
        Row::alone("live rooms at once", (there, ""), Some(("50,000", there >= LIVE as f64))),
        Row::alone("each of them holds", (each, "KiB"), Some(("≤ 48 KiB", each <= 48.0))),
        Row::alone("and has mappings", (mappings, "mappings"), None),
        Row::alone(
            "address space that is reserved for all",
            (after.reserved / 1_024_f64.powi(4), "TiB"),
            None,
        ),
    ])
}

async fn connections(bench: &Bench) -> Result<Vec<Row>> {
    let server = rooms::start(bench, &Setup::default())?;
    let most = CONNECTIONS.min(bench.files.saturating_sub(OTHER_FILES));
    let names = (0..most).map(|n| crowd::name("room", n % SHARED)).collect();
    let before = Held::of(server.pid())?;
    let mut clients = crowd::hold(server.addr, names).await?;
    let after = Held::of(server.pid())?;
    crowd::ask(&mut clients).await?;
    let there = clients.len() as f64;
    Ok(vec![
        Row::alone(
            "connections at once",
            (there, ""),
            Some(("20,000", there >= CONNECTIONS as f64)),
        ),
        Row::alone("each of them holds", (after.each(before, most) / 1_024.0, "KiB"), None),
    ])
}
