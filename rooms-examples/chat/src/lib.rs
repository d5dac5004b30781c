//! A chat room: names, members, and the last hundred messages.
//!
//! Owns what happens; `messages` says what is sent. Invariant: what one client sends reaches the
//! others only within the limits below. It does not know HTML: the page in `web/` shows it as text.

mod messages;

use messages::{Person, Said, ToClient, ToRoom};
use room_sdk::prelude::*;

/// What everyone reads on top of the room. Change it while `room dev` runs, save, and look.
const GREETING: &str = "Welcome! Everything here is live.";

const HISTORY_MAX: u32 = 100;
const NAME_CHARS_MAX: usize = 32;
const TEXT_CHARS_MAX: usize = 2_000;

/// The room keeps nothing in memory but the number of the next message.
#[derive(Default)]
pub struct Chat {
    next: u64,
}

impl Room for Chat {
    fn on_start(&mut self, ctx: &Context) -> Result {
        let newest = newest(ctx, 1)?;
        self.next = newest.first().map_or(0, |said| said.id + 1);
        // After a reload people are still connected, and this code may greet them differently.
        ctx.broadcast(&ToClient::Greeting { text: GREETING });
        Ok(())
    }

    fn on_connect(&mut self, ctx: &Context, conn: &Connection, _: &Request) -> Result {
        let name = conn.query("name").unwrap_or_default();
        if let Some(name) = tidy(&name, NAME_CHARS_MAX) {
            conn.set_state(&name)?;
        }
        let mut history = newest(ctx, HISTORY_MAX)?;
        history.reverse();
        let (you, greeting) = (conn.id(), GREETING);
        conn.send(&ToClient::Welcome { you, greeting, history })?;
        tell_people(ctx)
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        match message.json()? {
            ToRoom::Name { name } => match tidy(&name, NAME_CHARS_MAX) {
                Some(name) => conn.set_state(&name).and_then(|()| tell_people(ctx)),
                None => sorry(conn, "a name is 1 to 32 characters"),
            },
            ToRoom::Say { text } => match tidy(&text, TEXT_CHARS_MAX) {
                Some(text) => self.say(ctx, name_of(conn)?, text),
                None => sorry(conn, "a message is 1 to 2,000 characters"),
            },
        }
    }

    fn on_close(&mut self, ctx: &Context, _: &Connection, _: Close) -> Result {
        tell_people(ctx)
    }
}

impl Chat {
    /// Stores a message, drops the oldest one beyond the limit, and broadcasts the new one.
    fn say(&mut self, ctx: &Context, name: String, text: String) -> Result {
        let (id, at) = (self.next, ctx.now());
        let said = Said { id, name, text, at };
        ctx.storage().put(key(said.id), &said)?;
        if let Some(old) = said.id.checked_sub(u64::from(HISTORY_MAX)) {
            ctx.storage().delete(key(old))?;
        }
        ctx.broadcast(&ToClient::Said(&said)).send()?;
        self.next += 1;
        Ok(())
    }
}

/// The key of a message. Digits are padded, so that the order of keys is the order of messages.
fn key(id: u64) -> String {
    format!("said:{id:020}")
}

/// A text without surrounding space, or nothing if it is empty or too long.
fn tidy(text: &str, chars_max: usize) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text.chars().count() <= chars_max).then(|| text.to_owned())
}

/// The newest messages, newest first.
fn newest(ctx: &Context, limit: u32) -> Result<Vec<Said>> {
    ctx.storage().list().prefix("said:").reverse().limit(limit).values()
}

fn name_of(conn: &Connection) -> Result<String> {
    Ok(conn.state()?.unwrap_or_else(|| "someone".to_owned()))
}

fn sorry(conn: &Connection, text: &str) -> Result {
    conn.send(&ToClient::Error { text })
}

/// Broadcasts the members.
fn tell_people(ctx: &Context) -> Result {
    let mut people = Vec::new();
    for conn in ctx.connections() {
        let (id, name) = (conn.id().to_owned(), name_of(&conn)?);
        people.push(Person { id, name });
    }
    ctx.broadcast(&ToClient::People { people }).send()
}

room_sdk::export!(Chat);
