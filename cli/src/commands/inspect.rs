//! `room inspect`. Owns the layout of one room.
//!
//! Invariant: the text for people has everything that the JSON has, except empty values. It does not know how the
//! room was asked.

use crate::args::operate::InspectArgs;
use crate::operator::{Operator, ago, span};
use crate::print::counted;
use crate::progress::amount;
use serde_json::Value;
use std::process::ExitCode;

/// Shows a room.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::find(&args.server)?;
    let room = operator.room(&args.room)?;
    let after = args.after.map(|after| format!("&after={after}")).unwrap_or_default();
    let query = format!("?connections={}{after}", args.connections);
    let report = operator.about(&room, ("GET", &query), &[])?;
    operator.print(&report, shown)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a room as a person reads it.
fn shown(report: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("{}/{}", text(&report["party"]), text(&report["room"]))];
    let mut line = |name: &str, told: String| lines.push(format!("  {name:<12} {told}"));
    line("phase", phase(report));
    let storage = &report["storage"];
    line("storage", amounts(&storage["keys"], &storage["bytes"]));
    if let Some(due) = report["alarm"]["due_ms"].as_u64() {
        let tries = report["alarm"]["tries"].as_u64().filter(|tries| *tries > 0);
        let tries =
            tries.map(|tries| format!(", failed {}", counted(tries, "time"))).unwrap_or_default();
        line("alarm", format!("{}{tries}", ago(due)));
    }
    if let Some(count) = report["requests"]["count"].as_u64().filter(|count| *count > 0) {
        let running = report["requests"]["running"].as_u64().unwrap_or_default();
        line("requests", format!("{count} without an answer, {running} under way"));
    }
    if let Some(next) = report["timers"]["next_ms"].as_u64() {
        let count = report["timers"]["count"].as_u64();
        let count = count.map(|count| format!("{}, ", counted(count, "timer"))).unwrap_or_default();
        line("timers", format!("{count}next {}", ago(next)));
    }
    if let Some(pause) = report["ticks_ms"].as_u64() {
        line("ticks", format!("every {pause} ms"));
    }
    let streams = &report["streams"];
    if streams["count"].as_u64().unwrap_or_default() > 0 {
        let queued = counted(&streams["bytes"], "byte");
        line("streams", format!("{} open, {queued} queued", streams["count"]));
    }
    let log = &report["log"];
    if log.is_object() {
        let kept = [counted(&log["messages"], "message"), counted(&log["bytes"], "byte")];
        let (newest, away) = (text(&log["newest"]), counted(&log["away"], "client"));
        line("remembers", format!("{}, newest {newest}, {away} away", kept.join(", ")));
    }
    if report["presence"].is_object() {
        line("present", counted(&report["presence"]["users"], "user"));
    }
    let count = |name: &str| report["webhooks"][name].as_u64().unwrap_or_default();
    if count("waiting") + count("dead") > 0 {
        line("webhooks", format!("{} wait, {} dead", count("waiting"), count("dead")));
    }
    if let Some(due) = report["expires_ms"].as_u64() {
        line("expires", format!("{}, if nobody uses it", ago(due)));
    }
    if report["module"].is_string() {
        line("module", text(&report["module"]));
    }
    let memory = &report["memory"];
    if let (Some(bytes), Some(max)) = (memory["bytes"].as_u64(), memory["max"].as_u64()) {
        line("memory", format!("{}, of {} that a room may have", amount(bytes), amount(max)));
    }
    if let Some(active) = report["last_active_ms"].as_u64() {
        line("active", ago(active));
        let (came, went) = (&report["messages_in"], &report["messages_out"]);
        line("messages", format!("{came} in, {went} out"));
        line("turns", turns(&report["turn_times"]));
        line("faults", report["faults"].to_string());
        line("connections", report["connection_count"].to_string());
    }
    lines.extend(list(&report["connections"]).map(connection));
    if let Some(next) = report["next"].as_str() {
        lines.push(format!("    … more: --after {next}"));
    }
    lines.extend(list(&report["recent_faults"]).map(fault));
    lines.join("\n")
}

