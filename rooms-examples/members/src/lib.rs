//! A room for members: each client shows a token of an identity provider, and talks under the name in it.
//!
//! Owns the check of the token, in the hook before the room. Invariant: the room knows only names that a token
//! proved. It does not know passwords: the provider does.
//!
//! A project with one provider needs no code for this: `[auth] jwks = "…"` in `room.toml` has the server check tokens
//! before a hook, and `conn.claims()` is who they name. This hook is for rules that the section does not have, and shows
//! how a hook asks another server.

mod token;

use room_sdk::prelude::*;
use serde::Serialize;

/// The header that the hook sets, in place of whatever the client sent under it.
const MEMBER: &str = "x-member";

/// The room keeps nothing: the name of a member is the state of the connection.
#[derive(Default)]
pub struct Members;

/// What the room sends.
#[derive(Debug, Serialize)]
struct Said<'a> {
    member: &'a str,
    text: &'a str,
}

impl Room for Members {
    fn on_before_connect(request: Request, lobby: &Lobby) -> Result<Verdict> {
        // A browser's WebSocket sends no headers of its own, so the token is in the query.
        let Some(token) = request.query("token") else {
            return Ok(Verdict::refuse(4401, "sign in first"));
        };
        let member = match token::member(&token, lobby) {
            Ok(member) => member,
            Err(refusal) if refusal.is_the_clients() => {
                return Ok(Verdict::refuse(4401, refusal.to_string()));
            }
            // The client may try again: it is not to blame.
            Err(refusal) => {
                log::warn!("a token was not checked: {refusal}");
                return Ok(Verdict::respond(
                    Response::text("the token cannot be checked now").with_status(503),
                ));
            }
        };
        Ok(Verdict::forward(request.with_header(MEMBER, &member).with_query("token", "")))
    }

    fn on_connect(&mut self, _: &Context, conn: &Connection, request: &Request) -> Result {
        let member = request.header(MEMBER).ok_or_else(|| anyhow!("the hook sets the member"))?;
        conn.set_state(member)
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        let member: String = conn.state()?.unwrap_or_default();
        ctx.broadcast(&Said { member: &member, text: message.as_text().unwrap_or_default() });
        Ok(())
    }
}

room_sdk::export!(Members);
