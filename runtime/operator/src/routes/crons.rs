//! `/crons`: the crons of the project. Owns the JSON of each.
//!
//! Invariant: a cron that is run by an operator keeps its planned times. It does not know when a cron is due.
//!
//! ```text
//! GET  /crons               {"crons":[{"name":"prune","schedule":"0 3 * * *","next_ms":0,"last":{…},…}]}
//! POST /crons/:name/run     calls its rooms now, each once: {"name":"prune","rooms":1,"dropped":0,"error":null,…}
//! ```
//!
//! A run that takes longer than `request_ms_max` is answered with `"running":true`, and goes on.

use super::query::Query;
use crate::{Operator, OperatorError};
use axum::Json;
use http::Uri;
use percent_encoding::percent_decode_str;
use room_core::limits::ms;
use room_core::logs::LogLevel;
use room_rooms::crons::{CronAskError, CronReport};
use room_store::CronOutcome;
use serde_json::{Value, json};

pub(super) async fn list(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    Query::of(&uri, &[])?;
    let crons: Vec<Value> = operator.0.crons.list().iter().map(shown).collect();
    Ok(Json(json!({ "crons": crons })))
}

pub(super) async fn run(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    Query::of(&uri, &[])?;
    let name = name_of(uri.path());
    let answer = operator.0.crons.ask(&name).map_err(|error| match error {
        CronAskError::Unknown => OperatorError::NoCron(name.clone()),
        CronAskError::Running => OperatorError::CronRuns(name.clone()),
    })?;
    let asked = format!("the cron {name:?} is run for an operator");
    operator.0.rooms.logs().node(LogLevel::Info, &asked);
    let patience = ms(operator.0.limits.request_ms_max);
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(outcome)) => {
            let mut shown = ended(&outcome);
            shown["name"] = name.into();
            shown["running"] = false.into();
            Ok(Json(shown))
        }
        // A deployment has removed it.
        Ok(Err(_)) => Err(OperatorError::NoCron(name)),
        Err(_) => Ok(Json(json!({ "name": name, "running": true }))),
    }
}

/// Returns the name in the path of a run.
fn name_of(path: &str) -> String {
    let name = path.strip_prefix("/crons/").and_then(|rest| rest.strip_suffix("/run"));
    percent_decode_str(name.unwrap_or_default()).decode_utf8_lossy().into_owned()
}

fn shown(report: &CronReport) -> Value {
    let setting = &report.cron.setting;
    json!({
        "name": setting.name,
        "schedule": setting.schedule,
        "zone": setting.zone,
        "party": report.cron.party.as_str(),
        "room": report.cron.room.as_ref().map(|room| room.name()),
        "next_ms": report.next_ms,
        "running_ms": report.running,
        "last": report.outcome.as_ref().map(ended),
    })
}

fn ended(outcome: &CronOutcome) -> Value {
    json!({
        "at_ms": outcome.at_ms,
        "ended_ms": outcome.ended_ms,
        "rooms": outcome.rooms,
        "dropped": outcome.dropped,
        "error": outcome.error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_cron_is_decoded_once() {
        assert_eq!(name_of("/crons/prune/run"), "prune");
        assert_eq!(name_of("/crons/a%20b%2520/run"), "a b%20");
        assert_eq!(name_of("/crons"), "");
    }
}
