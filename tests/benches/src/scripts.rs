//! A room in JavaScript beside workerd and beside the same room in Rust. Owns those runs and their bars.
//!
//! Invariant: the three speak one protocol and are loaded in turns, each alone. It does not know how any of them works.

use crate::crowd::{self, ECHO};
use crate::edits;
use crate::figures::Report;
use crate::held::Held;
use crate::page::{self, Row};
use crate::process::{Server, load_by};
use crate::rooms::{self, Setup};
use crate::scale::Bench;
use crate::workerd;
use anyhow::{Context, Result, bail};
use room_runtime::Limits;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Runs of each server and scenario; the median counts.
const RUNS: usize = 3;
/// Rooms that are live before the first reading of the memory, and after it.
const LIVE_FIRST: usize = 500;
const LIVE: usize = 2_000;
/// The most linear memory of a room.
const ROOM_BYTES: u64 = 8 * 1024 * 1024;
/// Rooms do not leave memory by themselves.
const STAY_MS: u64 = 600_000;

/// A loaded server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Script,
    Workerd,
    Rust,
}

const ALL: [Served; 3] = [Served::Script, Served::Workerd, Served::Rust];

/// The modules of the rooms, and what loads them.
struct Rooms {
    bench: Bench,
    script: Bench,
}

/// Measures everything, and writes the table to the page and to stdout.
///
/// # Errors
/// Something does not build or install, a server or the load fails, or the page cannot be written.
pub(crate) fn table() -> Result<()> {
    let bench = Bench::build()?;
    install()?;
    let script = Bench { module: build(&bench)?, ..bench.clone() };
    let rooms = Rooms { bench, script };
    let mut loads = [
        ("echo, 100 rooms, 1 in flight, a second", vec!["echo", "--clients", "100"], 0.9),
        (
            "echo, 100 rooms, 16 in flight, a second",
            vec!["echo", "--clients", "100", "--in-flight", "16"],
            2.5,
        ),
    ]
    .map(|(what, load, bar)| (what, load, bar, ALL.map(|_| Vec::new())));
    let mut cold = ALL.map(|_| Vec::new());
    for _ in 0..RUNS {
        for (_, load, _, runs) in &mut loads {
            for (server, runs) in ALL.into_iter().zip(runs) {
                runs.push(rooms.load(server, load)?);
            }
        }
        for (server, runs) in ALL.into_iter().zip(&mut cold) {
            runs.push(rooms.load(server, &["cold"])?);
        }
    }
    let mut rows = Vec::new();
    for (what, _, bar, runs) in &loads {
        let [room, workerd, rust] =
            runs.each_ref().map(|runs| Report::median(runs).figures.per_second);
        let words = if *bar < 1.0 { "≥ 0.9 of workerd" } else { "≥ 2.5 of workerd" };
        let bar = Some((words, room >= bar * workerd));
        rows.push(Row { what, unit: "", room, beside: [Some(workerd), Some(rust)], bar });
    }
    let [room, workerd, rust] = cold.each_ref().map(|runs| {
        let Report { figures, beside, .. } = Report::median(runs);
        figures.p50_us - beside.p50_us
    });
    rows.push(Row {
        what: "first visit to a cold room, over a warm one, p50",
        unit: "µs",
        room,
        beside: [Some(workerd), Some(rust)],
        bar: Some(("≤ 300 µs", room <= 300.0)),
    });
    let mut held = [0.0; 3];
    for (server, held) in ALL.into_iter().zip(&mut held) {
        *held = rooms.held(server)? / 1_024.0;
    }
    let [room, workerd, rust] = held;
    rows.push(Row {
        what: "a live room holds",
        unit: "KiB",
        room,
        beside: [Some(workerd), Some(rust)],
        bar: Some(("≤ 384 KiB", room <= 384.0)),
    });
    let saved = edits::of_a_script(&rooms.bench)?;
    rows.push(Row::alone(
        "an edit of the template in TypeScript, from the save to new code that is live, p50",
        (saved, "ms"),
        Some(("≤ 400 ms", saved <= 400.0)),
    ));
    page::write(&page::SCRIPTS, &rows)
}

/// The folder of the script, and of the same for workerd.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("script")
}

/// Installs workerd and the bundler.
fn install() -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder()).stdout(Stdio::null());
    if !npm.status().context("npm is not on the PATH")?.success() {
        bail!("npm cannot install workerd");
    }
    Ok(())
}

/// Builds the script, and returns the path of its module.
fn build(bench: &Bench) -> Result<PathBuf> {
    let mut building = Command::new(&bench.tool);
    building.args(["build", "--json"]).current_dir(folder()).stderr(Stdio::inherit());
    let built = building.output()?;
    if !built.status.success() {
        bail!("the script does not build");
    }
    let modules: Value = serde_json::from_slice(&built.stdout).context("`room build` printed")?;
    let path = modules[0]["path"].as_str().context("a module has a path")?;
    Ok(folder().join(path))
}

impl Rooms {
    fn start(&self, server: Served, setup: &Setup) -> Result<Server> {
        match server {
            Served::Script => rooms::start(&self.script, setup),
            Served::Rust => rooms::start(&self.bench, setup),
            Served::Workerd => {
                let server = Server::start(&["workerd"])?;
                workerd::listens(server.addr)?;
                Ok(server)
            }
        }
    }

    fn load(&self, server: Served, load: &[&str]) -> Result<Report> {
        let running = self.start(server, &Setup::default())?;
        load_by(&self.bench.tool, running.addr, load)
            .with_context(|| format!("{server:?}, {load:?}"))
    }

    /// Returns the bytes of each live room.
    #[tokio::main(flavor = "current_thread")]
    async fn held(&self, server: Served) -> Result<f64> {
        let limits = Limits {
            idle_evict_ms: STAY_MS,
            rooms_memory_bytes_max: (LIVE_FIRST + LIVE) as u64 * ROOM_BYTES,
            ..Limits::default()
        };
        let running = self.start(server, &Setup { limits, ..Setup::default() })?;
        crowd::visit(running.addr, 0..LIVE_FIRST, ECHO).await?;
        let before = Held::of(running.pid())?;
        crowd::visit(running.addr, LIVE_FIRST..LIVE_FIRST + LIVE, ECHO).await?;
        Ok(Held::of(running.pid())?.each(before, LIVE))
    }
}
