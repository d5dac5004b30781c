//! The room that the stock clients talk to: it reports what it sees, and follows their commands.
//!
//! The driver, `cli/tests/common/project.rs`, copies it into a project of its own and writes the manifest, as
//! `reload.mjs` changes this source while it is served.

use room_sdk::prelude::*;
use serde_json::json;

/// Changed by `reload.mjs`.
const VERSION: &str = "one";

/// Keeps nothing in memory.
#[derive(Default)]
pub struct Conformance;

impl Room for Conformance {
    fn tags(&mut self, _: &Context, conn: &Connection, _: &Request) -> Result<Vec<String>> {
        Ok(conn.query("tag").into_iter().collect())
    }

    fn on_connect(&mut self, ctx: &Context, conn: &Connection, request: &Request) -> Result {
        ensure!(conn.query("fail").is_none(), "the room said no");
        conn.send(Message::text("first"))?;
        conn.send(&json!({
            "id": conn.id(),
            "party": ctx.party(),
            "room": ctx.name(),
            "rest": request.rest(),
            "token": conn.query("token"),
            "user": request.header("x-user"),
            "agent": request.header("user-agent"),
            "cookie": request.header("cookie"),
            "tags": conn.tags(),
        }))?;
        ctx.broadcast(Message::text(format!("joined {}", conn.id()))).except(conn).send()
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        let Some(text) = message.as_text() else {
            return conn.send(message);
        };
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["version"] => conn.send(Message::text(VERSION)),
            ["close", code, reason] => conn.close(code.parse()?, reason),
            ["close"] => conn.close_without_code(),
            ["large", bytes] => conn.send(Message::text("x".repeat(bytes.parse()?))),
            ["count"] => {
                let count = ctx.storage().get("count")?.unwrap_or(0_u32) + 1;
                ctx.storage().put("count", &count)?;
                conn.send(Message::text(format!("count {count}")))
            }
            ["fail"] => bail!("as requested"),
            ["others", word] => ctx.broadcast(Message::text(word)).except(conn).send(),
            _ => conn.send(message),
        }
    }

    fn on_close(&mut self, ctx: &Context, conn: &Connection, close: Close) -> Result {
        let Close { code, reason, clean } = close;
        let how = if clean { "clean" } else { "broken" };
        let text = format!("left {} {code} {reason} {how}", conn.id());
        ctx.broadcast(Message::text(text)).send()
    }

    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        match (request.method(), request.rest()) {
            ("POST", "/echo") => {
                let kind = request.header("content-type").unwrap_or("application/octet-stream");
                let echo = Response::status(201).with_header("content-type", kind);
                Ok(echo.with_body(request.body()))
            }
            ("GET", "/fail") => bail!("as requested"),
            ("GET", "/cookies") => {
                let tags = Response::json(&request.query_all("tag"))?;
                let one = tags.with_header_added("set-cookie", "a=1; Path=/");
                Ok(one.with_header_added("set-cookie", "b=2; Path=/"))
            }
            (method, rest) => Response::json(&json!({
                "method": method,
                "rest": rest,
                "room": ctx.name(),
                "party": ctx.party(),
                "token": request.query("token"),
                "user": request.header("x-user"),
                "cookie": request.header("cookie"),
            })),
        }
    }

    fn on_before_connect(request: Request, lobby: &Lobby) -> Result<Verdict> {
        for cookie in request.query_all("set") {
            lobby.add_response_header("set-cookie", &format!("{cookie}; Path=/; HttpOnly"));
        }
        if let Some(whom) = request.query("refuse") {
            println!("refused {whom} in {}/{}", lobby.party(), lobby.room());
            return Ok(Verdict::refuse(4403, "not you"));
        }
        ensure!(request.query("throw").is_none(), "bad token");
        let user = request.query("token").unwrap_or_default();
        let request = request.with_header("x-user", &user);
        Ok(Verdict::forward(match request.query("choose") {
            Some(protocol) => request.with_header("sec-websocket-protocol", &protocol),
            None => request,
        }))
    }

    fn on_before_request(request: Request, _: &Lobby) -> Result<Verdict> {
        if request.query("refuse").is_some() {
            return Ok(Verdict::refuse(4403, "not you"));
        }
        if request.query("answer").is_some() {
            return Ok(Verdict::respond(Response::text("from the door").with_status(418)));
        }
        Ok(Verdict::forward(request.with_header("x-user", "checked")))
    }
}

room_sdk::export!(Conformance);
