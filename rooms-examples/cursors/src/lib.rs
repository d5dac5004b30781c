//! Everyone's cursor on everyone's screen.
//!
//! Owns who points where. Invariant: a cursor lives exactly as long as its connection, whose state it
//! is; nothing is stored. It does not know screens: positions are fractions of the page.

use room_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// The room keeps nothing: each cursor is the state of its connection, and so survives a reload.
#[derive(Default)]
pub struct Cursors;

/// A position, from 0 to 1 in each direction. Also what a client sends.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

/// Someone's cursor.
#[derive(Debug, Serialize)]
struct Cursor<'a> {
    id: &'a str,
    #[serde(flatten)]
    at: Point,
}

/// What the room sends.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ToClient<'a> {
    Sync { you: &'a str, cursors: Vec<Cursor<'a>> },
    Update(Cursor<'a>),
    Remove { id: &'a str },
}

impl Room for Cursors {
    fn on_connect(&mut self, ctx: &Context, conn: &Connection, _: &Request) -> Result {
        let others = ctx.connections();
        let mut cursors = Vec::with_capacity(others.len());
        for other in &others {
            if let Some(at) = other.state()? {
                cursors.push(Cursor { id: other.id(), at });
            }
        }
        conn.send(&ToClient::Sync { you: conn.id(), cursors })
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        let Point { x, y } = message.json()?;
        let at = Point { x: x.clamp(0.0, 1.0), y: y.clamp(0.0, 1.0) };
        conn.set_state(&at)?;
        // A client that is behind needs only where a cursor is now.
        let update = ctx.broadcast(&ToClient::Update(Cursor { id: conn.id(), at }));
        update.latest(conn.id()).except(conn);
        Ok(())
    }

    fn on_close(&mut self, ctx: &Context, conn: &Connection, _: Close) -> Result {
        ctx.broadcast(&ToClient::Remove { id: conn.id() });
        Ok(())
    }
}

room_sdk::export!(Cursors);
