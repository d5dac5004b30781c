//! The room that benchmarks talk to.
//!
//! Owns a protocol that asks for one thing at a time: `{"t":"echo",…}` comes back to its sender as it
//! is, `{"t":"cast",…}` goes to all as it is, `{"t":"incr","s":S}` adds one to a durable counter and
//! is answered `{"t":"count","s":S,"n":N}`. Invariant: a message costs no more than what it asks for. It does
//! not know who measures.

use room_sdk::prelude::*;
use serde::{Deserialize, Serialize};

const KEY: &str = "n";

/// The room. The field is a copy of the stored value.
#[derive(Default)]
pub struct Bench {
    n: u64,
}

/// What must be known of a message; the rest of it is skipped, not read.
#[derive(Debug, Deserialize)]
struct Peek<'a> {
    t: &'a str,
    #[serde(default)]
    s: u64,
}

/// The answer to `incr`.
#[derive(Debug, Serialize)]
struct Count {
    t: &'static str,
    s: u64,
    n: u64,
}

impl Room for Bench {
    fn on_start(&mut self, ctx: &Context) -> Result {
        self.n = ctx.storage().get(KEY)?.unwrap_or_default();
        Ok(())
    }

    fn on_connect(&mut self, _: &Context, conn: &Connection, _: &Request) -> Result {
        conn.send(Message::text(r#"{"t":"hello"}"#))
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        let Peek { t, s } = message.json()?;
        match t {
            "echo" => conn.send(message),
            "cast" => ctx.broadcast(message).send(),
            "incr" => {
                let n = self.n + 1;
                ctx.storage().put(KEY, &n)?;
                conn.send(&Count { t: "count", s, n })?;
                self.n = n;
                Ok(())
            }
            other => bail!("unknown message {other:?}"),
        }
    }
}

room_sdk::export!(Bench);
