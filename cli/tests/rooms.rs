//! Looking inside a server as a shell does: lists, one room, its storage, its clients.
#![cfg(unix)]

#[path = "common/count.rs"]
mod count;
#[path = "common/dev.rs"]
mod dev;
#[path = "common/project.rs"]
mod project;

use count::COUNT;
use dev::{Dev, STEP_MAX, room};
use project::Project;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

const LOBBY: &str = "/party/lobby";

/// Runs a command, and returns its exit code, stdout and stderr.
fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let done = room(dir, args).stdin(Stdio::null()).output().expect("the command was built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

/// Runs a command that must succeed, and returns its stdout.
fn good(dir: &Path, args: &[&str]) -> String {
    let (code, out, talk) = run(dir, args);
    assert_eq!(code, Some(0), "{args:?}\n{talk}");
    out
}

fn json_of(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&good(dir, &[args, &["--json"]].concat())).expect("it is JSON")
}

/// Runs a command that must be refused as the user's mistake, and returns its output on one line.
fn refused(dir: &Path, args: &[&str]) -> String {
    let (code, out, talk) = run(dir, args);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}\n{talk}");
    talk.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// A WebSocket whose test reads only the first bytes.
struct Socket(TcpStream);

impl Socket {
    fn open(port: u16, path: &str) -> Self {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        tcp.set_read_timeout(Some(STEP_MAX)).expect("there can be a time limit");
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        tcp.write_all(head.as_bytes()).expect("a request can be sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tcp.read_exact(&mut byte).expect("an answer has a head");
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        Self(tcp)
    }

    /// The code of the close frame that must come next, which is a small one.
    fn closed(mut self) -> u16 {
        let mut head = [0; 4];
        self.0.read_exact(&mut head).expect("a close frame comes");
        assert_eq!(head[0], 0x88, "{head:?}");
        u16::from_be_bytes([head[2], head[3]])
    }
}

/// Rooms are listed, searched and paged through.
fn lists(root: &Path) {
    let listed = json_of(root, &["rooms"]);
    let names: Vec<&str> = listed["rooms"]
        .as_array()
        .expect("rooms are a list")
        .iter()
        .filter_map(|room| room["room"].as_str())
        .collect();
    assert_eq!(names, ["lobby", "game-1", "game-22"]);
    let table = good(root, &["rooms", "--search", "game-*", "--reverse"]);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("ROOM") && rows[1].starts_with("main/game-22  running"), "{table}");
    assert_eq!(rows.len(), 3);
    let (_, first, talk) = run(root, &["rooms", "--limit", "1"]);
    assert!(first.contains("main/lobby") && talk.contains("--after main%2Flobby"), "{talk}");
    let rest = json_of(root, &["rooms", "--after", "main%2Flobby", "--sort", "name"]);
    assert_eq!(rest["rooms"].as_array().map(Vec::len), Some(2));
    assert_eq!(good(root, &["rooms", "--limit", "1", "--all"]).lines().count(), 4);
}

/// A room is shown, and no secret of its client.
fn looks(root: &Path, port: u16) -> Socket {
    let socket = Socket::open(port, "/party/lobby?_pk=alice&token=s3cret");
    let seen = good(root, &["inspect", "lobby"]);
    for told in
        ["main/lobby", "running", "1 key, 6 bytes", "alice  http://x/party/lobby?_pk=alice&token=…"]
    {
        assert!(seen.contains(told), "no {told} in\n{seen}");
    }
    assert!(!seen.contains("s3cret"));
    assert_eq!(json_of(root, &["inspect", "lobby"])["connection_count"], 1);
    socket
}

/// The room sees a change of its stored data.
fn edits(root: &Path, dev: &Dev) {
    assert_eq!(good(root, &["storage", "get", "lobby", "count"]), "1\n");
    assert_eq!(
        good(root, &["storage", "set", "lobby", "count", " 40 "]),
        "replaced count of main/lobby\n"
    );
    assert_eq!(dev.http("POST", LOBBY), (200, "41".to_owned()));
    good(root, &["storage", "set", "lobby", "--encoded", "%FF", "--text", "a b"]);
    let entries = json_of(root, &["storage", "list", "lobby"]);
    let wanted = json!([
        {"key": "count", "bytes": 2, "json": 41},
        {"key_base64": "/w==", "bytes": 3, "text": "a b"},
    ]);
    assert_eq!(entries, json!({"entries": wanted, "next": null}));
    assert_eq!(
        good(root, &["storage", "list", "lobby", "--prefix", "c"]),
        "count = 41  (2 bytes)\n"
    );
    good(root, &["storage", "delete", "lobby", "--encoded", "%FF"]);
    let said = refused(root, &["storage", "set", "lobby", "count", "no json"]);
    assert!(said.contains("the value is not JSON") && said.contains("--text"), "{said}");
}

/// Connections and rooms go.
fn closes(root: &Path, port: u16, socket: Socket) {
    assert_eq!(good(root, &["kick", "lobby", "alice"]), "closed alice of main/lobby with 4403\n");
    assert_eq!(socket.closed(), 4403);
    let socket = Socket::open(port, "/party/lobby?_pk=alice");
    assert_eq!(good(root, &["close", "lobby"]), "closed main/lobby and its 1 connection\n");
    assert_eq!(socket.closed(), 1012);
    assert_eq!(json_of(root, &["inspect", "lobby"])["phase"], "asleep");
    let socket = Socket::open(port, "/party/lobby?_pk=alice");
    let said = refused(root, &["delete-room", "lobby"]);
    assert!(
        said.contains("main/lobby would be deleted permanently") && said.contains("add --yes"),
        "{said}"
    );
    let deleted = json_of(root, &["delete-room", "lobby", "--yes"]);
    assert_eq!(deleted, json!({"room": "main/lobby", "connections": 1, "keys": 1, "bytes": 7}));
    assert_eq!(socket.closed(), 4410);
}

