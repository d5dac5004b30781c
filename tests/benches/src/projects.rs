//! A server of a thousand projects. Owns that run and its bars.
//!
//! Invariant: all projects run the same module on default limits and answer to a host of their own; a hundred of them
//! are busy at the end. It does not know how a server opens a project.

use crate::crowd::ECHO;
use crate::frames::Client;
use crate::held::Held;
use crate::page::Row;
use crate::scale::Bench;
use crate::served::{End, Served};
use crate::steady;
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use room_runtime::server::BlobId;
use serde_json::json;
use tokio::time::{Duration, Instant};

/// Projects that are deployed beside the first one.
const PROJECTS: usize = 999;
/// Those that are busy, with one client each.
const BUSY: usize = 100;
/// Time between two messages of a client.
const PAUSE: Duration = Duration::from_millis(20);
/// For how long they are busy.
const LONG: Duration = Duration::from_secs(5);

/// Returns the measured rows.
///
/// # Errors
/// The server does not work.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let mut served = Served::with_rooms(bench).await?;
    let module = std::fs::read(&bench.module)?;
    let id = BlobId::of(&module).to_string();
    served.ask("PUT", &format!("blobs/{id}"), &module).await?;
    let one = Held::of(served.pid()?)?;
    let begun = Instant::now();
    for number in 0..PROJECTS {
        let parties = json!([{ "name": "main", "module": id }]);
        let release = json!({ "parties": parties, "hosts": [host(number)] }).to_string();
        served.ask("POST", &format!("projects/p{number}/deploy"), release.as_bytes()).await?;
    }
    let deployed = begun.elapsed().as_secs_f64() * 1e3 / PROJECTS as f64;
    served.end(End::Stopped)?;
    let start = served.restart().await?.as_secs_f64();
    let all = Held::of(served.pid()?)?;
    let latencies = busy(&served).await?;
    let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
    let mib = all.each(one, PROJECTS) / f64::from(1 << 20);
    Ok(vec![
        Row::alone("a deploy of one of 1,000 projects takes", (deployed, "ms"), None),
        Row::alone(
            "a server of 1,000 projects starts in",
            (start, "s"),
            Some(("≤ 5 s", start <= 5.0)),
        ),
        Row::alone(
            "memory mappings of that server",
            (all.mappings, ""),
            Some(("≤ 65,530", all.mappings <= 65_530.0)),
        ),
        Row::alone("each further project holds", (mib, "MiB"), None),
        Row::alone("events of clients in 100 of its projects, p99", (ms(0.99), "ms"), None),
        Row::alone("the same, the latest", (ms(1.0), "ms"), None),
    ])
}

fn host(number: usize) -> String {
    format!("p{number}.example.com")
}

/// Lets one client in each of some projects send at fixed times, and returns the latencies.
async fn busy(served: &Served) -> Result<Histogram<u64>> {
    let step = PROJECTS / BUSY;
    let connecting = (0..BUSY).map(|client| async move {
        let host = host(client * step);
        Client::connect_to(served.addr, &host, "lobby").await.with_context(|| host.clone())
    });
    let clients = try_join_all(connecting).await?;
    let (begun, mut all) = (Instant::now(), Histogram::new(3)?);
    let sending = clients.into_iter().zip(0..).map(|(client, number)| {
        let first = begun + PAUSE * number / BUSY as u32;
        steady::send(client, ECHO, (first, PAUSE), |due| due < begun + LONG, |_| true)
    });
    for latencies in try_join_all(sending).await? {
        all.add(latencies)?;
    }
    Ok(all)
}