/// Returns the number of keys with their bytes.
pub(super) fn amounts(keys: &Value, bytes: &Value) -> String {
    format!("{}, {}", counted(keys, "key"), counted(bytes, "byte"))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn phase(report: &Value) -> String {
    let mut told = report["phase"].as_str().unwrap_or_default().to_owned();
    if let Some(rests) = report["rests_ms"].as_u64() {
        told.push_str(&format!(", rests for {}", span(rests)));
    }
    if report["busy"] == true {
        told.push_str(", busy");
    }
    if let Some(event) = report["at_work"]["event"].as_str() {
        let since = report["at_work"]["for_ms"].as_u64().unwrap_or_default();
        told.push_str(&format!(", at work on {event} for {}", span(since)));
    }
    told
}

fn turns(times: &Value) -> String {
    let ms = |name: &str| {
        let micros = times[name].as_u64().unwrap_or_default();
        format!("{}.{:03} ms", micros / 1_000, micros % 1_000)
    };
    let [mean, half, most, longest] = ["mean_us", "p50_us", "p99_us", "longest_us"].map(ms);
    format!("{}, mean {mean}, p50 {half}, p99 {most}, longest {longest}", times["count"])
}

fn connection(connection: &Value) -> String {
    let id = connection["id"].as_str().unwrap_or_default();
    let mut told = format!("    {id}  {}", connection["uri"].as_str().unwrap_or_default());
    if let Some(transport) = connection["transport"].as_str().filter(|name| *name != "websocket") {
        told.push_str(&format!("  by {transport}"));
    }
    let tags: Vec<&str> = list(&connection["tags"]).filter_map(Value::as_str).collect();
    if !tags.is_empty() {
        told.push_str(&format!("  tags {}", tags.join(",")));
    }
    if let Some((_, state)) = connection["state"].as_object().and_then(|state| state.iter().next())
    {
        told.push_str(&format!("  state {state}"));
    }
    let lag = &connection["lag"];
    if lag["messages"].as_u64().unwrap_or_default() > 0 {
        told.push_str(&format!(
            "  behind by {}, {}",
            counted(&lag["messages"], "message"),
            counted(&lag["bytes"], "byte")
        ));
    }
    if connection["closing"] == true {
        told.push_str("  closing");
    }
    if connection["away"] == true {
        told.push_str("  away");
    }
    told
}

fn fault(fault: &Value) -> String {
    let at = ago(fault["at_ms"].as_u64().unwrap_or_default());
    let text = |name: &str| fault[name].as_str().unwrap_or_default();
    let mut told = format!("  fault {at}, {}: {}", text("event"), text("reason"));
    for frame in text("backtrace").lines() {
        told.push_str(&format!("\n    {frame}"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_printed_line_by_line() {
        let report = serde_json::json!({
            "party": "main", "room": "lobby", "phase": "broken", "rests_ms": 5_000, "busy": true,
            "at_work": {"event": "message", "for_ms": 1_500},
            "storage": {"keys": 2, "bytes": 30}, "alarm": null, "module": "0123abcd",
            "memory": {"bytes": 1_310_720, "max": 16_777_216},
            "timers": {"count": 0, "bytes": 0, "next_ms": null}, "ticks_ms": 50,
            "streams": {"count": 3, "bytes": 9}, "webhooks": {"waiting": 2, "dead": 1},
            "log": {
                "epoch": "7", "newest": "7-42", "floor": "7-12", "messages": 30, "bytes": 900,
                "away": 1,
            },
            "presence": {"users": 3},
            "connections": [{
                "id": "a", "uri": "http://h/party/lobby?_pk=a", "tags": ["red"],
                "state": {"json": {"x": 1}}, "lag": {"messages": 2, "bytes": 9}, "closing": false,
                "transport": "websocket",
            }, {
                "id": "b", "uri": "http://h/party/lobby?_pk=b", "tags": [], "state": null,
                "lag": {"messages": 0, "bytes": 0}, "transport": "long-poll", "away": true,
            }],
            "next": "7",
        });
        expect_test::expect![[r#"
            main/lobby
              phase        broken, rests for 5 s, busy, at work on message for 1 s
              storage      2 keys, 30 bytes
              ticks        every 50 ms
              streams      3 open, 9 bytes queued
              remembers    30 messages, 900 bytes, newest 7-42, 1 client away
              present      3 users
              webhooks     2 wait, 1 dead
              module       0123abcd
              memory       1.2 MiB, of 16.0 MiB that a room may have
                a  http://h/party/lobby?_pk=a  tags red  state {"x":1}  behind by 2 messages, 9 bytes
                b  http://h/party/lobby?_pk=b  by long-poll  away
                … more: --after 7
        "#]]
        .assert_eq(&format!("{}\n", shown(&report)));
    }

    #[test]
    fn turn_times_are_printed_in_milliseconds() {
        let times = serde_json::json!({
            "count": 3, "mean_us": 1_234, "p50_us": 64, "p99_us": 2_048, "longest_us": 2_000,
        });
        assert_eq!(turns(&times), "3, mean 1.234 ms, p50 0.064 ms, p99 2.048 ms, longest 2.000 ms");
    }
}
