//! The effect of a faulty guest on its neighbours. Owns those runs and their table.
//!
//! Invariant: every fault is repeated without a pause while the neighbours are measured, on the one core that they
//! share. It does not know why a fault costs what it costs.

use crate::figures::Figures;
use crate::process;
use crate::rooms::Setup;
use crate::{disk, guest, rooms};
use anyhow::{Context, Result};
use room_runtime::Limits;
use std::io::Write;
use std::path::Path;

/// Runs of each fault; the median counts.
const RUNS: usize = 3;

/// The node's store.
#[derive(Clone, Copy)]
enum Kept {
    InMemory,
    OnDisk,
}

/// A fault: its name, its script, the number of messages that it causes, and where it writes.
type Fault = (&'static str, &'static str, &'static str, Kept);

const FAULTS: [Fault; 11] = [
    ("a trap", r#"["trap"]"#, "0", Kept::InMemory),
    ("a panic", r#"[{"panic":"ouch"}]"#, "0", Kept::InMemory),
    ("a returned error", r#"[{"err":"no"}]"#, "0", Kept::InMemory),
    ("an endless loop, to the end of its second", LOOP, "0", Kept::InMemory),
    ("a leak, 1 MiB a turn to the limit", r#"[{"leak":1048576}]"#, "0", Kept::InMemory),
    ("an endless allocation", r#"["alloc"]"#, "0", Kept::InMemory),
    ("a stack overflow, the host's", r#"["recurse"]"#, "0", Kept::InMemory),
    ("a stack overflow, the guest's own", r#"["recurse_wide"]"#, "0", Kept::InMemory),
    ("10,000 sends a turn", r#"[{"flood_anyway":20000}]"#, "10000", Kept::InMemory),
    ("3 MB of sends a turn", SENDS, "3", Kept::InMemory),
    ("7 MiB of writes a turn, on a disk", WRITES, "0", Kept::OnDisk),
];
const LOOP: &str = r#"["loop"]"#;
const SENDS: &str =
    r#"[{"broadcast_bytes":1000000},{"broadcast_bytes":1000000},{"broadcast_bytes":1000000}]"#;
const WRITES: &str = r#"[{"put_bytes":["a",1048576]},{"put_bytes":["b",1048576]},{"put_bytes":["c",1048576]},{"put_bytes":["d",1048576]},{"put_bytes":["e",1048576]},{"put_bytes":["f",1048576]},{"put_bytes":["g",1048576]}]"#;

/// Runs everything and prints one table.
pub(crate) fn table() -> Result<()> {
    let module = guest::build("room-guest-puppet")?;
    let tick_ms = Limits::default().tick_ms;
    let mut out = std::io::stdout().lock();
    writeln!(out, "One tick is {tick_ms} ms.\n")?;
    writeln!(
        out,
        "| the other room does | p50 ms | p99 ms | max ms | p99 ticks | more than alone |"
    )?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|")?;
    let alone = runs(&module, &[], Kept::InMemory)?;
    row(&mut out, "nothing", alone, alone)?;
    for (name, script, answers, kept) in FAULTS {
        let beside = runs(&module, &[script, answers], kept)?;
        row(&mut out, name, beside, alone)?;
    }
    Ok(())
}

/// Measures quiet rooms alone, and beside one that repeatedly computes to the end of its budget.
///
/// # Errors
/// Something does not build, or the server does not work.
pub(crate) fn endless_loop() -> Result<[Figures; 2]> {
    let module = guest::build("room-guest-puppet")?;
    Ok([runs(&module, &[], Kept::InMemory)?, runs(&module, &[LOOP, "0"], Kept::InMemory)?])
}

fn runs(module: &Path, fault: &[&str], kept: Kept) -> Result<Figures> {
    let runs = (0..RUNS).map(|_| run(module, fault, kept)).collect::<Result<Vec<_>>>()?;
    Ok(Figures::median(runs))
}

fn run(module: &Path, fault: &[&str], kept: Kept) -> Result<Figures> {
    let folder = match kept {
        Kept::InMemory => None,
        Kept::OnDisk => Some(disk::folder()?),
    };
    let disk = folder.as_ref().map(|folder| folder.path().join("data"));
    let server = rooms::arguments(module, &Setup { disk, ..Setup::default() })?;
    let server: Vec<&str> = server.iter().map(String::as_str).collect();
    process::beside(&server, fault).with_context(|| format!("beside {fault:?}"))
}

fn row(out: &mut impl Write, name: &str, of: Figures, alone: Figures) -> Result<()> {
    let ms = |us: f64| us / 1_000.0;
    let ticks = |us: f64| ms(us) / Limits::default().tick_ms as f64;
    Ok(writeln!(
        out,
        "| {name} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
        ms(of.p50_us),
        ms(of.p99_us),
        ms(of.max_us),
        ticks(of.p99_us),
        ticks((of.p99_us - alone.p99_us).max(0.0)),
    )?)
}
