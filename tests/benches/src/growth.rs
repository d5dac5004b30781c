//! The cost of an event and of a start with many rooms. Owns those runs and their bars.
//!
//! Invariant: a server with many rooms and connections and one with few take turns on one core under the same load,
//! and only the processor time of the server itself counts: other work on the machine does not. It does not know what
//! a server keeps of a room.

use crate::crowd::{self, INCREMENT};
use crate::figures::median;
use crate::held;
use crate::page::Row;
use crate::process::{Beside, load_by};
use crate::scale::Bench;
use crate::served::{End, Served};
use anyhow::Result;

/// Runs of each server and load; the median counts.
const RUNS: usize = 3;
/// How long each load runs.
const SECONDS: u32 = 5;
/// Stored rooms of the two servers.
const FEW: usize = 1_000;
const MANY: usize = 100_000;
/// Connections of the server with many rooms, if there are files for them, and the rooms that they share.
const CONNECTIONS: usize = 18_000;
const SHARED: usize = 100;
/// The other files that the load and a server need.
const OTHER_FILES: usize = 1_000;

/// A load, and the text of its row.
type Load = (&'static str, &'static [&'static str]);

const LOADS: [Load; 2] = [
    ("an echo with 100,000 rooms and 18,000 connections costs more than with 1,000", &["echo"]),
    ("the same, an event that is made durable", &["durable", "--clients", "64", "--rooms", "64"]),
];

/// Returns the measured rows.
///
/// # Errors
/// A server does not work.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut many = runtime.block_on(Served::with_rooms(bench))?;
    runtime.block_on(crowd::visit(many.addr, 0..MANY, INCREMENT))?;
    let mut rows = vec![
        start(&runtime, &mut many, End::Stopped, "start with 100,000 stored rooms")?,
        start(&runtime, &mut many, End::Killed, "the same after a kill")?,
    ];
    let few = runtime.block_on(Served::with_rooms(bench))?;
    runtime.block_on(crowd::visit(few.addr, 0..FEW, INCREMENT))?;
    let most = CONNECTIONS.min(bench.files.saturating_sub(OTHER_FILES));
    let crowds = [(&many, most), (&few, FEW)];
    let mut held = Vec::new();
    for (server, count) in crowds {
        let [clients, rooms] = [count, SHARED].map(|count| count.to_string());
        let idle = ["idle", "--clients", &clients, "--rooms", &rooms];
        // They answer the server's pings, which a client of this process would not.
        held.push(Beside::begin(&bench.tool, server.addr, &idle)?);
        runtime.block_on(server.holds(count))?;
    }
    for (what, load) in LOADS {
        let mut costs = crowds.map(|_| Vec::new());
        for _ in 0..RUNS {
            for ((server, _), costs) in crowds.iter().zip(&mut costs) {
                costs.push(cost(bench, server, load)?);
            }
        }
        let [many, few] = costs.map(median);
        let more = (many / few - 1.0) * 100.0;
        rows.push(Row::alone(what, (more, "%"), Some(("≤ 20 %", more <= 20.0))));
    }
    for (server, count) in crowds {
        runtime.block_on(server.holds(count))?;
    }
    drop(held);
    Ok(rows)
}

/// Returns the processor time of an event, in seconds.
fn cost(bench: &Bench, server: &Served, load: &[&str]) -> Result<f64> {
    let pid = server.pid()?;
    let before = held::used(pid)?;
    // Everything counts, so the used time is of all these events.
    let seconds = SECONDS.to_string();
    let whole = [load, &["--warmup-seconds", "0", "--seconds", &seconds]].concat();
    let a_second = load_by(&bench.tool, server.addr, &whole)?.figures.per_second;
    Ok((held::used(pid)? - before) / (a_second * f64::from(SECONDS)))
}

/// Ends a server and starts it again, several times.
fn start(
    runtime: &tokio::runtime::Runtime,
    server: &mut Served,
    end: End,
    what: &'static str,
) -> Result<Row> {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        server.end(end)?;
        runs.push(runtime.block_on(server.restart())?.as_secs_f64() * 1e3);
    }
    let took = median(runs);
    Ok(Row::alone(what, (took, "ms"), Some(("< 2,000 ms", took < 2_000.0))))
}
