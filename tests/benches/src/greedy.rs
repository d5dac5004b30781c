//! A crowd that takes everything and does nothing, beside a few clients that are served. Owns that crowd, its waves
//! and its rows.
//!
//! Invariant: the server has default limits, and the crowd comes from so many addresses that no address reaches its
//! limit. Clients beyond the limits of open files come in waves, and a row says how many that makes at a time. It
//! does not know how a server bounds what it keeps.

use crate::crowd;
use crate::figures::Figures;
use crate::frames::{Client, text};
use crate::held::Held;
use crate::page::Row;
use crate::process::load_by;
use crate::rooms::{self, Setup};
use crate::scale::Bench;
use anyhow::{Context, Result};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use room_runtime::Limits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Duration;

/// Clients that send only the first fragment of a message.
const FRAGMENTS: usize = 20_000;
/// Handshakes that are never finished.
const HALF_OPEN: usize = 10_000;
/// Members of a room that never read.
const MEMBERS: usize = 2_000;
/// Bytes of a first fragment.
const FRAGMENT_BYTES: u16 = 60_000;
/// The size and number of the messages of the members' room: more than the budget of the process for all of them.
const CAST_BYTES: usize = 16 * 1024;
const CASTS: usize = 100;
/// Clients that connect at the same time.
const TOGETHER: usize = 64;
/// The other files and connections of the server.
const OTHERS: usize = 300;
/// The load of the ten other clients.
const SERVED: &[&str] = &["echo", "--clients", "10", "--rate", "500", "--seconds", "4"];
/// Time between two readings of the server's memory.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The divisor of the crowd: a small crowd shows that the run works, on a machine that has no time for all.
/// `CROWD_PART=100`.
const PART: &str = "CROWD_PART";
const MIB: f64 = 1_048_576.0;

/// The numbers of clients.
struct Plan {
    waves: usize,
    fragments: usize,
    half_open: usize,
    members: usize,
}

impl Plan {
    fn of(files: usize, part: usize) -> Self {
        let [fragments, half_open, members] = [FRAGMENTS, HALF_OPEN, MEMBERS].map(|all| all / part);
        let most = usize::try_from(Limits::default().connections_max).unwrap_or(usize::MAX);
        let most = most.min(files).saturating_sub(OTHERS + members).max(1);
        let waves = (fragments + half_open).div_ceil(most).max(1);
        Self { waves, fragments: fragments / waves, half_open: half_open / waves, members }
    }
}

/// Returns the measured rows.
///
/// # Errors
/// The server does not work.
#[tokio::main]
pub(crate) async fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let part = std::env::var_os(PART).and_then(|part| part.to_str()?.parse().ok());
    let plan = Plan::of(bench.files, part.unwrap_or(1));
    let server = rooms::start(bench, &Setup::default())?;
    let (addr, pid) = (server.addr, server.pid());
    let alone = served(bench, addr).await?;
    let before = Held::of(pid)?.resident;
    let (over, looking) = look(pid);
    let mut beside = Figures::default();
    let members = members(addr, plan.members).await?;
    let mut buffered = crowd::gauge(addr, "room_buffered_bytes").await?;
    for wave in 0..plan.waves {
        let (load, crowd) = tokio::join!(served(bench, addr), wave_of(addr, &plan, wave));
        let (load, _crowd) = (load?, crowd?);
        beside.p50_us = beside.p50_us.max(load.p50_us);
        beside.p99_us = beside.p99_us.max(load.p99_us);
        buffered = buffered.max(crowd::gauge(addr, "room_buffered_bytes").await?);
    }
    drop(members);
    crowd::settled(addr, "room_buffered_bytes", 0.0).await?;
    over.store(true, Ordering::Relaxed);
    let peak = looking.await??;
    let after = Held::of(pid)?.resident;
    let budget = Limits::default().buffered_bytes_max as f64;
    let all = plan.fragments * plan.waves;
    Ok(vec![
        Row::alone(
            "clients that send only a first fragment of 60 KB, in waves",
            (all as f64, ""),
            Some(("20,000", all >= FRAGMENTS)),
        ),
        Row::alone("the same, at a time", (plan.fragments as f64, ""), None),
        Row::alone(
            "half-open handshakes beside them, at a time",
            (plan.half_open as f64, ""),
            None,
        ),
        Row::alone("members of a room that never read", (plan.members as f64, ""), None),
        Row::alone("resident memory before the crowd", (before / MIB, "MiB"), None),
        Row::alone("the same, at its peak", (peak / MIB, "MiB"), None),
        Row::alone("the same, after the crowd", (after / MIB, "MiB"), None),
        Row::alone(
            "bytes that are kept for the crowd, at most",
            (buffered / MIB, "MiB"),
            Some(("≤ 2,048 MiB, `buffered_bytes_max`", buffered <= budget)),
        ),
        Row::alone("echoes of ten others without the crowd, p50", (alone.p50_us, "µs"), None),
        Row::alone("the same while the crowd comes", (beside.p50_us, "µs"), None),
        Row::alone("echoes of ten others without the crowd, p99", (alone.p99_us, "µs"), None),
        Row::alone("the same while the crowd comes", (beside.p99_us, "µs"), None),
    ])
}

