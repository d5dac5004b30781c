//! Many clients of one server. Owns how they connect, and those that stay.
//!
//! Invariant: a bounded number of them connects at a time, and a client that the server refuses or leaves without an
//! answer is an error. It does not know what is measured.

use crate::frames::{Client, text};
use anyhow::{Context, Result, bail};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::net::SocketAddr;
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep, timeout};

/// Clients that connect at the same time: a server's backlog has space for them.
const TOGETHER: usize = 64;
/// A client's longest wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two requests to a server that is not in the wanted state yet.
const ASKED_EVERY: Duration = Duration::from_millis(50);

/// A visitor's message. The room answers with one message.
pub(crate) const ECHO: &str = r#"{"t":"echo"}"#;
/// As [`ECHO`], but the answer means that a value is on the disk.
pub(crate) const INCREMENT: &str = r#"{"t":"incr","s":1}"#;

/// Lets a client into each room, and keeps it there.
///
/// # Errors
/// One of them is refused.
pub(crate) async fn hold(addr: SocketAddr, names: Vec<String>) -> Result<Vec<Client>> {
    let clients = names.into_iter().map(|room| patient(room, addr, None));
    stream::iter(clients).buffered(TOGETHER).try_collect().await
}

/// Lets a client into each room that may come back, and cuts its connection.
///
/// # Errors
/// One of them is refused.
pub(crate) async fn lose(addr: SocketAddr, names: Vec<String>) -> Result<()> {
    let lost = names.into_iter().map(|room| async move {
        let coming = Client::connect_returning(addr, &room);
        let client = timeout(PATIENCE, coming).await;
        client.with_context(|| format!("{room} does not answer"))?.map(drop)
    });
    stream::iter(lost).buffer_unordered(TOGETHER).try_collect().await
}

/// Lets a client into each room, sends a message, waits for the answer, and leaves.
///
/// # Errors
/// One of them is refused, or gets no answer.
pub(crate) async fn visit(addr: SocketAddr, rooms: Range<usize>, say: &'static str) -> Result<()> {
    let visits = rooms.map(|number| async move {
        patient(name("room", number), addr, Some(say)).await.map(drop)
    });
    stream::iter(visits).buffer_unordered(TOGETHER).try_collect().await
}

/// Asks each client's room for an answer.
///
/// # Errors
/// One of them does not get it.
pub(crate) async fn ask(clients: &mut [Client]) -> Result<()> {
    let asking = clients.iter_mut().map(|client| async move {
        client.write(&text(ECHO)).await?;
        timeout(PATIENCE, client.read()).await.context("a client has no answer")?.map(drop)
    });
    // Collected first: an iterator over what it borrows is not general enough for the stream.
    stream::iter(asking.collect::<Vec<_>>()).buffer_unordered(TOGETHER).try_collect().await
}

/// Returns the name of a room.
pub(crate) fn name(of: &str, number: usize) -> String {
    format!("{of}-{number}")
}

async fn patient(room: String, addr: SocketAddr, say: Option<&'static str>) -> Result<Client> {
    let coming = async {
        let mut client = Client::connect(addr, &room).await?;
        if let Some(say) = say {
            client.write(&text(say)).await?;
            client.read().await?;
        }
        anyhow::Ok(client)
    };
    timeout(PATIENCE, coming).await.with_context(|| format!("{room} does not answer"))?
}

/// Waits until a number of the server's metrics is at most `most`.
///
/// # Errors
/// That does not happen in time, or the server has no such metric.
pub(crate) async fn settled(addr: SocketAddr, metric: &str, most: f64) -> Result<()> {
    until(addr, metric, |now| now <= most).await.with_context(|| format!("it should be {most}"))
}

/// Waits until a number of the server's metrics is at least `least`.
///
/// # Errors
/// That does not happen in time, or the server has no such metric.
pub(crate) async fn reached(addr: SocketAddr, metric: &str, least: f64) -> Result<()> {
    until(addr, metric, |now| now >= least).await.with_context(|| format!("it should be {least}"))
}

async fn until(addr: SocketAddr, metric: &str, is_wanted: impl Fn(f64) -> bool) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = gauge(addr, metric).await?;
        if is_wanted(now) {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("{metric} is {now} for {PATIENCE:?}");
        }
        sleep(ASKED_EVERY).await;
    }
}

/// Returns a number of the server's metrics.
///
/// # Errors
/// The server has no such metric, or does not answer.
pub(crate) async fn gauge(addr: SocketAddr, metric: &str) -> Result<f64> {
    let text = get(addr, "/_room/metrics").await?;
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    let line = line.with_context(|| format!("the server has no metric {metric}"))?;
    Ok(line.trim().parse()?)
}

/// Requests a page of a server, on a connection of its own, and returns the whole answer.
///
/// # Errors
/// There is no server, or it breaks off.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Result<String> {
    let mut tcp = TcpStream::connect(addr).await?;
    let asked = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    tcp.write_all(asked.as_bytes()).await?;
    let mut answer = String::new();
    timeout(PATIENCE, tcp.read_to_string(&mut answer)).await.context("the server is silent")??;
    Ok(answer)
}
