//! `/rooms/:party/:room`: one room. Owns what an operator reads of it, and how its clients are closed.
//!
//! Invariant: of the URL that a client connected with, only the client's id keeps its value in the query, because
//! clients put their secrets into other values. It does not know how a room is asked.
//!
//! ```text
//! GET    /rooms/:party/:room?connections=&after=   the state of the room; does not wake it
//! DELETE /rooms/:party/:room                       deletes the stored data, and closes all clients with 4410
//! POST   /rooms/:party/:room/close                 closes all clients with 1012, so that they reconnect
//! POST   /rooms/:party/:room/kick                  {"connection":ID,"code":4403,"reason":"…"}
//! ```

use super::PAGE;
use super::query::{Query, invalid};
use super::target::RoomTarget;
use crate::look::RoomInspection;
use crate::{Operator, OperatorError};
use axum::Json;
use axum::body::Bytes;
use http::Uri;
use room_core::connection::Link;
use room_core::event::CloseFrame;
use room_core::id::Serial;
use room_core::jobs::{JobAccount, JobTally, JobsSummary, OutcallSummary};
use room_core::limits::{Limits, size};
use room_rooms::room::{
    ActorReport, ClientWindow, ConnectionSummary, FaultRecord, LogSummary, RoomSnapshot,
};
use room_store::{EntryLine, OutboundFacts};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The close code for a kicked client. As with all 44xx codes, reconnecting is useless.
const KICKED: u16 = 4403;
/// The close code for the clients of a deleted room.
const DELETED: u16 = 4410;

pub(super) async fn inspect(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    let limits = &operator.0.limits;
    let target = RoomTarget::of(&operator, &uri)?;
    let query = Query::of(&uri, &["connections", "after"])?;
    let clients_max = size(query.number("connections", PAGE, limits.admin_page_entries_max)?);
    let after = query.number("after", 0, u64::MAX)?;
    let after = (after > 0).then_some(Serial(after));
    let window = ClientWindow { after, clients_max, bytes_max: size(limits.admin_page_bytes_max) };
    let looked = operator.inspect(&target.room, window).await?;
    Ok(Json(report(&target, &looked, limits)))
}

pub(super) async fn delete(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    let target = RoomTarget::of(&operator, &uri)?;
    Query::of(&uri, &[])?;
    let frame = CloseFrame::new(DELETED, "the room was deleted");
    let (connections, facts) = operator.delete(&target.room, frame).await?;
    Ok(Json(json!({
        "room": target.room.to_string(),
        "connections": connections,
        "keys": facts.map_or(0, |facts| facts.keys),
        "bytes": facts.map_or(0, |facts| facts.bytes),
    })))
}

pub(super) async fn close(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    let target = RoomTarget::of(&operator, &uri)?;
    Query::of(&uri, &[])?;
    let frame = CloseFrame::new(1012, "the room was closed by its operator");
    let connections = operator.close(&target.room, frame).await?;
    let room = target.room.to_string();
    Ok(Json(json!({ "room": room, "connections": connections })))
}

/// The body of a kick.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KickRequest {
    connection: String,
    code: Option<u16>,
    reason: Option<String>,
}

pub(super) async fn kick(
    operator: Operator,
    uri: Uri,
    body: Bytes,
) -> Result<Json<Value>, OperatorError> {
    let target = RoomTarget::of(&operator, &uri)?;
    Query::of(&uri, &[])?;
    let kick: KickRequest = serde_json::from_slice(&body).map_err(|error| {
        let form = "{\"connection\":ID,\"code\":4403,\"reason\":\"why\"}";
        invalid(format!(
            "the body is invalid: expected {form}, where code and reason are optional: {error}"
        ))
    })?;
    let frame = frame(kick.code.unwrap_or(KICKED), kick.reason)?;
    let (room, id) = (target.room.to_string(), kick.connection.clone());
    let (code, reason) = (frame.code, frame.reason.clone());
    operator.kick(&target.room, kick.connection, frame).await?;
    let said = json!({ "room": room, "connection": id, "code": code, "reason": reason });
    Ok(Json(said))
}

