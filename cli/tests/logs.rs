//! `room logs` as a shell sees it: with a server that does what a test says, and with `room dev`.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "common/dev.rs"]
mod dev;
#[cfg(feature = "otlp")]
#[path = "logs/otlp.rs"]
mod otlp;
#[path = "common/project.rs"]
mod project;

use dev::{BUILD_MAX, Dev, STEP_MAX, room};
use expect_test::expect;
use project::Project;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use tokio::time::Instant;

/// Runs a command to its end.
fn run(dir: &Path, args: &[&str]) -> Output {
    room(dir, args).stdin(Stdio::null()).output().expect("the command was built with this test")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A command that continues, and what it prints. Nobody knows the order of the two streams.
struct Following {
    child: Child,
    data: Receiver<String>,
    talk: Receiver<String>,
}

impl Following {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut command = room(dir, &[&["logs", "-f"], args].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command was built with this test");
        let data = lines(child.stdout.take().expect("it was asked for"));
        let talk = lines(child.stderr.take().expect("it was asked for"));
        Self { child, data, talk }
    }

    /// The next line of stdout.
    fn line(&self) -> String {
        self.data.recv_timeout(STEP_MAX).expect("a line comes in time")
    }

    /// Waits for the next line of stdout that has this in it.
    fn line_with(&self, word: &str) {
        while !self.line().contains(word) {}
    }

    /// Waits for the next line of stderr that has this in it.
    fn talk_with(&self, word: &str) {
        while !self.talk.recv_timeout(STEP_MAX).expect("a line comes in time").contains(word) {}
    }
}

/// The lines of a stream, as they come.
fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            drop(send.send(line));
        }
    });
    lines
}

