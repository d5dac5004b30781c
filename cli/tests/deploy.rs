//! `room serve` and what is deployed to it, as two shells see it, with a client that stays connected.
#![cfg(unix)]

#[path = "common/project.rs"]
mod project;
#[path = "common/pty.rs"]
mod pty;
#[path = "deploy/returning.rs"]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod returning;
#[path = "../../tests/crash/returns/mod.rs"]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod returns;
#[path = "common/served.rs"]
mod served;
#[path = "deploy/settings.rs"]
mod settings;

use project::{Place, Project, repo, target_dir};
use rustix::process::Signal;
use serde_json::Value;
use served::Served;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long the compiler may take, on a machine that has other things to do.
const BUILD_MAX: Duration = Duration::from_secs(240);

/// A room that says its word.
const SAYS: &str = r#"//! Says a word.
use room_sdk::prelude::*;

/// Has a word.
#[derive(Default)]
pub struct Says;

impl Room for Says {
    fn on_message(&mut self, _: &Context, conn: &Connection, _: Message) -> Result {
        conn.send(Message::text(format!("one {}", std::env::var("WORD").unwrap_or_default())))
    }
}

room_sdk::export!(Says);
"#;

/// A client with an open WebSocket.
struct Socket(TcpStream);

impl Socket {
    fn open(addr: &str) -> Self {
        let mut tcp = TcpStream::connect(addr).expect("it listens");
        tcp.set_read_timeout(Some(BUILD_MAX)).expect("there can be a time limit");
        let head = "GET /party/lobby HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        tcp.write_all(head.as_bytes()).expect("a request can be sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tcp.read_exact(&mut byte).expect("an answer comes");
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Self(tcp)
    }

    /// Says something, and reads the answer; pings are passed over.
    fn ask(&mut self) -> String {
        self.0.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'?']).expect("a message can be sent");
        loop {
            let (first, text) = self.frame();
            if first == 0x81 {
                return text;
            }
            assert_eq!(first, 0x89, "{text}");
        }
    }

    fn frame(&mut self) -> (u8, String) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).expect("a frame comes");
        let mut payload = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut payload).expect("a frame is whole");
        (head[0], String::from_utf8_lossy(&payload).into_owned())
    }
}

#[test]
fn deploy_and_rollback_keep_a_client_connected_and_change_only_its_replies() {
    let project = Project::copy("tests/conformance/guest", "deployed");
    project.write("src/lib.rs", SAYS);
    project
        .write("room.toml", "name = \"says\"\n[vars]\nWORD = \"hello\"\n[assets]\ndir = \"web\"\n");
    project.write("web/index.html", "the web");
    project.write("web/.secret", "hidden");
    project.write("web/.well-known/x", "known");
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, project.root().join("web").join(name)).expect("it is ours");
    };
    link("index.html", "link.html");
    link(".secret", "shown.txt");
    link("../room.toml", "manifest.txt");
    link("nowhere", "broken.txt");
    link("../src", "src");
    link(".", "around");
    let root = project.root();
    let mut served = Served::start(root);
    served.first_token();

    let planned: Value =
        serde_json::from_str(&served.good(root, &["deploy", "--dry-run", "--json"]))
            .expect("it is JSON");
    assert_eq!(planned["current"], Value::Null);
    let said = served.good(root, &["deploy"]);
    assert!(said.contains("says is at version 1 · 0 rooms reloaded, 0 sockets kept"), "{said}");
    static_files(&served, root);
    let mut socket = Socket::open(&served.clients);
    assert_eq!(socket.ask(), "one hello");

    project.write("src/lib.rs", &SAYS.replace("one {}", "two {}"));
    let said = served.good(root, &["deploy"]);
    assert!(said.contains("says is at version 2 · 1 room reloaded, 1 socket kept"), "{said}");
    assert_eq!(socket.ask(), "two hello");
    served.good(root, &["env", "set", "WORD", "bye", "--secret"]);
    assert_eq!(socket.ask(), "two bye");
    assert_eq!(served.good(root, &["env", "list"]), "WORD=(secret)\n");
    served.good(root, &["rollback"]);
    assert_eq!(socket.ask(), "one bye");
    served.good(root, &["env", "remove", "WORD"]);
    served.good(root, &["rollback", "2"]);
    assert_eq!(socket.ask(), "two hello");
    let listed = served.good(root, &["list"]);
    assert!(listed.lines().any(|line| line.starts_with("→    2")), "{listed}");

    // Code that does not compile is not sent, and what serves continues.
    project.write("src/lib.rs", "no rust");
    assert_eq!(served.room(root, &["deploy"]).status.code(), Some(1));
    assert_eq!(socket.ask(), "two hello");
    tokens(&mut served, root);

    let said = served.refused(root, &["delete", "says"]);
    assert!(said.contains("add --yes"), "{said}");
    served.good(root, &["delete", "says", "--yes"]);
    assert_eq!(socket.frame().0, 0x88);
    assert_eq!(served.stop(), Some(0));
}

