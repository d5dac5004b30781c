//! `room nodes` and `room drain`. Owns the layout of the list of nodes.
//!
//! Invariant: the text for people has one node a line. It does not know how nodes find each other.

use crate::args::cluster::{DrainArgs, NodesArgs};
use crate::operator::{encoded, span};
use crate::remote::Remote;
use serde_json::Value;
use std::process::ExitCode;

/// Lists the nodes of a cluster.
pub(crate) fn nodes(args: &NodesArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::of(&args.remote)?;
    let nodes = remote.ask("GET", "nodes", &[])?;
    remote.print(&nodes, table)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a node hand its rooms over.
pub(crate) fn drain(args: &DrainArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::of(&args.remote)?;
    let path = format!("nodes/{}/drain", encoded(args.node.as_bytes()));
    let done = remote.ask("POST", &path, &[])?;
    remote.print(&done, |_| {
        format!("{} hands its rooms over; `room nodes` shows what is left", args.node)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the nodes, one a line, below a heading. The node that answered has a mark.
fn table(answer: &Value) -> String {
    let head =
        ["", "NODE", "ADDRESS", "VERSION", "LIFE", "SHARDS", "ROOMS", "SOCKETS", "HEARTBEAT", ""];
    let mut lines = vec![head.map(str::to_owned)];
    let own = answer["node"].as_str().unwrap_or_default();
    lines.extend(answer["nodes"].as_array().into_iter().flatten().map(|node| row(node, own)));
    let mut widths = [0; 10];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; 10]| {
        let [mark, name, address, program, life, shards, rooms, sockets, heartbeat, drains] = cells;
        let [a, b, c, d, e, f, g, h, i, _] = widths;
        let numbers =
            format!("{life:>e$}  {shards:>f$}  {rooms:>g$}  {sockets:>h$}  {heartbeat:<i$}");
        format!("{mark:a$} {name:b$}  {address:c$}  {program:d$}  {numbers}  {drains}")
            .trim_end()
            .to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(node: &Value, own: &str) -> [String; 10] {
    let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| node[name].as_u64().map(|n| n.to_string()).unwrap_or_default();
    let heartbeat = node["heartbeat_ms_ago"].as_u64().map(|ms| format!("{} ago", span(ms)));
    [
        if text("name") == own { "→" } else { "" }.to_owned(),
        text("name"),
        text("address"),
        text("program"),
        number("incarnation"),
        number("shards"),
        number("rooms"),
        number("sockets"),
        heartbeat.unwrap_or_default(),
        if node["draining"] == true { "drains" } else { "" }.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_a_line_of_the_table() {
        let answer = serde_json::json!({"node": "a", "nodes": [
            {"name": "a", "address": "10.0.0.1:1999", "program": "0.1.0", "incarnation": 12, "started_ms": 0,
             "heartbeat_ms_ago": 130, "draining": false, "shards": 512, "rooms": 1000, "sockets": 20},
            {"name": "node-b", "address": "[fd00::2]:80", "program": "0.1.0", "incarnation": 9, "started_ms": 0,
             "heartbeat_ms_ago": 2000, "draining": true, "shards": 0, "rooms": null, "sockets": null},
        ]});
        expect_test::expect![[r#"
              NODE    ADDRESS        VERSION  LIFE  SHARDS  ROOMS  SOCKETS  HEARTBEAT
            → a       10.0.0.1:1999  0.1.0      12     512   1000       20  130 ms ago
              node-b  [fd00::2]:80   0.1.0       9       0                  2 s ago     drains
        "#]]
        .assert_eq(&format!("{}\n", table(&answer)));
    }
}
