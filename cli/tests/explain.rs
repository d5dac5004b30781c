//! The codes of mistakes: what `room explain` says leads to one does.
#![cfg(unix)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a line of shell in a folder, in which `room` is the command under test.
fn shell(dir: &Path, line: &str) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_room")).parent().expect("it lies in a folder");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [bin.to_owned()].into_iter().chain(std::env::split_paths(&path));
    let mut command = Command::new("sh");
    for name in ["ROOM_PROJECT", "ROOM_DATA", "ROOM_PORT", "ROOM_HOST", "ROOM_LOG", "ROOM_SDK"] {
        command.env_remove(name);
    }
    for name in ["ROOM_TO", "ROOM_TOKEN", "ROOM_CA_FILE"] {
        command.env_remove(name);
    }
    command
        .args(["-c", line])
        .current_dir(dir)
        .env("PATH", std::env::join_paths(folders).expect("a folder's name has no colon"))
        .env("NO_COLOR", "1");
    command.output().expect("there is a shell")
}

fn explained(args: &str) -> Output {
    shell(Path::new("."), &format!("room explain {args}"))
}

/// What an example that can be tried says.
fn tried(example: &str) -> Option<Output> {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |file: &str, text: &str| {
        std::fs::write(dir.path().join(file), text).expect("it is ours");
    };
    let (first, rest) = example.split_once('\n').unwrap_or((example, ""));
    if first.starts_with("$ ") {
        let lines: Vec<_> = example.lines().map(|line| line.trim_start_matches("$ ")).collect();
        return Some(shell(dir.path(), &lines.join(" && ")));
    }
    match first {
        "# room.toml" => {
            write("room.toml", rest);
            if !rest.contains("path") {
                write("Cargo.toml", "");
            }
            Some(shell(dir.path(), "room limits ."))
        }
        "# .env" => {
            write("room.toml", "name = \"x\"");
            write("Cargo.toml", "");
            write(".env", rest);
            Some(shell(dir.path(), "room dev --port 0 --ephemeral"))
        }
        "// partykit.json" => {
            write("partykit.json", rest);
            Some(shell(dir.path(), "room init --from partykit.json"))
        }
        _ => None,
    }
}

#[test]
fn the_example_of_each_page_produces_its_error_code() {
    let pages: Vec<Value> = serde_json::from_slice(&explained("--json").stdout).unwrap();
    let mut tried_ones = 0;
    for page in &pages {
        let (code, example) = (page["code"].as_str().unwrap(), page["example"].as_str().unwrap());
        let Some(output) = tried(example) else { continue };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{code} {example}\n{said}");
        assert!(said.contains(&format!("error[{code}]: ")), "{code} {example}\n{said}");
        assert!(said.contains(&format!("run `room explain {code}`")), "{code} {example}\n{said}");
        tried_ones += 1;
    }
    assert!(tried_ones * 3 > pages.len() * 2, "most examples can be tried");
}

#[test]
fn pages_are_printed_to_stdout_as_text_and_as_json() {
    let all = explained("");
    let lines = String::from_utf8(all.stdout).unwrap();
    assert!(lines.starts_with("R0001  there is no room.toml\n"), "{lines}");
    let page = String::from_utf8(explained("r0012").stdout).unwrap();
    assert!(page.starts_with("R0012: an auto_response cannot be used\n\n"), "{page}");
    let page: Value = serde_json::from_slice(&explained("R0012 --json").stdout).unwrap();
    assert_eq!(page["code"], "R0012");
    let unknown = explained("E0308");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stdout.is_empty());
}
