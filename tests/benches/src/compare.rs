//! What a room costs beside a bare server. Owns the order of those runs and their table.
//!
//! Invariant: every ratio is of one run, with the same load on both. It does not know how either
//! server works.

use crate::load::{Figures, median};
use crate::process::measure;
use crate::rooms::Setup;
use crate::{guest, rooms};
use anyhow::Result;
use std::io::Write;

/// Runs of each server and scenario; the median counts.
const RUNS: usize = 3;

/// What is done, and its name for the load.
const SCENARIOS: [(&str, &[&str]); 3] = [
    ("echo, 100 connections in 100 rooms, 1 in flight", &["echo", "1"]),
    ("echo, 100 connections in 100 rooms, 16 in flight", &["echo", "16"]),
    ("cast, 10 rooms of 100 members, deliveries", &["cast"]),
];

/// Runs everything and prints one table.
pub(crate) fn table() -> Result<()> {
    let module = guest::build("room-example-bench")?;
    let server = rooms::arguments(&module, &Setup::default())?;
    let server: Vec<&str> = server.iter().map(String::as_str).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "| scenario | server | a second | p50 µs | p99 µs | ratio |")?;
    writeln!(out, "|---|---|---:|---:|---:|---:|")?;
    for (name, load) in SCENARIOS {
        let mut bare = Vec::new();
        let mut room = Vec::new();
        for _ in 0..RUNS {
            bare.push(measure(&["bare"], load)?);
            room.push(measure(&server, load)?);
        }
        let (bare, room) = (median(bare), median(room));
        let ratio = room.a_second as f64 / bare.a_second.max(1) as f64;
        let tail = room.p99_us as f64 / bare.p99_us.max(1) as f64;
        row(&mut out, name, "bare axum", bare, "1")?;
        row(&mut out, name, "room", room, &format!("{ratio:.2} (p99 {tail:.2})"))?;
    }
    Ok(())
}

fn row(out: &mut impl Write, name: &str, server: &str, of: Figures, ratio: &str) -> Result<()> {
    let Figures { a_second, p50_us, p99_us, .. } = of;
    Ok(writeln!(out, "| {name} | {server} | {a_second} | {p50_us} | {p99_us} | {ratio} |")?)
}
