//! The load. Owns the clients and what is counted.
//!
//! Invariant: each client has a fixed number of messages in flight, and a figure counts only what came
//! back. It does not know which server it loads.

mod beside;
mod keep;

use crate::frames::{Client, text};
use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use tokio::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);
const ECHO_CLIENTS: usize = 100;
const CAST_ROOMS: usize = 10;
const CAST_MEMBERS: usize = 100;

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) a_second: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

/// Of several runs the one in the middle.
pub(crate) fn median(mut runs: Vec<Figures>) -> Figures {
    runs.sort_by_key(|figures| figures.a_second);
    runs[runs.len() / 2]
}

/// Does what these words ask for, and prints its figures as JSON:
///
/// - `echo N`: each client alone in its room, with N messages in flight
/// - `cast`: one client of each room broadcasts, the next time when its own copy has come
/// - `keep N`: in each of N rooms a client whose every message is stored
/// - `beside [SCRIPT ANSWERS]`: clients of quiet rooms, beside one whose room does that over and over
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run_and_print(addr: SocketAddr, words: &[&str]) -> Result<()> {
    let figures = match *words {
        ["echo", in_flight] => echo(addr, in_flight.parse()?).await?,
        ["cast"] => cast(addr).await?,
        ["keep", rooms] => keep::run(addr, rooms.parse()?).await?,
        ["beside"] => beside::run(addr, None).await?,
        ["beside", script, answers] => beside::run(addr, Some((script, answers.parse()?))).await?,
        _ => bail!("no load {words:?}"),
    };
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&figures)?)?)
}

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

async fn echo(addr: SocketAddr, in_flight: usize) -> Result<Figures> {
    let rooms = (0..ECHO_CLIENTS).map(|n| format!("echo-{n}"));
    let clients = try_join_all(rooms.map(|room| async move { Client::connect(addr, &room).await }));
    let clients = clients.await?;
    let window = Window::after_warm_up();
    let runs = clients.into_iter().map(|client| echo_one(client, in_flight, window));
    let mut all = Histogram::<u64>::new(3)?;
    for histogram in try_join_all(runs).await? {
        all.add(histogram)?;
    }
    Ok(figures(all.len(), &all))
}

async fn echo_one(mut client: Client, in_flight: usize, window: Window) -> Result<Histogram<u64>> {
    let frame = text(r#"{"t":"echo","s":12345,"pad":"abcdefghijklmnopqrstuvwxyz01234567"}"#);
    let frames = frame.repeat(in_flight);
    let mut latencies = Histogram::new(3)?;
    let mut sent = VecDeque::from(vec![Instant::now(); in_flight]);
    client.write(&frames).await?;
    loop {
        let count = client.read().await?;
        let now = Instant::now();
        for _ in 0..count {
            let Some(at) = sent.pop_front() else { bail!("more came back than was sent") };
            if window.has(now) {
                latencies.record(u64::try_from((now - at).as_nanos())?)?;
            }
        }
        if now >= window.until {
            return Ok(latencies);
        }
        client.write(&frames[..frame.len() * count]).await?;
        sent.extend(std::iter::repeat_n(now, count));
    }
}

async fn cast(addr: SocketAddr) -> Result<Figures> {
    let mut rooms = Vec::new();
    for room in 0..CAST_ROOMS {
        let name = format!("cast-{room}");
        let members = (0..CAST_MEMBERS).map(|_| Client::connect(addr, &name));
        rooms.push(try_join_all(members).await?);
    }
    let window = Window::after_warm_up();
    let runs = rooms.into_iter().map(|members| cast_room(members, window));
    let mut all = Histogram::<u64>::new(3)?;
    let mut deliveries = 0;
    for (histogram, count) in try_join_all(runs).await? {
        all.add(histogram)?;
        deliveries += count;
    }
    Ok(figures(deliveries, &all))
}

/// One member casts, all read. Latency is from a cast to the caster's own copy.
async fn cast_room(mut members: Vec<Client>, window: Window) -> Result<(Histogram<u64>, u64)> {
    let Some(caster) = members.pop() else { bail!("a room needs a member") };
    let casting = async {
        let (mut client, mut latencies, mut count) = (caster, Histogram::<u64>::new(3)?, 0);
        let frame = text(r#"{"t":"cast","s":12345,"pad":"abcdefghijklmnopqrstuvwxyz01234567"}"#);
        while Instant::now() < window.until {
            let sent = Instant::now();
            client.write(&frame).await?;
            count += client.read().await? as u64 * u64::from(window.has(sent));
            if window.has(sent) {
                latencies.record(u64::try_from(sent.elapsed().as_nanos())?)?;
            }
        }
        anyhow::Ok((latencies, count))
    };
    let hearing = try_join_all(members.into_iter().map(|client| hear(client, window)));
    let ((latencies, own), heard) = tokio::try_join!(casting, hearing)?;
    Ok((latencies, own + heard.into_iter().sum::<u64>()))
}

async fn hear(mut client: Client, window: Window) -> Result<u64> {
    let mut heard = 0;
    loop {
        let Ok(count) = tokio::time::timeout_at(window.until, client.read()).await else {
            return Ok(heard);
        };
        heard += count? as u64 * u64::from(window.has(Instant::now()));
    }
}

fn figures(count: u64, latencies: &Histogram<u64>) -> Figures {
    let us = |quantile| latencies.value_at_quantile(quantile) / 1_000;
    let a_second = count / MEASURED.as_secs();
    Figures { a_second, p50_us: us(0.5), p99_us: us(0.99), max_us: latencies.max() / 1_000 }
}
