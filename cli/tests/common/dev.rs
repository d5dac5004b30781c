//! `room dev` as a process. Owns its terminal and its end.
//!
//! Invariant: every wait has a deadline, and shows at its end what was on the terminal; the process
//! goes away with this. It does not know what is served.

use super::project::target_dir;
use room_runtime::lock::unpoisoned;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use tokio::time::Instant;

/// How long the compiler may take, on a machine that has other things to do.
pub(crate) const BUILD_MAX: Duration = Duration::from_secs(240);
/// How long anything else may take.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(30);

/// What stands for the end of the process among its lines.
const END: &str = "(end)";

/// A running `room dev`.
pub(crate) struct Dev {
    child: Child,
    port: u16,
    lines: Mutex<Receiver<String>>,
    seen: Vec<String>,
}

impl Dev {
    /// Starts it on a port that is free, and waits until it serves.
    pub(crate) fn start(project: &Path, args: &[&str]) -> Self {
        let mut dev = Self::spawn(project, &[&["--port", "0"], args].concat());
        dev.ready();
        dev
    }

    /// Starts it.
    pub(crate) fn spawn(project: &Path, args: &[&str]) -> Self {
        let mut command = room(project, &["dev"]);
        // A pipe presses no keys, whatever bytes come from it.
        let (stdin, mut keys) = std::io::pipe().expect("a pipe can be made");
        keys.write_all(b"q").expect("a pipe has space");
        command.args(args).stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped());
        Self::run(command, |child| vec![Box::new(child.stderr.take().expect("it was asked for"))])
    }

    /// Starts the command, whose words can be read there.
    pub(crate) fn run(
        mut command: Command,
        terminal: impl FnOnce(&mut Child) -> Vec<Box<dyn Read + Send>>,
    ) -> Self {
        let mut child = command.spawn().expect("the command was built with this test");
        let (send, lines) = channel();
        for words in terminal(&mut child) {
            let send = send.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(words).lines().map_while(Result::ok) {
                    drop(send.send(line));
                }
                drop(send.send(END.to_owned()));
            });
        }
        Self { child, port: 0, lines: Mutex::new(lines), seen: Vec::new() }
    }

    /// Waits until it serves, and learns where.
    pub(crate) fn ready(&mut self) -> u16 {
        let line = self.line("Local  ", BUILD_MAX);
        let port = line.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok());
        self.port = port.unwrap_or_else(|| panic!("there is no port in {line}"));
        self.port
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the next line that has this text in it.
    pub(crate) fn line(&mut self, text: &str, max: Duration) -> String {
        let deadline = Instant::now() + max;
        while let Ok(line) = self.next_line(deadline) {
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("no line with `{text}` within {max:?}; the terminal:\n{}", self.seen.join("\n"))
    }

    fn next_line(&mut self, deadline: Instant) -> Result<String, RecvTimeoutError> {
        let lines = unpoisoned(self.lines.get_mut());
        lines.recv_timeout(deadline - Instant::now())
    }

    /// Presses Ctrl-C, waits for the end, and returns the exit code and all output lines.
    pub(crate) fn stop(self) -> (Option<i32>, Vec<String>) {
        self.signal(Signal::INT);
        self.ended()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it still runs");
    }

    /// Waits for the end, and returns the exit code and all output lines.
    pub(crate) fn ended(mut self) -> (Option<i32>, Vec<String>) {
        // What it writes to closes with the process.
        self.line(END, STEP_MAX);
        let status = self.child.wait().expect("a child can be waited for");
        (status.code(), std::mem::take(&mut self.seen))
    }

    /// Sends it an HTTP request, and returns the status and the body.
    pub(crate) fn http(&self, method: &str, path: &str) -> (u16, String) {
        self.http_at(("127.0.0.1", self.port()), method, path)
    }

    /// As [`Dev::http`], at another of its addresses.
    pub(crate) fn http_at(&self, at: (&str, u16), method: &str, path: &str) -> (u16, String) {
        let mut tcp = TcpStream::connect(at).expect("it listens");
        tcp.set_read_timeout(Some(STEP_MAX)).expect("there can be a time limit");
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        tcp.write_all(head.as_bytes()).expect("a request can be sent");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).expect("an answer comes in time");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a head has a status"), body.to_owned())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A failing test leaves no process. After `stop` no process is left to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The command in a project's folder, without what the environment may say.
pub(crate) fn room(project: &Path, args: &[&str]) -> Command {
    // The tests may run under `nohup`, whose ignored signals would be inherited.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_room")]);
    for name in ["ROOM_PROJECT", "ROOM_DATA", "ROOM_PORT", "ROOM_HOST", "ROOM_LOG", "ROOM_SDK"] {
        command.env_remove(name);
    }
    for name in ["ROOM_TO", "ROOM_TOKEN", "ROOM_CA_FILE"] {
        command.env_remove(name);
    }
    command
        .args(args)
        .current_dir(project)
        .env("CARGO_TARGET_DIR", target_dir())
        .env("NO_COLOR", "1");
    command
}
