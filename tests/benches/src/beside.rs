//! Quiet rooms beside one that misbehaves. Owns the clients of both.
//!
//! Invariant: the quiet clients send at fixed times, all of them at other ones. It does not know what the other room
//! does.

use crate::figures::Figures;
use crate::frames::{Client, text};
use crate::steady;
use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use std::io::Write;
use std::net::SocketAddr;
use tokio::time::{Duration, Instant};

/// Quiet rooms, with one client each.
const NEIGHBOURS: u32 = 16;
/// Time between two messages of a quiet client.
const PAUSE: Duration = Duration::from_millis(20);

/// Time before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// Time in which messages count.
const MEASURED: Duration = Duration::from_secs(4);

/// The script for the other room, and how many answers it has.
type Fault<'a> = (&'a str, usize);

/// The time in which messages count.
#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    fn after_warm_up() -> Self {
        let from = Instant::now() + WARM_UP;
        Self { from, until: from + MEASURED }
    }

    fn has(self, now: Instant) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// Measures quiet clients, beside a fault if the arguments name one and its number of answers, and prints their
/// figures as JSON.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run_and_print(addr: SocketAddr, fault: &[&str]) -> Result<()> {
    let fault = match *fault {
        [] => None,
        [script, answers] => Some((script, answers.parse()?)),
        _ => bail!("a fault is a script and a number of answers"),
    };
    let figures = run(addr, fault).await?;
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&figures)?)?)
}

async fn run(addr: SocketAddr, fault: Option<Fault<'_>>) -> Result<Figures> {
    let open = |room: String| async move {
        Client::connect(addr, &format!("{room}?quiet=1&hello=hi")).await
    };
    let names = (0..NEIGHBOURS).map(|n| format!("neighbour-{n}"));
    let clients = try_join_all(names.map(open)).await?;
    let faulty = open("faulty".to_owned()).await?;
    let window = Window::after_warm_up();
    let quiet = clients.into_iter().zip(0..).map(|(client, n)| neighbour(client, n, window));
    let quiet = try_join_all(quiet);
    let histograms = match fault {
        None => quiet.await?,
        Some(fault) => tokio::try_join!(quiet, misbehave(faulty, fault, window))?.0,
    };
    let mut all = Histogram::<u64>::new(3)?;
    for histogram in histograms {
        all.add(histogram)?;
    }
    let us = |quantile| all.value_at_quantile(quantile) as f64 / 1_000.0;
    let per_second = all.len() as f64 / MEASURED.as_secs_f64();
    Ok(Figures { per_second, p50_us: us(0.5), p99_us: us(0.99), max_us: us(1.0) })
}

/// Sends at its times, which lie between those of the others.
async fn neighbour(client: Client, n: u32, window: Window) -> Result<Histogram<u64>> {
    let first = Instant::now() + PAUSE * n / NEIGHBOURS;
    let (goes_on, counts) = (|due| due < window.until, |due| window.has(due));
    steady::send(client, &"x".repeat(64), (first, PAUSE), goes_on, counts).await
}

/// Sends the script to the room, and sends it again each time the room has answered.
async fn misbehave(mut client: Client, (script, answers): Fault<'_>, window: Window) -> Result<()> {
    let once = [text(script), text("next")].concat();
    while Instant::now() < window.until {
        client.write(&once).await?;
        let mut heard = 0;
        while heard <= answers {
            heard += client.read().await?;
        }
    }
    Ok(())
}