/// The status and the body at a path.
fn get(addr: &str, path: &str) -> (u16, String) {
    let mut tcp = TcpStream::connect(addr).expect("it listens");
    tcp.set_read_timeout(Some(BUILD_MAX)).expect("there can be a time limit");
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    tcp.write_all(head.as_bytes()).expect("a request can be sent");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).expect("an answer comes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it has a status"),
        body.to_owned(),
    )
}

/// What is deployed of a folder of static files is what `room dev` serves of it, and the rest is named.
fn static_files(served: &Served, root: &Path) {
    let public =
        [("/link.html", "the web"), ("/index.html", "the web"), ("/.well-known/x", "known")];
    for (path, text) in public {
        assert_eq!(get(&served.clients, path), (200, text.to_owned()), "{path}");
    }
    let others = ["/shown.txt", "/manifest.txt", "/broken.txt", "/src/lib.rs", "/.secret"];
    for path in others {
        assert_eq!(get(&served.clients, path).0, 404, "{path}");
    }
    let again = served.room(root, &["deploy", "--dry-run"]);
    let talk = String::from_utf8_lossy(&again.stderr).into_owned();
    for name in ["shown.txt", "manifest.txt", "broken.txt", "src", "around"] {
        let is_named = talk.lines().any(|line| line.contains("left out") && line.contains(name));
        assert!(is_named, "{name} is not in {talk}");
    }
    assert!(!talk.contains(".secret"), "{talk}");
}

/// Tokens are good for their scope, and until they are revoked.
fn tokens(served: &mut Served, root: &Path) {
    let made: Value =
        serde_json::from_str(&served.good(root, &["token", "create", "reader", "--json"]))
            .expect("it is JSON");
    let admin = std::mem::replace(
        &mut served.token,
        made["secret"].as_str().expect("it has one").to_owned(),
    );
    served.good(root, &["list"]);
    let said = served.refused(root, &["rollback"]);
    assert!(said.contains("a token with the scope deploy"), "{said}");
    let reader = std::mem::replace(&mut served.token, admin);
    let id = made["id"].as_str().expect("it has one");
    served.good(root, &["token", "revoke", id]);
    assert!(!served.good(root, &["token", "list"]).contains(id));
    // A file ends with a line end.
    served.token.push('\n');
    served.good(root, &["list"]);
    served.token.pop();
    let admin = std::mem::replace(&mut served.token, reader);
    let said = served.refused(root, &["list"]);
    assert!(said.contains("R0049") && !said.contains(&served.token), "{said}");
    served.token = admin;
}

