//! The effect of busy neighbours on rooms. Owns those runs and their bars.
//!
//! Invariant: quiet clients send at fixed times, beside the neighbour and beside the case that it is compared with,
//! in turns. It does not know why a neighbour costs what it costs.

use crate::disk;
use crate::faults;
use crate::figures::median;
use crate::page::Row;
use crate::process::{Beside, load_by};
use crate::rooms::{self, Setup};
use crate::scale::Bench;
use anyhow::Result;
use room_runtime::Limits;

/// Runs of each neighbour; the median counts.
const RUNS: usize = 5;
/// The load of the quiet clients.
const QUIET: &[&str] = &["echo", "--clients", "100", "--rate", "2000", "--seconds", "3"];
/// The load of the neighbours for the same time, and a little longer on either side: as many turns, durable or not.
const DURABLE: &[&str] = &["durable", "--clients", "64", "--rooms", "64", "--rate", "2000"];
const ECHOES: &[&str] = &["echo", "--clients", "64", "--rooms", "64", "--rate", "2000"];

/// Returns the measured rows.
///
/// # Errors
/// Something does not build, or a load fails.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let (mut gated, mut free) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        gated.push(p50_us(bench, DURABLE)?);
        free.push(p50_us(bench, ECHOES)?);
    }
    let more = (median(gated) / median(free) - 1.0) * 100.0;
    let [alone, beside] = faults::endless_loop()?;
    let late_ms = (beside.p99_us - alone.p99_us) / 1_000.0;
    let ticks_ms = 2.0 * Limits::default().tick_ms as f64;
    Ok(vec![
        Row::alone(
            "an echo's p50 beside 2,000 durable turns a second, over that beside as many echoes",
            (more, "%"),
            Some(("≤ 5 %", more <= 5.0)),
        ),
        Row::alone(
            "p99 of rooms beside one in an endless loop, over that of rooms alone",
            (late_ms, "ms"),
            Some(("≤ two epoch ticks, 20 ms", late_ms <= ticks_ms)),
        ),
    ])
}

/// Returns the latency of the quiet clients' echoes beside such a neighbour.
fn p50_us(bench: &Bench, neighbour: &[&str]) -> Result<f64> {
    let folder = disk::folder()?;
    let disk = Some(folder.path().join("data"));
    let server = rooms::start(bench, &Setup { disk, ..Setup::default() })?;
    let _beside = Beside::begin(&bench.tool, server.addr, neighbour)?;
    Ok(load_by(&bench.tool, server.addr, QUIET)?.figures.p50_us)
}