impl Drop for Following {
    fn drop(&mut self) {
        // It runs until it is ended. A process that has ended needs no signal.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A server that is announced in the folder `data`, and answers as a test says.
struct Told(TcpListener);

impl Told {
    fn announced(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let control = json!({"format": 1, "address": address, "token": "secret"});
        std::fs::create_dir_all(dir.join("data")).unwrap();
        std::fs::write(dir.join("data/control.json"), control.to_string()).unwrap();
        Self(listener)
    }

    /// Waits for a request, and returns its path and its connection.
    fn asked(&self) -> (String, TcpStream) {
        let deadline = Instant::now() + STEP_MAX;
        let tcp = loop {
            match self.0.accept() {
                Ok((tcp, _)) => break tcp,
                Err(err) if err.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                Err(err) => panic!("no command connects: {err}"),
            }
        };
        tcp.set_nonblocking(false).unwrap();
        tcp.set_read_timeout(Some(STEP_MAX)).unwrap();
        let mut lines = BufReader::new(tcp.try_clone().unwrap()).lines().map_while(Result::ok);
        let first = lines.next().unwrap();
        let rest: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        assert!(rest.contains(&"authorization: Bearer secret".to_owned()), "{rest:?}");
        (first.split(' ').nth(1).unwrap().to_owned(), tcp)
    }

    /// Answers the next request with these events, and returns its path and the connection.
    fn streams(&self, events: &str) -> (String, TcpStream) {
        let (path, mut tcp) = self.asked();
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
        write!(tcp, "{head}\r\n\r\n{:x}\r\n{events}\r\n", events.len()).unwrap();
        (path, tcp)
    }

    /// Refuses the next request.
    fn refuses(&self, status: u16, text: &str) -> String {
        let (path, mut tcp) = self.asked();
        let length = text.len();
        write!(tcp, "HTTP/1.1 {status} No\r\ncontent-length: {length}\r\n\r\n{text}").unwrap();
        path
    }
}

/// An event with a line.
fn line(seq: u64, level: &str, kind: &str, text: &str) -> String {
    let line = json!({"seq": seq, "time_ms": 0, "level": level, "kind": kind, "party": "main",
        "room": "lobby", "text": text});
    format!("id: {seq}\ndata: {line}\n\n")
}

#[test]
fn following_the_log_resumes_after_the_last_shown_line_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Told::announced(dir.path());
    let args = ["--data", "data", "--json", "--room", "game-*", "--level", "warn", "--grep", "a b"];
    let mut following = Following::start(dir.path(), &args);
    let query = "/_room/admin/logs?follow=1&room=game-%2A&level=warn&grep=a%20b";
    // Cut off in the middle of a line.
    let events =
        format!("retry: 1000\nid: 6\n\n{}id: 8\ndata: {{\"seq", line(7, "warn", "guest", "x"));
    let (path, tcp) = server.streams(&events);
    assert_eq!(path, format!("{query}&tail=20"));
    assert_eq!(serde_json::from_str::<Value>(&following.line()).unwrap()["seq"], 7);
    drop(tcp);
    // The server stops in order. Nothing was shown, but the number has the position.
    let (path, mut tcp) =
        server.streams("id: 11\nevent: missed\ndata: {\"missed\":3}\n\nid: 12\n\n");
    assert_eq!(path, format!("{query}&after=7"));
    write!(tcp, "0\r\n\r\n").unwrap();
    assert_eq!(following.line(), r#"{"missed":3}"#);
    // It is not ready, then it is another one, at another address, which has another token first.
    assert_eq!(server.refuses(503, "the server is starting"), format!("{query}&after=12"));
    following.talk_with("lost the connection to the server");
    server.refuses(401, "no");
    drop(server);
    let server = Told::announced(dir.path());
    let events = format!(
        "retry: 1000\n\nevent: restarted\ndata: {{}}\n\n{}",
        line(99, "warn", "guest", "y")
    );
    let (path, tcp) = server.streams(&events);
    assert_eq!(path, format!("{query}&after=12"));
    following.talk_with("the server is back");
    assert_eq!(following.line(), r#"{"restarted":true}"#);
    assert_eq!(serde_json::from_str::<Value>(&following.line()).unwrap()["seq"], 99);
    drop(tcp);
    // What will never work is not retried.
    assert_eq!(server.refuses(400, "the parameter x is wrong"), format!("{query}&after=99"));
    following.talk_with("the parameter x is wrong");
    assert_eq!(following.child.wait().unwrap().code(), Some(1));
}

#[test]
fn log_lines_name_their_room_and_cannot_control_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let server = Told::announced(dir.path());
    let events = [
        line(1, "info", "guest", "hello\u{1b}[2J\r· main/other forged"),
        line(2, "error", "platform", "request: turn dropped\n  0: here\n12:00 ERROR forged"),
        "id: 5\nevent: missed\ndata: {\"missed\":3}\n\n".to_owned(),
        "event: restarted\ndata: {}\n\n".to_owned(),
        "event: of-a-newer-server\ndata: ?\n\n".to_owned(),
    ];
    let answering = std::thread::spawn(move || {
        let (path, mut tcp) = server.streams(&events.concat());
        write!(tcp, "0\r\n\r\n").unwrap();
        path
    });
    let mut command = room(dir.path(), &["logs", "--data", "data", "-n", "5", "--party", "main"]);
    let output = command.env("TZ", "UTC").output().unwrap();
    assert_eq!(answering.join().unwrap(), "/_room/admin/logs?follow=0&party=main&tail=5");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    expect![[r#"
        1970-01-01 00:00:00  INFO main/lobby hello\u{1b}[2J\r· main/other forged
        1970-01-01 00:00:00 ERROR · main/lobby request: turn dropped
              0: here
            12:00 ERROR forged
        … 3 lines missed
        … the server restarted; its log starts over
    "#]]
    .assert_eq(&text(&output.stdout));
}

#[test]
fn a_truncated_or_missing_log_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let nobody = run(dir, &["logs", "-f", "--data", "none"]);
    assert_eq!(nobody.status.code(), Some(1));
    let said = text(&nobody.stderr);
    assert!(said.contains("there is no server on none whose log could be shown"), "{said}");
    assert!(said.contains("room dev"), "{said}");
    let outside = run(dir, &["logs"]);
    assert_eq!(outside.status.code(), Some(1));
    assert!(text(&outside.stderr).contains("there is no room.toml here"));

    let server = Told::announced(dir);
    let answering =
        std::thread::spawn(move || drop(server.streams(&line(1, "info", "guest", "x"))));
    let cut = run(dir, &["logs", "--data", "data", "--json"]);
    answering.join().unwrap();
    assert_eq!(cut.status.code(), Some(2));
    assert!(text(&cut.stderr).contains("the log broke off"), "{}", text(&cut.stderr));
    // Nobody listens there any more.
    let gone = run(dir, &["logs", "--data", "data"]);
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn closing_the_output_pipe_ends_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let server = Told::announced(dir.path());
    let mut command = room(dir.path(), &["logs", "-f", "--data", "data"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // The next line finds no reader.
    drop(child.stdout.take());
    let (_, _tcp) = server.streams(&line(2, "info", "guest", "y"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A room that logs the body of each POST request, with a word of its source, and panics on request.
const LOG: &str = r#"//! Logs.
use room_sdk::prelude::*;

const WORD: &str = "one";

/// Keeps nothing.
#[derive(Default)]
pub struct Log;

impl Room for Log {
    fn on_request(&mut self, _: &Context, request: Request) -> Result<Response> {
        assert!(!request.uri().contains("panic"), "ouch");
        println!("{WORD} {}\u{1b}[2J", request.method());
        Ok(Response::text("logged"))
    }
}

room_sdk::export!(Log);
"#;

#[test]
fn logs_follow_a_running_server_through_saves_and_restarts() {
    let project = Project::copy("tests/conformance/guest", "logs-watched");
    project.write("src/lib.rs", LOG);
    project.write("room.toml", "name = \"log\"\n");
    let root = project.root();
    let mut dev = Dev::start(root, &[]);
    let following = Following::start(root, &["--room", "lob*", "--level", "info"]);
    dev.http("GET", "/party/other");
    dev.http("GET", "/party/lobby");
    assert!(following.line().ends_with(r" INFO main/lobby one GET\u{1b}[2J"));
    dev.http("GET", "/party/lobby/panic");
    assert!(following.line().contains("ouch"));
    following.line_with("ERROR · main/lobby request: turn dropped: the guest trapped");
    following.line_with("wasm backtrace:");
    project.write("src/lib.rs", &LOG.replace("\"one\"", "\"two\""));
    dev.line("reloaded", BUILD_MAX);
    dev.http("POST", "/party/lobby");
    following.line_with("main/lobby two POST");

    let kept = run(root, &["logs", "--json", "--grep", "GET"]);
    let kept: Vec<Value> =
        text(&kept.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rooms: Vec<_> = kept.iter().map(|line| line["room"].as_str().unwrap()).collect();
    assert_eq!(rooms, ["other", "lobby"]);
    let deployed = run(root, &["logs", "--grep", "deployed", "-n", "1"]);
    assert!(text(&deployed.stdout).contains("INFO · room deployed main "), "{deployed:?}");
    let wrong = run(root, &["logs", "--party", "a/b"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("the parameter party is not a party name"), "{wrong:?}");

    // The next server listens elsewhere, and keeps its data in memory.
    assert_eq!(dev.stop().0, Some(0));
    following.talk_with("lost the connection to the server");
    let dev = Dev::start(root, &["--ephemeral"]);
    following.line_with("its log starts over");
    dev.http("PUT", "/party/lobby");
    following.line_with("main/lobby two PUT");
    assert_eq!(dev.stop().0, Some(0));
    assert!(!root.join(".room/ephemeral/control.json").exists());
}

/// An unsupported setting is reported before the command does anything else.
#[cfg(not(feature = "otlp"))]
#[test]
fn requesting_spans_prints_that_they_are_omitted() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = room(dir.path(), &["dev"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "there is no project");
    assert!(text(&output.stderr).contains("--features otlp"), "{}", text(&output.stderr));
}
