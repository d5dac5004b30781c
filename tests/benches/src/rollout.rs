//! New code for many live rooms while clients send. Owns that run and its bars.
//!
//! Invariant: the server sees another module, and it does the same. Clients send at fixed times before, during and
//! after its deployment. It does not know how a room takes it over.

use crate::crowd::{self, ECHO};
use crate::frames::Client;
use crate::page::Row;
use crate::rooms::{self, Setup};
use crate::scale::Bench;
use crate::steady;
use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use room_runtime::Limits;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

/// Live rooms, and clients that send in some of them.
const LIVE: usize = 10_000;
const CLIENTS: usize = 100;
/// Time between two messages of a client.
const PAUSE: Duration = Duration::from_millis(20);
/// Time before the new code, and the same after it.
const AROUND: Duration = Duration::from_secs(1);
/// How long rooms stay without a client.
const STAY_MS: u64 = 600_000;

/// Returns the measured rows.
///
/// # Errors
/// The server does not work, or not all rooms took the code over.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let limits = Limits { idle_evict_ms: STAY_MS, ..Limits::default() };
    let mut server = rooms::start(bench, &Setup { limits, ..Setup::default() })?;
    crowd::visit(server.addr, 0..LIVE, ECHO).await?;
    let step = LIVE / CLIENTS;
    let names = (0..CLIENTS).map(|client| crowd::name("room", client * step)).collect();
    let clients = crowd::hold(server.addr, names).await?;
    let (_folder, changed) = changed(&bench.module)?;
    let is_over = Cell::new(false);
    let deploying = async {
        sleep(AROUND).await;
        let begun = Instant::now();
        let path = changed.to_str().context("the folder's path is not UTF-8")?.to_owned();
        let told = tokio::task::spawn_blocking(move || {
            let rooms = server.tell(&path);
            // The server is returned, so that it lives until the clients have ended.
            rooms.map(|rooms| (server, rooms))
        });
        let (server, rooms) = told.await??;
        let took = begun.elapsed();
        sleep(AROUND).await;
        is_over.set(true);
        anyhow::Ok((server, rooms.parse::<usize>()?, took))
    };
    let ((server, rooms, took), latencies) = tokio::try_join!(deploying, send(clients, &is_over))?;
    drop(server);
    if rooms < LIVE {
        bail!("only {rooms} of {LIVE} rooms took the new code over");
    }
    let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
    let (took, latest) = (took.as_secs_f64() * 1e3, ms(1.0));
    Ok(vec![
        Row::alone(
            "new code for 10,000 live rooms is in place after",
            (took, "ms"),
            Some(("≤ 5,000 ms", took <= 5_000.0)),
        ),
        Row::alone(
            "events of 100 clients meanwhile, the latest",
            (latest, "ms"),
            Some(("≤ 250 ms", latest <= 250.0)),
        ),
        Row::alone("the same, p99", (ms(0.99), "ms"), None),
    ])
}

/// Lets clients send at times that lie between those of the others, until it is over.
async fn send(clients: Vec<Client>, is_over: &Cell<bool>) -> Result<Histogram<u64>> {
    let begun = Instant::now();
    let sending = clients.into_iter().zip(0..).map(|(client, number)| {
        let first = begun + PAUSE * number / CLIENTS as u32;
        steady::send(client, ECHO, (first, PAUSE), |_| !is_over.get(), |_| true)
    });
    let mut all = Histogram::new(3)?;
    for latencies in try_join_all(sending).await? {
        all.add(latencies)?;
    }
    Ok(all)
}

/// Returns the same module with a section that nothing reads, in a folder that is removed when it is dropped.
fn changed(module: &Path) -> Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("changed.wasm");
    let mut bytes = std::fs::read(module)?;
    // A custom section: its kind, how long it is, how long its name is, and its name.
    bytes.extend_from_slice(b"\0\x06\x05bench");
    std::fs::write(&path, bytes)?;
    Ok((folder, path))
}