/// Crons are listed, and one is run.
fn crons(root: &Path) {
    let table = good(root, &["crons"]);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("CRON ") && rows[1].starts_with("count "), "{table}");
    assert!(rows[1].contains("@yearly UTC") && rows[1].contains("main/game-1"), "{table}");
    // The room has no on_cron.
    let ran = good(root, &["crons", "run", "count"]);
    assert!(ran.starts_with("count: 0 rooms, 1 failed: main/game-1: "), "{ran}");
    assert!(ran.contains("no on_cron"), "{ran}");
    assert_eq!(json_of(root, &["crons"])["crons"][0]["last"]["dropped"], 1);
    let said = refused(root, &["crons", "run", "other"]);
    assert!(said.contains("the project has no cron \"other\""), "{said}");
}

/// Tickets are made, and open what they are for.
fn tickets(root: &Path, port: u16) {
    let made = json_of(root, &["ticket", "main/hall", "--for", "5m", "--once"]);
    assert_eq!((&made["party"], &made["room"]), (&json!("main"), &json!("hall")));
    let path = |ticket: &str| format!("/party/hall?_pk=guest&ticket={ticket}");
    let once = path(made["ticket"].as_str().expect("it is a text"));
    let guest = Socket::open(port, &once);
    assert_eq!(Socket::open(port, &once).closed(), 4401);
    drop(guest);
    let claims = "{\"sub\":\"ann\"}";
    let all = good(root, &["ticket", "main/*", "--read-only", "--claims", claims]);
    let viewer = Socket::open(port, &path(all.trim_end()));
    let seen = good(root, &["inspect", "hall"]);
    assert!(
        seen.contains("guest  http://x/party/hall?_pk=guest") && !seen.contains("rt1"),
        "{seen}"
    );
    drop(viewer);
    for (args, why) in [
        (&["ticket", "hall"][..], "names no party and room"),
        (&["ticket", "other/hall"], "other"),
        (&["ticket", "main/hall", "--for", "99d"], "ticket_ms_max"),
        (&["ticket", "main/*", "--once"], "is for one room"),
        (&["ticket", "main/hall", "--claims", "[]"], "--claims is not a JSON object"),
    ] {
        let said = refused(root, args);
        assert!(said.contains(why), "{args:?}: {said}");
    }
}

/// Webhooks that no receiver takes are listed, and discarded.
fn webhooks(root: &Path) {
    let all = json_of(root, &["webhooks"]);
    let waiting = all["waiting"].as_u64().unwrap_or_default();
    assert!(waiting >= 3 && all["dead"] == 0, "{all}");
    let table = good(root, &["webhooks"]);
    let first = format!("http://127.0.0.1:1/hooks: {waiting} wait, 0 dead\nWEBHOOK ");
    assert!(table.starts_with(&first) && table.contains(" created "), "{table}");
    let id = all["next"][0]["id"].as_str().unwrap_or_default();
    assert!(id.starts_with("msg_main."), "{id}");
    assert_eq!(good(root, &["webhooks", "discard", id]).trim(), "1 webhook discarded");
    assert_eq!(json_of(root, &["webhooks"])["waiting"], waiting - 1);
    assert_eq!(good(root, &["webhooks", "retry", "--all"]).trim(), "0 webhooks sent again");
    for verb in ["retry", "discard"] {
        let said = refused(root, &["webhooks", verb, id]);
        assert!(said.contains("no webhook") && said.contains(id), "{said}");
    }
}

#[test]
fn rooms_of_a_local_server_are_inspected_and_changed() {
    let project = Project::copy("tests/conformance/guest", "rooms-served");
    project.write("src/lib.rs", COUNT);
    let section = "[crons]\ncount = { schedule = \"@yearly\", room = \"game-1\" }\n";
    let hooks = "[webhooks]\nurl = \"http://127.0.0.1:1/hooks?key=1\"\nsecret = \"HOOK_SECRET\"\n\
                 events = [\"created\"]\n";
    project.write(".env", "HOOK_SECRET=0123456789abcdef\n");
    // The parameter `token` is the rooms' own here.
    let auth = "[auth]\nrequired = false\nquery = \"access\"\n";
    project.write("room.toml", &format!("name = \"count\"\n{section}{hooks}{auth}"));
    let root = project.root();
    let dev = Dev::start(root, &[]);
    let port = dev.port();
    for room in ["lobby", "game-1", "game-22"] {
        assert_eq!(dev.http("POST", &format!("/party/{room}")), (200, "1".to_owned()));
    }

    lists(root);
    let socket = looks(root, port);
    // The socket stays while an operator changes the room's stored data.
    edits(root, &dev);
    closes(root, port, socket);
    crons(root);
    webhooks(root);
    tickets(root, port);
    for (args, why) in [
        (&["inspect", "lobby"][..], "there is no room main/lobby"),
        (&["inspect", "lobby", "--party", "other"], "there is no room other/lobby"),
        (&["kick", "game-1", "bob"], "the room main/game-1 has no open connection \"bob\""),
        (
            &["kick", "game-1", "bob", "--code", "1006"],
            "a connection is closed with 1000 to 4999 except",
        ),
        (&["storage", "get", "game-1", "nothing"], "the room main/game-1 has no such key"),
        (&["rooms", "--limit", "0"], "limit is a number from 1 to 1000"),
    ] {
        let said = refused(root, args);
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(dev.stop().0, Some(0));
    let said = refused(root, &["rooms"]);
    assert!(said.contains("no server runs on .room/state") && said.contains("room dev"), "{said}");
}
