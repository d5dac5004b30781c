//! `/webhooks`: the webhooks of the project. Owns the JSON of each.
//!
//! Invariant: no query of a URL and no secret is in it. It does not know when a webhook is sent.
//!
//! ```text
//! GET  /webhooks                   {"url":"https://…","waiting":1,"dead":0,"next":[{"id":"msg_…","tries":1,…}],"letters":[]}
//! POST /webhooks/retry?id=msg_…    sends it now: {"changed":1}; without id, all dead letters
//! POST /webhooks/discard?id=msg_…  removes it: {"changed":1}; without id, all dead letters
//! ```

use super::PAGE;
use super::query::Query;
use crate::{Operator, OperatorError};
use axum::Json;
use http::Uri;
use room_core::limits::size;
use room_core::logs::LogLevel;
use room_rooms::webhooks::{WebhookChoice, WebhookReport, Webhooks};
use serde_json::{Value, json};

pub(super) async fn list(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    Query::of(&uri, &[])?;
    let list = operator.0.webhooks.list(size(PAGE));
    let shown = |reports: &[WebhookReport]| reports.iter().map(shown).collect::<Vec<_>>();
    Ok(Json(json!({
        "url": list.url,
        "waiting": list.counts.waiting,
        "dead": list.counts.dead,
        "next": shown(&list.waiting),
        "letters": shown(&list.dead),
    })))
}

pub(super) async fn retry(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    change(&operator, &uri, "sent again", Webhooks::retry)
}

pub(super) async fn discard(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    change(&operator, &uri, "discarded", Webhooks::discard)
}

fn change(
    operator: &Operator,
    uri: &Uri,
    what: &str,
    act: impl Fn(&Webhooks, &WebhookChoice) -> u64,
) -> Result<Json<Value>, OperatorError> {
    let query = Query::of(uri, &["id"])?;
    let choice = match query.text("id")? {
        Some(id) => WebhookChoice::One(id.to_owned()),
        None => WebhookChoice::AllDead,
    };
    let changed = act(&operator.0.webhooks, &choice);
    if let (0, WebhookChoice::One(id)) = (changed, choice) {
        return Err(OperatorError::NoWebhook(id));
    }
    let text = format!("{changed} webhooks are {what} for an operator");
    operator.0.rooms.logs().node(LogLevel::Info, &text);
    Ok(Json(json!({ "changed": changed })))
}

fn shown(report: &WebhookReport) -> Value {
    let webhook = &report.webhook;
    json!({
        "id": report.id,
        "event": webhook.event.name(),
        "party": report.room.party().as_str(),
        "room": report.room.name(),
        "connection": webhook.connection.as_ref().map(|connection| connection.id.as_str()),
        "at_ms": webhook.at_ms,
        "tries": webhook.tries,
        "next_ms": webhook.dead_ms.is_none().then_some(webhook.due_ms),
        "dead_ms": webhook.dead_ms,
        "error": webhook.error,
    })
}