/// Returns the figures of the ten other clients.
async fn served(bench: &Bench, addr: SocketAddr) -> Result<Figures> {
    let tool = bench.tool.clone();
    let load = tokio::task::spawn_blocking(move || load_by(&tool, addr, SERVED));
    Ok(load.await??.figures)
}

/// Reads the memory of a process until the flag is set, and returns the most that it had.
fn look(pid: u32) -> (Arc<AtomicBool>, tokio::task::JoinHandle<Result<f64>>) {
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let mut peak = 0.0_f64;
        while !told.load(Ordering::Relaxed) {
            peak = peak.max(Held::of(pid)?.resident);
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(peak)
    });
    (over, looking)
}

/// Connects members that never read to a room, and has the room send more than all their outboxes may hold.
async fn members(addr: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let coming = (0..count).map(|number| join(addr, number, "members", Some(4 * 1024)));
    let members = stream::iter(coming).buffered(TOGETHER).try_collect().await?;
    let mut talker = Client::connect(addr, "members").await?;
    let said = text(&format!(r#"{{"t":"cast","x":"{}"}}"#, "x".repeat(CAST_BYTES)));
    for _ in 0..CASTS {
        talker.write(&said).await?;
        talker.read().await?;
    }
    Ok(members)
}

/// Connects one wave. The connections stay unchanged until they are dropped.
async fn wave_of(addr: SocketAddr, plan: &Plan, wave: usize) -> Result<Vec<TcpStream>> {
    let first = plan.members + wave * (plan.fragments + plan.half_open);
    let fragments = (0..plan.fragments).map(|number| fragment(addr, first + number));
    let mut all: Vec<TcpStream> =
        stream::iter(fragments).buffer_unordered(TOGETHER).try_collect().await?;
    let half_open =
        (0..plan.half_open).map(|number| half_open(addr, first + plan.fragments + number));
    let half_open: Vec<_> =
        stream::iter(half_open).buffer_unordered(TOGETHER).try_collect().await?;
    all.extend(half_open);
    Ok(all)
}

/// Sends a first fragment and nothing more. A connection that the server closes for it counts as well.
async fn fragment(addr: SocketAddr, number: usize) -> Result<TcpStream> {
    let mut tcp = join(addr, number, &crowd::name("fragments", number % 100), None).await?;
    let head = [&[0x02, 0xfe][..], &FRAGMENT_BYTES.to_be_bytes(), &[0; 4]].concat();
    let frame = [head, vec![0; usize::from(FRAGMENT_BYTES)]].concat();
    drop(tcp.write_all(&frame).await);
    Ok(tcp)
}

async fn half_open(addr: SocketAddr, number: usize) -> Result<TcpStream> {
    let mut tcp = connect(addr, number, None).await?;
    tcp.write_all(b"GET /party/x HTTP/1.1\r\n").await?;
    Ok(tcp)
}

/// Opens a WebSocket to a room, and reads no further than its handshake.
async fn join(
    addr: SocketAddr,
    number: usize,
    room: &str,
    buffer: Option<u32>,
) -> Result<TcpStream> {
    let mut tcp = connect(addr, number, buffer).await?;
    let request = format!(
        "GET /parties/main/{room} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    tcp.read_exact(&mut head).await.with_context(|| format!("{room} does not answer"))?;
    anyhow::ensure!(&head == b"HTTP/1.1 101", "{}", String::from_utf8_lossy(&head));
    Ok(tcp)
}

/// Connects from an address of its own. This machine has millions of them.
async fn connect(addr: SocketAddr, number: usize, buffer: Option<u32>) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let [high, low] = [number / 250 + 1, number % 250 + 1].map(u8::try_from);
    socket.bind(SocketAddr::from(([127, 0, high?, low?], 0)))?;
    Ok(socket.connect(addr).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_connects_in_as_many_waves_as_fit() {
        for (files, part, waves, fragments) in [
            (24_000, 1, 2, 10_000),
            (20_000, 1, 2, 10_000),
            (4_000, 1, 18, 1_111),
            (1_024, 100, 1, 200),
        ] {
            let plan = Plan::of(files, part);
            assert_eq!((plan.waves, plan.fragments), (waves, fragments), "{files} files");
            assert!(plan.fragments + plan.half_open + plan.members + OTHERS <= files);
        }
    }
}
