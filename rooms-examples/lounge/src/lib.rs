//! A chat that shows who is here, who is away, and who is typing.
//!
//! Owns what is said. Invariant: a message comes from somebody who is present. Who is there is the server's, and what
//! each of them shows is their own client's. It does not know pages.

use room_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// The room keeps nothing: the server knows who is there.
#[derive(Default)]
pub struct Lounge;

/// What a client shows of its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// The name that the others read.
    pub name: String,
    /// The color of the name, as in CSS.
    pub color: String,
}

/// What somebody said, with the name and the color of that moment.
#[derive(Debug, Serialize)]
struct Said<'a> {
    #[serde(flatten)]
    by: Guest,
    text: &'a str,
}

impl Room for Lounge {
    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        let presence = ctx.presence::<Guest>();
        let Some(guest) = presence.user(conn.id()) else {
            bail!("say who you are first: show a name and a color");
        };
        let Some(text) = message.as_text() else { bail!("only text is said here") };
        ctx.broadcast(&Said { by: guest.data, text });
        // Who has spoken is not typing any more.
        presence.flag(conn, "typing", std::time::Duration::ZERO)
    }
}

room_sdk::export!(Lounge);
