//! The memory that comes back when rooms have nothing to do. Owns those runs and their bars.
//!
//! Invariant: a figure is the difference between two readings of the server, with as many visitors at a time before
//! the first as before the second, so that memory that is allocated once is not counted. It does not know what the
//! memory is for.

use crate::crowd::{self, ECHO};
use crate::held::Held;
use crate::page::Row;
use crate::process::Server;
use crate::rooms::{self, Setup};
use crate::scale::Bench;
use anyhow::Result;
use room_runtime::Limits;
use tokio::time::{Duration, sleep};

/// Clients before the first reading, and after it.
const FIRST: usize = 1_000;
const HELD: usize = 9_000;
/// Rooms that idle clients share.
const SHARED: usize = 10;
/// Rooms that are visited before the first reading, and after it.
const VISITED_FIRST: usize = 20_000;
const VISITED: usize = 100_000;
/// After so long, quiet rooms leave memory.
const QUIET_MS: u64 = 200;
/// The time that a server may need to free memory that it does not use.
const SETTLED: Duration = Duration::from_secs(2);

/// Returns the measured rows about clients that do nothing.
///
/// # Errors
/// A server does not work.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn rows(bench: &Bench) -> Result<Vec<Row>> {
    // All clients have one address, and the one that reads the metrics comes on top of them.
    let many =
        Limits { connections_per_address_max: 2 * (FIRST + HELD) as u64, ..Limits::default() };
    let setup = Setup { limits: many.clone(), ..Setup::default() };
    let idle = clients(bench, setup, |n| crowd::name("idle", n % SHARED)).await?;
    let limits = Limits { hibernate_ms: QUIET_MS, ..many };
    let setup = Setup { hibernates: true, limits, ..Setup::default() };
    let hibernated = clients(bench, setup, |n| crowd::name("room", n)).await?;
    let more = hibernated - idle;
    Ok(vec![
        Row::alone("an idle connection in a room of 1,000 holds", kib(idle), None),
        Row::alone(
            "a hibernated room with one connection, over that",
            kib(more),
            Some(("≤ 2 KiB", more <= 2.0 * 1_024.0)),
        ),
    ])
}

/// Returns the bytes of each client that came between the readings.
async fn clients(bench: &Bench, setup: Setup, room: impl Fn(usize) -> String) -> Result<f64> {
    let hibernates = setup.hibernates;
    let server = rooms::start(bench, &setup)?;
    let mut looks = Vec::new();
    let mut all = Vec::new();
    for numbers in [0..FIRST, FIRST..FIRST + HELD] {
        all.extend(crowd::hold(server.addr, numbers.map(&room).collect()).await?);
        if hibernates {
            crowd::settled(server.addr, "room_rooms_live", 0.0).await?;
        }
        looks.push(settled(&server).await?);
    }
    crowd::ask(&mut all).await?;
    Ok(looks[1].each(looks[0], HELD))
}

/// Returns the measured rows about rooms that were visited and left memory.
///
/// # Errors
/// A server does not work.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn visited(bench: &Bench) -> Result<Vec<Row>> {
    let limits = Limits { idle_evict_ms: QUIET_MS, ..Limits::default() };
    let server = rooms::start(bench, &Setup { limits, ..Setup::default() })?;
    let mut looks = Vec::new();
    for rooms in [0..VISITED_FIRST, VISITED_FIRST..VISITED_FIRST + VISITED] {
        crowd::visit(server.addr, rooms, ECHO).await?;
        crowd::settled(server.addr, "room_rooms_running", 0.0).await?;
        looks.push(settled(&server).await?);
    }
    let each = looks[1].each(looks[0], VISITED);
    Ok(vec![Row::alone(
        "100,000 rooms visited, all evicted; each left",
        (each, "bytes"),
        Some(("≤ 64 bytes", each <= 64.0)),
    )])
}

/// Returns a reading of a server when nothing has happened for a while.
pub(crate) async fn settled(server: &Server) -> Result<Held> {
    sleep(SETTLED).await;
    Held::of(server.pid())
}

pub(crate) fn kib(bytes: f64) -> (f64, &'static str) {
    (bytes / 1_024.0, "KiB")
}