/// Deploys on a terminal, and returns the terminal's content.
fn watched(served: &Served, root: &Path, args: &[&str]) -> String {
    let (mut person, process) = pty::open();
    let mut command = served.command(root, args);
    command.stdout(Stdio::null()).stderr(process);
    let mut child = command.spawn().expect("the command was built with this test");
    // The command holds the other end; without it, reading ends with the process.
    drop(command);
    let reading = std::thread::spawn(move || {
        let (mut seen, mut piece) = (Vec::new(), [0; 1024]);
        while let Ok(count @ 1..) = person.read(&mut piece) {
            seen.extend_from_slice(&piece[..count]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    });
    assert!(child.wait().expect("a child can be waited for").success());
    reading.join().expect("it only reads")
}

#[test]
fn a_terminal_shows_deployment_progress_and_a_pipe_gets_the_outcome() {
    let project = Project::copy("tests/conformance/guest", "deployed-watched");
    project.write("src/lib.rs", SAYS);
    project.write("room.toml", "name = \"says\"\n[assets]\ndir = \"web\"\n");
    project.write("web/large.txt", &"0123456789abcdef".repeat(128 * 1024));
    let root = project.root();
    let mut served = Served::start(root);
    served.first_token();
    let seen = watched(&served, root, &["deploy"]);
    let (drawn, after) = seen.rsplit_once("\r\u{1b}[K").unwrap_or_default();
    assert!(drawn.contains("uploading ─") && drawn.contains(" 0 B of 2."), "{seen}");
    assert!(drawn.contains("uploading ━") && !after.contains("uploading"), "{seen}");
    assert!(after.contains("uploaded 2 files, 2."), "{seen}");
    // Piped, and for a program, there is nothing that moves.
    project.write("web/large.txt", &"fedcba9876543210".repeat(128 * 1024));
    let done = served.room(root, &["deploy"]);
    let talk = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(talk.contains("uploaded 1 file, 2.0 MiB\n"), "{talk}");
    assert!(!talk.contains("uploading") && !talk.contains('\r'), "{talk}");
    project.write("web/large.txt", &"again and again ".repeat(128 * 1024));
    let seen = watched(&served, root, &["deploy", "--json"]);
    assert!(seen.contains("uploaded 1 file") && !seen.contains("uploading"), "{seen}");
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn a_deployed_project_is_served_after_a_restart_and_a_folder_has_one_server() {
    let project = Project::copy("tests/conformance/guest", "deployed-again");
    project.write("src/lib.rs", SAYS);
    project.write("room.toml", "name = \"says\"\n[vars]\nWORD = \"hello\"\n");
    let root = project.root();
    let mut served = Served::start(root);
    served.first_token();
    served.good(root, &["deploy"]);
    let second = Command::new(env!("CARGO_BIN_EXE_room"))
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
        .arg(root.join("data"))
        .output()
        .expect("the command was built with this test");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let said = said.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("is in use by another process") && second.stdout.is_empty(), "{said}");
    let token = served.token.clone();
    // The terminal that started the server is closed.
    assert_eq!(served.stop_by(&[Signal::HUP]), Some(0));
    let mut served = Served::start(root);
    served.token = token;
    let mut socket = Socket::open(&served.clients);
    assert_eq!(socket.ask(), "one hello");
    served.good(root, &["list"]);
    // An impatient operator changes nothing: clients get their close frame, and the server ends as cleanly.
    let stopped = served.stop_by(&[Signal::TERM, Signal::TERM, Signal::INT, Signal::HUP]);
    assert_eq!(stopped, Some(0));
    let (first, text) = socket.frame();
    assert!(first == 0x88 && text.ends_with("the server is shutting down"), "{first:#x} {text}");
}

/// The lines that the guide has a reader type in two terminals, from nothing to a server and back.
#[test]
fn every_command_of_the_guide_does_what_the_guide_says() {
    let guide = include_str!("../README.md");
    let mut blocks = guide.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let (first, second) = (blocks.next().expect("a server"), blocks.next().expect("a project"));
    assert!(first.starts_with("room serve --data data --listen 127.0.0.1:8080 "), "{first}");
    assert_eq!(blocks.next(), None, "a block that nobody runs");
    let place = Place::take();
    let mut served = Served::start(place.path());
    served.first_token();
    let address = format!("http://{}", served.operators.trim_start_matches("http://"));
    let typed = second.replace("http://127.0.0.1:1998", &address);
    let typed = typed.replace("room_…", &served.token);
    // The same crates as here, so that nothing has to be looked up.
    let lock = repo().join("Cargo.lock");
    let typed = typed.replace("cd hello\n", &format!("cd hello\ncp '{}' .\n", lock.display()));
    let bin = Path::new(env!("CARGO_BIN_EXE_room")).parent().expect("it lies in a folder");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [bin.to_owned()].into_iter().chain(std::env::split_paths(&path));
    let output = Command::new("sh")
        .args(["-eux", "-c", &typed])
        .current_dir(place.path())
        .env("PATH", std::env::join_paths(folders).expect("a folder's name has no colon"))
        .env("CARGO_TARGET_DIR", target_dir())
        .env("NO_COLOR", "1")
        .output()
        .expect("there is a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for part in ["hello is at version 1", "hello is at version 2", "→    2"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let listed: Value =
        serde_json::from_str(&served.good(&place.path().join("hello"), &["list", "--json"]))
            .expect("it is JSON");
    let current = listed.as_array().map(|versions| versions.iter().map(|one| &one["current"]));
    let current: Vec<_> = current.into_iter().flatten().collect();
    assert_eq!(current, [true, false], "{listed}");
    assert_eq!(served.good(&place.path().join("hello"), &["env", "list"]), "SEASON=winter\n");
    assert_eq!(served.stop(), Some(0));
}
