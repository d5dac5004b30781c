//! The number of turns that become durable in a second. Owns those runs and their table.
//!
//! Invariant: in one run, with the same load, the normal node is compared with one whose flushes carry a single turn:
//! with [`Limits::commit_turns_max`] of 1 a room waits until the queue before the disk is empty, and a flush takes
//! the whole queue. It does not know how the store works.

use crate::figures::{Figures, Report};
use crate::process::bench;
use crate::rooms::Setup;
use crate::{disk, guest, rooms, tool};
use anyhow::Result;
use room_runtime::Limits;
use std::io::Write;
use std::path::Path;

/// Runs of each case; the median counts.
const RUNS: usize = 3;
/// Busy rooms.
const ROOMS: [u64; 4] = [1, 16, 64, 256];

/// Runs everything and prints one table.
pub(crate) fn table() -> Result<()> {
    let (tool, module) = (tool::build()?, guest::build("room-example-bench")?);
    let mut out = std::io::stdout().lock();
    writeln!(out, "The disk: {}.\n", disk::describe()?)?;
    writeln!(
        out,
        "| busy rooms | a flush carries | durable turns a second | p50 µs | p99 µs | to one room | to a flush a turn |"
    )?;
    writeln!(out, "|---:|---|---:|---:|---:|---:|---:|")?;
    // Each round does everything once, so that a disk that slows down does so for all.
    let mut runs = ROOMS.map(|_| [Vec::new(), Vec::new()]);
    for _ in 0..RUNS {
        for (rooms, [single, shared]) in ROOMS.iter().zip(&mut runs) {
            single.push(run(
                &tool,
                &module,
                *rooms,
                Limits { commit_turns_max: 1, ..Limits::default() },
            )?);
            shared.push(run(&tool, &module, *rooms, Limits::default())?);
        }
    }
    let medians = runs.map(|of| of.map(|runs| Report::median(&runs).figures));
    let one_room = medians[0];
    for (rooms, [single, shared]) in ROOMS.into_iter().zip(medians) {
        row(&mut out, rooms, "one turn", single, [one_room[0], single])?;
        row(&mut out, rooms, "what waits", shared, [one_room[1], single])?;
    }
    Ok(())
}

/// Loads a node with an empty folder.
fn run(tool: &Path, module: &Path, rooms: u64, limits: Limits) -> Result<Report> {
    let folder = disk::folder()?;
    let setup = Setup { disk: Some(folder.path().join("data")), limits, ..Setup::default() };
    let server = rooms::arguments(module, &setup)?;
    let server: Vec<&str> = server.iter().map(String::as_str).collect();
    let rooms = rooms.to_string();
    bench(tool, &server, &["durable", "--clients", &rooms, "--rooms", &rooms])
}

fn row(
    out: &mut impl Write,
    rooms: u64,
    carries: &str,
    of: Figures,
    beside: [Figures; 2],
) -> Result<()> {
    let Figures { per_second, p50_us, p99_us, .. } = of;
    let [one_room, single] = beside.map(|other| per_second / other.per_second.max(1.0));
    Ok(writeln!(
        out,
        "| {rooms} | {carries} | {per_second:.0} | {p50_us:.0} | {p99_us:.0} | {one_room:.2} | {single:.2} |"
    )?)
}
