//! `/tickets`: tickets for clients, which the operator hands out. Owns the JSON of a request for one.
//!
//! Invariant: the log says for which rooms a ticket was made, and never the ticket. It does not know how one is checked.
//!
//! ```text
//! POST /tickets   {"party":"main","room":"lobby","ms":60000,"capabilities":["read"],"once":true,"claims":{"sub":"ann"}}
//!                 {"ticket":"rt1.…","party":"main","room":"lobby"}
//! ```
//!
//! Without `room`, the ticket opens every room of the party.

use super::query::{Query, invalid};
use crate::{Operator, OperatorError};
use axum::Json;
use axum::body::Bytes;
use http::Uri;
use room_core::identity::Capabilities;
use room_core::logs::LogLevel;
use room_door::TicketGrant;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The body of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketRequest {
    party: String,
    room: Option<String>,
    ms: u64,
    capabilities: Vec<String>,
    #[serde(default)]
    once: bool,
    claims: Option<Map<String, Value>>,
}

pub(super) async fn make(
    operator: Operator,
    uri: Uri,
    body: Bytes,
) -> Result<Json<Value>, OperatorError> {
    Query::of(&uri, &[])?;
    let asked: TicketRequest = serde_json::from_slice(&body).map_err(|error| {
        let form =
            "{\"party\":\"main\",\"room\":\"lobby\",\"ms\":60000,\"capabilities\":[\"read\"]}";
        invalid(format!("the body is invalid: expected {form}: {error}"))
    })?;
    let mut capabilities = Capabilities::NONE;
    for name in &asked.capabilities {
        let one = Capabilities::named(name).ok_or_else(|| {
            invalid(format!("{name:?} is not a capability: write read, write or presence"))
        })?;
        capabilities = capabilities.with(one);
    }
    let TicketRequest { party, room, ms, once, claims, .. } = asked;
    let claims = claims.map(|claims| Value::Object(claims).to_string());
    let grant = TicketGrant { party, room, ms, capabilities, once, claims };
    let opens = format!("{}/{}", grant.party, grant.room.as_deref().unwrap_or("*"));
    let shown = json!({ "party": grant.party, "room": grant.room });
    let ticket = operator.0.door.ticket(grant)?.map_err(invalid)?;
    let text = format!("a ticket for {opens:?} is made for an operator");
    operator.0.rooms.logs().node(LogLevel::Info, &text);
    let mut answer = shown;
    answer["ticket"] = ticket.into();
    Ok(Json(answer))
}
