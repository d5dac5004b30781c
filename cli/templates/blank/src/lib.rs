//! A room that passes on what its clients say.

use room_sdk::prelude::*;

/// The room. Fields are a cache that may be lost at any time; what must stay goes into
/// `ctx.storage()`, and comes back in `on_start`.
#[derive(Default)]
pub struct MyRoom;

impl Room for MyRoom {
    fn on_connect(&mut self, ctx: &Context, conn: &Connection, _: &Request) -> Result {
        conn.send(Message::text(format!("welcome to {}", ctx.name())))?;
        let news = format!("{} joined", conn.id());
        ctx.broadcast(Message::text(news)).except(conn);
        Ok(())
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        ctx.broadcast(message).except(conn);
        Ok(())
    }
}

room_sdk::export!(MyRoom);
