//! The memory that a room holds for clients that may come back. Owns those runs and their bars.
//!
//! Invariant: a figure is the difference between two readings of the server, after a part of the same was held before the
//! first, so that memory that is allocated once is not counted. It does not know how clients come back.

use crate::crowd;
use crate::frames::{Client, text};
use crate::memory::{kib, settled};
use crate::page::Row;
use crate::rooms::{self, Remembered, Setup};
use crate::scale::Bench;
use anyhow::Result;
use room_runtime::Limits;

/// Clients that are away before the first reading, and after it.
const FIRST: usize = 1_000;
const AWAY: usize = 9_000;
/// Rooms of these clients.
const SHARED: usize = 10;
/// Rooms that remember messages, and how many of them each remembers before the first reading, and after it.
const ROOMS: usize = 20;
const SAID_FIRST: usize = 512;
const SAID: usize = 3_584;
/// Messages that are sent in one piece.
const TOGETHER: usize = 64;
/// A message to all in the room, with 16 bytes of its own.
const CAST: &str = r#"{"t":"cast","x":"0123456789abcdef"}"#;

/// Returns the measured rows.
///
/// # Errors
/// A server does not work.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let (away, entry) = (clients(bench).await?, messages(bench).await?);
    Ok(vec![
        Row::alone(
            "a connection whose client is away, in a room of 1,000 of them, holds",
            kib(away),
            None,
        ),
        Row::alone("a message of 60 bytes that a room remembers holds", (entry, "bytes"), None),
    ])
}

/// Returns the bytes of each connection whose client left between the readings.
async fn clients(bench: &Bench) -> Result<f64> {
    let limits =
        Limits { connections_per_address_max: 2 * (FIRST + AWAY) as u64, ..Limits::default() };
    let setup = Setup { limits, remembered: Remembered::Returning, ..Setup::default() };
    let server = rooms::start(bench, &setup)?;
    let (mut looks, mut sum) = (Vec::new(), 0);
    for numbers in [0..FIRST, FIRST..FIRST + AWAY] {
        sum += numbers.len();
        let rooms = numbers.map(|n| crowd::name("away", n % SHARED)).collect();
        crowd::lose(server.addr, rooms).await?;
        crowd::reached(server.addr, "room_suspended", sum as f64).await?;
        looks.push(settled(&server).await?);
    }
    Ok(looks[1].each(looks[0], AWAY))
}

/// Returns the bytes of each message that a room remembered between the readings.
async fn messages(bench: &Bench) -> Result<f64> {
    let setup = Setup { remembered: Remembered::Returning, ..Setup::default() };
    let server = rooms::start(bench, &setup)?;
    let rooms = (0..ROOMS).map(|n| crowd::name("says", n)).collect();
    let mut speakers = crowd::hold(server.addr, rooms).await?;
    let mut looks = Vec::new();
    for count in [SAID_FIRST, SAID] {
        for speaker in &mut speakers {
            say(speaker, count).await?;
        }
        looks.push(settled(&server).await?);
    }
    Ok(looks[1].each(looks[0], ROOMS * SAID))
}

/// Lets a client say so much to its room, and hear it.
async fn say(speaker: &mut Client, count: usize) -> Result<()> {
    let together = text(CAST).repeat(TOGETHER);
    for _ in 0..count / TOGETHER {
        speaker.write(&together).await?;
        let mut heard = 0;
        while heard < TOGETHER {
            heard += speaker.read().await?;
        }
    }
    Ok(())
}
