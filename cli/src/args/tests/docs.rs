//! Command lines in the documentation: `room` accepts each of them.

use super::super::*;
use clap::CommandFactory as _;
use std::collections::BTreeSet;

const GUIDE: &str = include_str!("../../../README.md");
const FRONT: &str = include_str!("../../../../README.md");
const GALLERY: &str = include_str!("../../../../rooms-examples/README.md");
const MAP: &str = include_str!("../../../../runtime/ARCHITECTURE.md");
const PROMISES: &str = include_str!("../../../../runtime/PROMISES.md");
const DECISIONS: &str = include_str!("../../../../runtime/DECISIONS.md");
const CONTRIBUTING: &str = include_str!("../../../../CONTRIBUTING.md");
const CLUSTER: &str = include_str!("../../../../runtime/CLUSTER.md");

/// Returns the text between backticks that starts with `room` or a variable before it.
fn spans(text: &str) -> Vec<String> {
    let mut outside = String::new();
    let mut is_fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            outside.push_str(line);
            outside.push('\n');
        }
    }
    let spans = outside.split('`').skip(1).step_by(2);
    spans.map(|span| span.replace('\n', " ")).filter(|span| span.starts_with("room ")).collect()
}

/// Returns two command lines for a synopsis: with all optional parts, and without.
fn lines(synopsis: &str) -> [Vec<String>; 2] {
    let mut depth = 0;
    let (mut all, mut least) = (String::new(), String::new());
    for c in synopsis.replace("\\|", "|").replace('…', "").chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            c => {
                all.push(c);
                if depth == 0 {
                    least.push(c);
                }
            }
        }
    }
    [words(&all), words(&least)]
}

/// Returns the words of a line, with the first of each choice, and a valid value for each placeholder.
fn words(line: &str) -> Vec<String> {
    let words = shlex::split(line).unwrap_or_else(|| panic!("a quote is left open: {line}"));
    let filled = words.iter().map(|word| {
        match word.split('|').next().unwrap_or_default() {
            "ADDRESS" => "127.0.0.1:0",
            "URL" => "http://127.0.0.1:1998",
            "N" | "VERSION" => "1",
            "LEVEL" => "warn",
            "SCENARIO" => "echo",
            "SHELL" => "bash",
            "CIDR" => "10.0.0.0/8",
            "TIME" => "60s",
            "NODE" => "a",
            "NODE=URL" => "b=http://10.0.0.2:1999",
            "HOST:PORT" => "10.0.0.1:1999",
            word => word,
        }
        .to_owned()
    });
    filled.collect()
}

/// Returns clap's error about a line, unless the line only lacks a part that a sentence leaves out, or that the
/// environment may have: the server to ask.
fn refusal(line: &[String], is_whole: bool) -> Option<String> {
    use clap::error::ContextKind::InvalidArg;
    use clap::error::ContextValue::Strings;
    use clap::error::ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion,
        MissingRequiredArgument, MissingSubcommand,
    };
    let error = Args::try_parse_from(line).err()?;
    let is_fine = match (error.kind(), error.get(InvalidArg)) {
        (DisplayHelp | DisplayVersion, _) => true,
        (MissingRequiredArgument, Some(Strings(missing))) if is_whole => {
            missing.iter().all(|arg| arg.starts_with("--to"))
        }
        (MissingRequiredArgument | MissingSubcommand, _) => !is_whole,
        (DisplayHelpOnMissingArgumentOrSubcommand, _) => !is_whole,
        _ => false,
    };
    (!is_fine).then(|| format!("{}\n{error}", line.join(" ")))
}

#[test]
fn the_parser_accepts_every_command_in_the_documentation() {
    let sdk = include_str!("../../../../sdk/src/lib.rs");
    let texts = [GUIDE, FRONT, GALLERY, MAP, PROMISES, DECISIONS, CONTRIBUTING, CLUSTER, sdk];
    let mut refused = Vec::new();
    for span in texts.iter().flat_map(|text| spans(text)) {
        for line in lines(&span) {
            refused.extend(refusal(&line, false));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn the_parser_accepts_every_example_of_a_manual_page() {
    let mut refused = Vec::new();
    let mut count = 0;
    for command in Args::command().get_subcommands() {
        let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines().filter_map(|line| line.strip_prefix("  room ")) {
            // The rest of the line is for the shell.
            for line in format!("room {line}").split(" && ") {
                let line = line.split(" | ").next().unwrap_or_default();
                let line = line.split(['>', '<', '#']).next().unwrap_or_default();
                refused.extend(refusal(&words(line), true));
                count += 1;
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(count > 30, "only {count} examples were found");
}

#[test]
fn the_guide_has_a_row_for_every_command() {
    let rows = GUIDE.lines().filter(|line| line.starts_with("| `room "));
    let in_rows: BTreeSet<String> = rows
        .flat_map(|row| spans(row.split(" | ").next().unwrap_or_default()))
        .filter_map(|span| span.split_whitespace().nth(1).map(str::to_owned))
        .collect();
    let command = Args::command();
    let there = command.get_subcommands().map(|command| command.get_name().to_owned());
    assert_eq!(in_rows, there.filter(|name| name != "help").collect());
}

#[test]
fn the_parser_accepts_the_commands_that_packages_start() {
    let unit = include_str!("../../../packaging/room.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/"));
    let image = include_str!("../../../packaging/Dockerfile");
    let command = image.lines().find_map(|line| line.strip_prefix("CMD "));
    let command: Vec<String> = serde_json::from_str(command.unwrap()).unwrap();
    let command = [vec!["room".to_owned()], command].concat();
    for (line, stop_max) in [(words(start.unwrap()), 90), (command, 10)] {
        let Command::Serve(args) = Args::try_parse_from(&line).unwrap().command else {
            panic!("it is a server: {line:?}");
        };
        // The process that stops it must wait longer than it takes.
        assert!(args.drain_seconds < stop_max, "{line:?}");
    }
    assert!(unit.contains("\nTimeoutStopSec=90\n"));
}
