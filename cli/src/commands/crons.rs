//! `room crons`. Owns the layout of the list.
//!
//! Invariant: the text for people has one cron a line. It does not know when a cron is due.

use crate::args::operate::{CronsArgs, CronsCommand};
use crate::operator::{Operator, ago, encoded};
use crate::print::counted;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Lists the crons, or runs one.
pub(crate) fn run(args: &CronsArgs) -> anyhow::Result<ExitCode> {
    match &args.what {
        Some(CronsCommand::Run(args)) => {
            let operator = Operator::find(&args.server)?;
            let path = format!("crons/{}/run", encoded(args.name.as_bytes()));
            let answer = operator.ask("POST", &path, &[])?;
            operator.print(&answer, outcome)?;
        }
        None => {
            let operator = Operator::find(&args.server)?;
            let answer = operator.ask("GET", "crons", &[])?;
            operator.print(&answer, table)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns how an operator's run ended.
fn outcome(answer: &Value) -> String {
    let name = answer["name"].as_str().unwrap_or_default();
    if answer["running"] == json!(true) {
        return format!("{name} still calls its rooms; `room crons` shows how it ends");
    }
    format!("{name}: {}", calls(answer))
}

/// Returns how calls ended.
fn calls(outcome: &Value) -> String {
    let mut text = counted(&outcome["rooms"], "room");
    if outcome["dropped"].as_u64().is_some_and(|dropped| dropped > 0) {
        let error = outcome["error"].as_str().unwrap_or_default();
        text.push_str(&format!(", {} failed: {error}", outcome["dropped"]));
    }
    text
}

/// Returns the crons, one a line, below a heading.
fn table(answer: &Value) -> String {
    let head = ["CRON", "SCHEDULE", "CALLS", "NEXT", "LAST"].map(str::to_owned);
    let crons = answer["crons"].as_array().into_iter().flatten();
    let lines: Vec<[String; 5]> = std::iter::once(head).chain(crons.map(row)).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let line = |[name, schedule, called, next, last]: &[String; 5]| {
        let [a, b, c, d] = widths;
        format!("{name:a$}  {schedule:b$}  {called:c$}  {next:d$}  {last}").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(cron: &Value) -> [String; 5] {
    let text = |name: &str| cron[name].as_str().unwrap_or_default();
    let last = match (&cron["running_ms"], &cron["last"]) {
        (Value::Null, Value::Null) => String::new(),
        (Value::Null, last) => {
            let ended = last["ended_ms"].as_u64().map(ago).unwrap_or_default();
            format!("{ended}: {}", calls(last))
        }
        _ => "calls its rooms now".to_owned(),
    };
    [
        text("name").to_owned(),
        format!("{} {}", text("schedule"), text("zone")),
        format!("{}/{}", text("party"), cron["room"].as_str().unwrap_or("*")),
        cron["next_ms"].as_u64().map(ago).unwrap_or_default(),
        last,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cron_is_a_line_of_the_table() {
        let answer = json!({"crons": [
            {"name": "prune", "schedule": "0 3 * * *", "zone": "Europe/Berlin", "party": "main", "room": "index",
             "next_ms": null, "running_ms": null, "last": null},
            {"name": "all", "schedule": "@daily", "zone": "UTC", "party": "chat", "room": null,
             "next_ms": null, "running_ms": 5, "last": null},
            {"name": "old", "schedule": "@daily", "zone": "UTC", "party": "main", "room": "old", "next_ms": null,
             "running_ms": null, "last": {"rooms": 2, "dropped": 1, "error": "main/x: no", "ended_ms": null}},
        ]});
        expect_test::expect![[r#"
            CRON   SCHEDULE                 CALLS       NEXT  LAST
            prune  0 3 * * * Europe/Berlin  main/index
            all    @daily UTC               chat/*            calls its rooms now
            old    @daily UTC               main/old          : 2 rooms, 1 failed: main/x: no
        "#]]
        .assert_eq(&format!("{}\n", table(&answer)));
        let ran =
            json!({"name": "prune", "running": false, "rooms": 1, "dropped": 0, "error": null});
        assert_eq!(outcome(&ran), "prune: 1 room");
        let runs = json!({"name": "prune", "running": true});
        assert!(outcome(&runs).starts_with("prune still calls"));
    }
}
