//! A server process. Owns its start and its death.
//!
//! Invariant: it is dead when it is dropped, and it cannot outlive this process, as its standard input
//! ends with it. It does not know what the server stores, nor where.

use crate::audit::State;
use crate::scratch::Scratch;
use room_tests::{Requests, guest, within};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The inputs of a server's start: the guest, and a folder for compiled code that all servers share.
pub(crate) struct Program {
    scratch: Scratch,
    /// The words behind the other arguments.
    words: &'static [&'static str],
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    /// The problems that the store found in its own books.
    pub(crate) problems: Vec<String>,
}

impl Program {
    /// Builds the guest.
    pub(crate) fn new() -> Self {
        Self::of("ledger", &[])
    }

    /// Builds the guest of a server that stores what its rooms send.
    pub(crate) fn remembering() -> Self {
        Self::of("puppet", &["remembering"])
    }

    fn of(name: &str, words: &'static [&'static str]) -> Self {
        let scratch = Scratch::new();
        let module = without_lines(guest(name).to_vec());
        std::fs::write(scratch.path().join("guest.wasm"), module).unwrap();
        Self { scratch, words }
    }

    /// Returns the folder of the run.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Removes everything that the run has left.
    pub(crate) fn remove(self) {
        self.scratch.remove();
    }

    /// Starts a process on a data folder, without waiting for it. Its rooms may fetch from the server `origin`.
    pub(crate) fn spawn(&self, data: &Path, origin: &str) -> Child {
        let own = self.scratch.path();
        let cache: PathBuf = own.join("compiled");
        let mut command = Command::new(env!("CARGO_BIN_EXE_crash-node"));
        command.arg(data).arg(own.join("guest.wasm")).arg(cache).arg(origin).env("TMPDIR", own);
        command.args(self.words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// Starts a server. Returns its error message if it does not start.
    pub(crate) async fn start(&self, data: &Path, origin: &str) -> Result<Server, String> {
        let mut child = self.spawn(data, origin);
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        let mut stdout = BufReader::new(stdout);
        within("a server to start", stdout.read_line(&mut line)).await.unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let Some(addr) = said["addr"].as_str() else {
            let status = within("a server to end", child.wait()).await.unwrap();
            return Err(format!("{status}: {line}"));
        };
        let problems = serde_json::from_value(said["problems"].clone()).unwrap();
        Ok(Server { child, addr: addr.parse().unwrap(), problems })
    }
}

impl Server {
    /// Returns the content of a room, or the answer that came instead.
    pub(crate) async fn state(&self, room: &str) -> Result<State, String> {
        let reply = self.addr.get(&format!("/parties/main/{room}")).await;
        let said = || format!("{room} answered {}: {}", reply.status, reply.text());
        let value = (reply.status == 200).then(|| reply.json()).and_then(State::parse);
        value.ok_or_else(said)
    }

    /// Returns the server's metrics, to explain why nothing happens.
    pub(crate) async fn figures(&self) -> String {
        let page = self.addr.get("/_room/metrics").await.text();
        let figures = page.lines().filter(|line| !line.starts_with('#') && !line.contains("{le="));
        figures.collect::<Vec<_>>().join("\n  ")
    }

    /// Kills it, and waits until it has ended.
    pub(crate) async fn kill(self) {
        end(self.child).await;
    }
}

/// Hides a module's tables of source lines. A process reads them all at its first trap, which takes longer than these
/// processes live.
fn without_lines(mut module: Vec<u8>) -> Vec<u8> {
    let (name, other) = (b".debug_", b".hidden");
    let found: Vec<usize> = module
        .windows(name.len())
        .enumerate()
        .filter(|(_, bytes)| bytes == name)
        .map(|(at, _)| at)
        .collect();
    for at in found {
        module[at..at + other.len()].copy_from_slice(other);
    }
    module
}

/// Kills a process, and waits until it has ended.
pub(crate) async fn end(mut child: Child) {
    child.start_kill().unwrap();
    within("a killed server to end", child.wait()).await.unwrap();
}
