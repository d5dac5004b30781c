//! Measures what a room costs: the runtime with `rooms-examples/bench` against a bare axum server
//! without wasm or storage, one after the other, with the same load.
//!
//! `cargo run --release -p room-benches`
//!
//! Owns the order of the runs and the table. Invariant: both servers run alone in a process of their
//! own on the first core, the load on the second, and every ratio is of one run. It does not know how
//! either server works.

mod bare;
mod frames;
mod guest;
mod load;
mod rooms;

use anyhow::{Context, Result, bail};
use load::{Figures, Scenario};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Runs of each server and scenario; the median counts.
const RUNS: usize = 3;

const SCENARIOS: [(&str, Scenario); 3] = [
    ("echo, 100 connections in 100 rooms, 1 in flight", Scenario::Echo { in_flight: 1 }),
    ("echo, 100 connections in 100 rooms, 16 in flight", Scenario::Echo { in_flight: 16 }),
    ("cast, 10 rooms of 100 members, deliveries", Scenario::Cast),
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", "bare"] => bare::serve(),
        ["serve", "room", module] => rooms::serve(module.as_ref()),
        ["load", addr, scenario] => load::run_and_print(addr.parse()?, scenario.parse()?),
        [] => table(),
        _ => bail!("usage: room-benches (no arguments)"),
    }
}

/// Runs everything and prints one table.
fn table() -> Result<()> {
    let module = guest::build()?;
    let module = module.to_str().context("the target folder's path is not UTF-8")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "| scenario | server | a second | p50 µs | p99 µs | ratio |")?;
    writeln!(out, "|---|---|---:|---:|---:|---:|")?;
    for (name, scenario) in SCENARIOS {
        let mut bare = Vec::new();
        let mut room = Vec::new();
        for _ in 0..RUNS {
            bare.push(measure(&["serve", "bare"], scenario)?);
            room.push(measure(&["serve", "room", module], scenario)?);
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
    let Figures { a_second, p50_us, p99_us } = of;
    Ok(writeln!(out, "| {name} | {server} | {a_second} | {p50_us} | {p99_us} | {ratio} |")?)
}

fn median(mut runs: Vec<Figures>) -> Figures {
    runs.sort_by_key(|figures| figures.a_second);
    runs[runs.len() / 2]
}

/// Starts a server, loads it from another process, and stops it.
fn measure(server: &[&str], scenario: Scenario) -> Result<Figures> {
    let mut server = Server::start(server)?;
    let output = on_core(1)?
        .args(["load", &server.addr.to_string(), scenario.name()])
        .stderr(Stdio::inherit())
        .output()?;
    server.process.kill()?;
    if !output.status.success() {
        bail!("the load failed: {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

struct Server {
    process: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts a server and reads the address that it prints.
    fn start(args: &[&str]) -> Result<Self> {
        let mut process = on_core(0)?.args(args).stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().context("the server's output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().parse().with_context(|| format!("the server printed {line:?}"))?;
        Ok(Self { process, addr })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It was killed already, or the measurement failed and it must not stay.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This program, pinned to one core where `taskset` is to be had.
fn on_core(core: usize) -> Result<Command> {
    let this = std::env::current_exe()?;
    let cores = std::thread::available_parallelism()?.get();
    let pinned = cores > 1 && Command::new("taskset").arg("-V").output().is_ok();
    if !pinned {
        return Ok(Command::new(this));
    }
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(this);
    Ok(command)
}
