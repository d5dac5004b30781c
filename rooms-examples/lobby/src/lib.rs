//! Rooms that tell a lobby how many people are in them, by calls from room to room.
//!
//! Owns the list of rooms with people in it. Invariant: what the lobby shows is what each room said last: calls arrive
//! once, and in their order. It does not know what people do in the rooms.

use room_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// The name of the room that is the lobby. Every other room of the party is one that people meet in.
pub const LOBBY: &str = "lobby";
/// What the keys of rooms begin with in the lobby's storage.
const ROOM: &str = "room:";

/// A room: the lobby, or one that people meet in.
#[derive(Default)]
pub struct Meeting;

/// What a room tells the lobby.
#[derive(Debug, Deserialize, Serialize)]
struct Occupancy {
    people: usize,
}

/// What clients receive.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ToClient {
    /// In the lobby: the rooms with people in them.
    Rooms { rooms: Vec<Entry> },
    /// In a room: how many people are there.
    People { people: usize },
}

/// A room in the lobby's list.
#[derive(Debug, Serialize)]
struct Entry {
    room: String,
    people: usize,
}

impl Room for Meeting {
    fn on_connect(&mut self, ctx: &Context, conn: &Connection, _: &Request) -> Result {
        if ctx.name() == LOBBY {
            return conn.send(&rooms(ctx)?);
        }
        tell(ctx)
    }

    fn on_close(&mut self, ctx: &Context, _: &Connection, _: Close) -> Result {
        if ctx.name() == LOBBY {
            return Ok(());
        }
        tell(ctx)
    }

    /// A room says how many people are in it.
    fn on_call(&mut self, ctx: &Context, call: Call) -> Result<Reply> {
        ensure!(ctx.name() == LOBBY, "only the room {LOBBY:?} takes calls");
        let Occupancy { people } = call.data()?;
        let key = format!("{ROOM}{}", call.room());
        if people > 0 {
            ctx.storage().put(&key, &people)?;
        } else {
            ctx.storage().delete(&key)?;
        }
        ctx.broadcast(&rooms(ctx)?);
        Ok(Reply::done())
    }

    /// The lobby's list, for pages that do not connect.
    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        if request.method() != "GET" {
            return Ok(Response::status(405).with_header("allow", "GET"));
        }
        Response::json(&rooms(ctx)?)
    }
}

/// Tells the people in the room, and the lobby, how many they are.
fn tell(ctx: &Context) -> Result {
    let people = ctx.connections().len();
    ctx.broadcast(&ToClient::People { people });
    ctx.room(ctx.party(), LOBBY).call(&Occupancy { people });
    Ok(())
}

fn rooms(ctx: &Context) -> Result<ToClient> {
    let entries = ctx.storage().list::<usize>().prefix(ROOM).into_iter();
    let rooms = entries.map(|entry| {
        let (key, people) = entry?;
        Ok(Entry { room: key.trim_start_matches(ROOM).to_owned(), people })
    });
    Ok(ToClient::Rooms { rooms: rooms.collect::<Result<_>>()? })
}

room_sdk::export!(Meeting);
