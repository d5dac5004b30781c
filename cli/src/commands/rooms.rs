//! `room rooms`. Owns the layout of a list of rooms.
//!
//! Invariant: the text for people has one room a line. It does not know how rooms are found.

use crate::args::operate::{RoomSort, RoomsArgs};
use crate::operator::{Operator, ago, word};
use crate::print::{self, DIM, styled};
use clap::ValueEnum as _;
use serde_json::Value;
use std::process::ExitCode;

/// Lists rooms.
pub(crate) fn run(args: &RoomsArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::find(&args.server)?;
    let mut after = args.after.clone();
    let mut is_first = true;
    loop {
        let page = operator.ask("GET", &path(args, after.as_deref()), &[])?;
        operator.print(&page, |page| table(page, is_first))?;
        let Some(next) = page["next"].as_str() else { break };
        if !args.all {
            let more = format_args!("there are more: --all, or --after {next}").to_string();
            print::talk(styled(DIM, more));
            break;
        }
        (after, is_first) = (Some(next.to_owned()), false);
    }
    Ok(ExitCode::SUCCESS)
}

fn path(args: &RoomsArgs, after: Option<&str>) -> String {
    let sort = args.sort.to_possible_value();
    let sort = sort.as_ref().map(clap::builder::PossibleValue::get_name);
    let order = match (args.sort == RoomSort::Name, args.reverse) {
        (true, false) | (false, true) => "asc",
        (true, true) | (false, false) => "desc",
    };
    // It is encoded already.
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    let party = word("party", args.party.as_deref());
    let search = word("search", args.search.as_deref());
    let sort = word("sort", sort);
    format!("rooms?limit={}&order={order}{sort}{party}{search}{after}", args.limit)
}

/// Returns the rooms of a page, one a line, below a heading if it is the first.
fn table(page: &Value, is_first: bool) -> String {
    let head = ["ROOM", "PHASE", "CONNECTIONS", "MESSAGES", "BYTES", "ACTIVE"];
    let mut lines: Vec<[String; 6]> = Vec::new();
    if is_first {
        lines.push(head.map(str::to_owned));
    }
    lines.extend(page["rooms"].as_array().into_iter().flatten().map(row));
    let mut widths = head.map(str::len);
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; 6]| {
        let [room, phase, connections, messages, bytes, active] = cells;
        let [a, b, c, d, e, _] = widths;
        format!("{room:a$}  {phase:b$}  {connections:>c$}  {messages:>d$}  {bytes:>e$}  {active}")
            .trim_end()
            .to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(room: &Value) -> [String; 6] {
    let number = |name: &str| room[name].as_u64();
    let shown = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |name: &str| room[name].as_str().unwrap_or_default();
    let messages = number("messages_in").zip(number("messages_out")).map(|(a, b)| a + b);
    [
        format!("{}/{}", text("party"), text("room")),
        text("phase").to_owned(),
        shown(number("connections")),
        shown(messages),
        shown(number("bytes")),
        number("last_active_ms").map(ago).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_room_is_a_line_of_the_table() {
        let page = serde_json::json!({"next": null, "rooms": [
            {"party": "main", "room": "lobby", "phase": "running", "bytes": 12, "connections": 3,
             "messages_in": 4, "messages_out": 5},
            {"party": "game", "room": "é", "phase": "asleep", "bytes": 1234567},
        ]});
        expect_test::expect![[r#"
            ROOM        PHASE    CONNECTIONS  MESSAGES    BYTES  ACTIVE
            main/lobby  running            3         9       12
            game/é      asleep                          1234567
        "#]]
        .assert_eq(&format!("{}\n", table(&page, true)));
        assert!(!table(&page, false).contains("PHASE"));
    }
}
