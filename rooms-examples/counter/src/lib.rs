//! A counter that many people see: over WebSocket live, over HTTP with `curl`.
//!
//! Owns one number. Invariant: every number that a client has received is durable. It does not know who
//! counts.

use room_sdk::prelude::*;
use serde::Serialize;

const KEY: &str = "count";

/// The room. The field is a copy of the stored value.
#[derive(Default)]
pub struct Counter {
    count: u64,
}

/// The state as clients receive it, over WebSocket and HTTP.
#[derive(Debug, Serialize)]
struct Count {
    count: u64,
}

impl Room for Counter {
    fn on_start(&mut self, ctx: &Context) -> Result {
        self.count = ctx.storage().get(KEY)?.unwrap_or_default();
        Ok(())
    }

    fn on_connect(&mut self, _: &Context, conn: &Connection, _: &Request) -> Result {
        conn.send(&Count { count: self.count })
    }

    /// Any message counts.
    fn on_message(&mut self, ctx: &Context, _: &Connection, _: Message) -> Result {
        self.increment(ctx)
    }

    /// `GET` returns the count, `POST` adds one.
    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        match request.method() {
            "GET" => {}
            "POST" => self.increment(ctx)?,
            _ => return Ok(Response::status(405).with_header("allow", "GET, POST")),
        }
        Response::json(&Count { count: self.count })
    }
}

impl Counter {
    /// Adds one and broadcasts the count. The field changes last: a failed turn does not undo it.
    fn increment(&mut self, ctx: &Context) -> Result {
        let count = self.count + 1;
        ctx.storage().put(KEY, &count)?;
        ctx.broadcast(&Count { count }).send()?;
        self.count = count;
        Ok(())
    }
}

room_sdk::export!(Counter);