/// Returns the close frame for a connection, with any code that its room could use.
fn frame(code: u16, reason: Option<String>) -> Result<CloseFrame, OperatorError> {
    let reason = reason.unwrap_or_else(|| "closed by the operator".to_owned());
    let frame = CloseFrame { code, reason };
    if !frame.has_sendable_code() {
        let codes = CloseFrame::CODES;
        return Err(invalid(format!("a connection is closed with {codes}, not with {code}")));
    }
    let (length, max) = (frame.reason.len(), CloseFrame::REASON_BYTES_MAX);
    if length > max {
        return Err(invalid(format!("a reason has at most {max} bytes, this one {length}")));
    }
    Ok(frame)
}

// The report.

fn report(target: &RoomTarget, looked: &RoomInspection, limits: &Limits) -> Value {
    let facts = looked.facts.unwrap_or_default();
    let alarm = facts.alarm.map(|alarm| json!({ "due_ms": alarm.due_ms, "tries": alarm.tries }));
    let mut report = json!({
        "party": target.room.party().as_str(),
        "room": target.room.name(),
        "phase": looked.stage().name(),
        "storage": { "keys": facts.keys, "bytes": facts.bytes, "turns": facts.turns },
        "alarm": alarm,
        "timers": timers(looked),
        "webhooks": { "waiting": looked.webhooks.waiting, "dead": looked.webhooks.dead },
        "expires_ms": looked.expires_ms,
    });
    if let Some(stored) = facts.outbound {
        let OutboundFacts { floor, newest, entries, bytes } = stored;
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        report["log"] = log(&LogSummary { newest, floor, entries, bytes, suspended: 0 });
    }
    let Some(look) = &looked.look else { return report };
    add_figures(&mut report, &look.glance);
    report["recent_faults"] = look.faults.iter().map(fault).collect();
    // A room that did not answer in time is busy.
    report["busy"] = look.report.is_none().into();
    if let Some(words) = &look.report {
        report["module"] = words.module.to_string().into();
        let memory = words.memory_bytes;
        let memory = memory.map(|bytes| json!({ "bytes": bytes, "max": limits.memory_bytes_max }));
        report["memory"] = memory.into();
        report["waiting_events"] = words.waiting.into();
        report["held_bytes"] = words.held_bytes.into();
        report["requests"] = requests(words);
        report["ticks_ms"] = words.ticks.map(millis).into();
        report["streams"] = json!({ "count": words.streams.count, "bytes": words.streams.bytes });
        report["log"] = words.log.as_ref().map(log).into();
        report["presence"] = words.present.map(|users| json!({ "users": users })).into();
        report["connections"] = words.clients.iter().map(client).collect();
        let last = words.clients.last().filter(|_| words.more);
        report["next"] = last.map(|last| last.connection.serial.0.to_string()).into();
    }
    report
}

/// Returns what a room remembers of its messages.
fn log(log: &LogSummary) -> Value {
    json!({
        "epoch": log.newest.epoch.to_string(),
        "newest": log.newest.to_string(),
        "floor": log.floor.to_string(),
        "messages": log.entries,
        "bytes": log.bytes,
        "away": log.suspended,
    })
}

/// Returns what is known of the room's timers. A room that is not in memory has not counted them.
fn timers(looked: &RoomInspection) -> Value {
    let words = looked.look.as_ref().and_then(|look| look.report.as_ref());
    match words.map(|words| words.jobs) {
        Some(JobsSummary { tallies, next_ms }) => {
            let JobTally { count, bytes } = tallies.of(JobAccount::Timers);
            json!({ "count": count, "bytes": bytes, "next_ms": next_ms })
        }
        None => {
            let next_ms = looked.facts.and_then(|facts| facts.wake.due_ms());
            json!({ "count": null, "bytes": null, "next_ms": next_ms })
        }
    }
}

