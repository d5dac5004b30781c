//! Rooms that store every message. Owns their clients.
//!
//! Invariant: one message of 100 bytes is in flight in each room, it differs from all before, and its
//! answer is what the room says once it is durable. It does not know when that is.

use super::{Figures, Window, figures};
use crate::frames::{Client, text};
use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use std::net::SocketAddr;
use tokio::time::Instant;

/// Loads so many rooms, with one client each.
pub(super) async fn run(addr: SocketAddr, rooms: u64) -> Result<Figures> {
    let names = (0..rooms).map(|n| format!("keep-{n}"));
    let clients = names.map(|room| async move { Client::connect(addr, &room).await });
    let clients = try_join_all(clients).await?;
    let window = Window::after_warm_up();
    let runs = clients.into_iter().map(|client| keep(client, window));
    let mut all = Histogram::<u64>::new(3)?;
    for histogram in try_join_all(runs).await? {
        all.add(histogram)?;
    }
    Ok(figures(all.len(), &all))
}

async fn keep(mut client: Client, window: Window) -> Result<Histogram<u64>> {
    let mut latencies = Histogram::new(3)?;
    for number in 0_u64.. {
        let message = format!(r#"{{"t":"keep","n":"{number:020}","pad":"{:.<52}"}}"#, "");
        let sent = Instant::now();
        client.write(&text(&message)).await?;
        if client.read().await? != 1 {
            bail!("one message was answered more than once");
        }
        let now = Instant::now();
        if window.has(now) {
            latencies.record(u64::try_from((now - sent).as_nanos())?)?;
        }
        if now >= window.until {
            break;
        }
    }
    Ok(latencies)
}