/// Returns the requests of a room to other servers and rooms.
fn requests(words: &ActorReport) -> Value {
    let JobTally { count, bytes } = words.jobs.tallies.of(JobAccount::Outcalls);
    let oldest = words.outcalls.iter().map(|OutcallSummary { id, tag, target, tries }| {
        json!({ "id": id.to_string(), "tag": tag, "target": target, "tries": tries })
    });
    json!({
        "count": count,
        "bytes": bytes,
        "running": words.running,
        "oldest": oldest.collect::<Vec<_>>(),
        "receipts": words.jobs.tallies.of(JobAccount::Receipts).count,
    })
}

fn add_figures(report: &mut Value, glance: &RoomSnapshot) {
    report["connection_count"] = glance.connections.into();
    report["messages_in"] = glance.messages_in.into();
    report["messages_out"] = glance.messages_out.into();
    report["last_active_ms"] = glance.last_active_ms.into();
    report["faults"] = glance.faults.into();
    report["rests_ms"] = glance.rests.map(millis).into();
    let at_work =
        glance.at_work.map(|(event, since)| json!({ "event": event, "for_ms": millis(since) }));
    report["at_work"] = at_work.into();
    let times = glance.times;
    report["turn_times"] = json!({
        "count": times.count,
        "mean_us": times.mean_us,
        "p50_us": times.p50_us,
        "p99_us": times.p99_us,
        "longest_us": times.longest_us,
    });
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn fault(fault: &FaultRecord) -> Value {
    json!({
        "at_ms": fault.at_ms,
        "event": fault.event,
        "reason": fault.reason,
        "backtrace": fault.backtrace,
    })
}

fn client(client: &ConnectionSummary) -> Value {
    let connection = &client.connection;
    let state = serde_json::to_value(EntryLine::of_value(&connection.state)).unwrap_or_default();
    json!({
        "id": connection.id.as_str(),
        "uri": without_secrets(&connection.uri),
        "transport": connection.transport.as_str(),
        "tags": connection.tags.to_vec(),
        "state": (!connection.state.is_empty()).then_some(state),
        "state_bytes": connection.state.len(),
        "lag": { "messages": client.lag_messages, "bytes": client.lag_bytes },
        "since_ms": client.since_ms,
        "closing": connection.link == Link::Closing,
        "away": client.is_away,
    })
}

/// Returns a URL without the values in its query, except for the client's id.
fn without_secrets(uri: &str) -> String {
    let Some((path, query)) = uri.split_once('?') else { return uri.to_owned() };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some(("_pk", _)) | None => pair.to_owned(),
            Some((_, "")) => pair.to_owned(),
            Some((name, _)) => format!("{name}=…"),
        })
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_address_is_shown_without_its_query() {
        for (uri, shown) in [
            ("http://h/party/x", "http://h/party/x"),
            ("http://h/party/x?", "http://h/party/x?"),
            ("http://h/x?_pk=a&token=s3cret&flag&e=", "http://h/x?_pk=a&token=…&flag&e="),
            ("http://h/x?t=a=b?c", "http://h/x?t=…"),
        ] {
            assert_eq!(without_secrets(uri), shown);
        }
    }

    #[test]
    fn operators_may_use_the_same_close_codes_as_rooms() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 5000, u16::MAX] {
            assert!(frame(code, None).is_err(), "{code}");
        }
        for code in [1000, 1003, 1007, 1009, 1014, 1016, 2000, 2999, 3000, 4999] {
            assert!(frame(code, None).is_ok(), "{code}");
        }
        assert_eq!(frame(4000, Some("why".to_owned())), Ok(CloseFrame::new(4000, "why")));
        assert!(frame(4000, Some("x".repeat(124))).is_err());
    }
}
