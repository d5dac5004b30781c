//! A running `room serve`. Owns the process, and what its operator knows.
//!
//! Invariant: the process ends with this. It does not know what is deployed to it.

use super::project::target_dir;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long anything but the compiler may take.
const STEP_MAX: Duration = Duration::from_secs(30);

/// A running `room serve`.
pub(crate) struct Served {
    child: Child,
    talk: Receiver<String>,
    pub(crate) clients: String,
    pub(crate) operators: String,
    pub(crate) token: String,
}

impl Served {
    /// Starts it on the folder `data` of a project's folder.
    pub(crate) fn start(root: &Path) -> Self {
        Self::start_with(root, &[])
    }

    /// Starts it with more on its command line.
    pub(crate) fn start_with(root: &Path, args: &[&str]) -> Self {
        // Under `nohup`, this process ignores a hangup, and a child would inherit that.
        let mut child = Command::new("env")
            .args([
                "--default-signal=HUP",
                env!("CARGO_BIN_EXE_room"),
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--drain-seconds",
                "1",
            ])
            .args(["--data", "data"])
            .args(args)
            .current_dir(root)
            .env_remove("ROOM_TRUSTED_PROXY")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command was built with this test");
        let (send, talk) = channel();
        let stderr = child.stderr.take().expect("it was asked for");
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                drop(send.send(line));
            }
        });
        let mut served = Self {
            child,
            talk,
            clients: String::new(),
            operators: String::new(),
            token: String::new(),
        };
        served.clients = served.line("clients").rsplit('/').next().unwrap_or_default().to_owned();
        served.operators =
            served.line("operators").split_whitespace().last().unwrap_or_default().to_owned();
        served
    }

    /// Reads the first token.
    pub(crate) fn first_token(&mut self) {
        self.line("the first token");
        let stdout = self.child.stdout.take().expect("it was asked for");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("the token comes");
        self.token = line.trim().to_owned();
    }

    pub(crate) fn line(&self, text: &str) -> String {
        loop {
            let line = self.talk.recv_timeout(STEP_MAX).expect("the server says so");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// A command that asks it from a project's folder.
    pub(crate) fn command(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_room"));
        for name in ["ROOM_PROJECT", "ROOM_DATA", "ROOM_TO", "ROOM_CA_FILE", "CI"] {
            command.env_remove(name);
        }
        command
            .args(args)
            .args(["--to", &self.operators])
            .current_dir(dir)
            .env("ROOM_TOKEN", &self.token)
            .env("CARGO_TARGET_DIR", target_dir())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Asks it from a project's folder.
    pub(crate) fn room(&self, dir: &Path, args: &[&str]) -> Output {
        self.command(dir, args).output().expect("the command was built with this test")
    }

    /// Runs a command that must succeed, and returns its stdout.
    pub(crate) fn good(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.room(dir, args);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}\n{talk}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command that must be refused, and returns its message.
    pub(crate) fn refused(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.room(dir, args);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}\n{talk}");
        talk.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
    }

    /// Sends SIGTERM, waits for the end, and returns the exit code.
    pub(crate) fn stop(self) -> Option<i32> {
        self.stop_by(&[Signal::TERM])
    }

    /// Sends these signals, all but the first while it stops, waits for the end, and returns the exit code.
    pub(crate) fn stop_by(mut self, signals: &[Signal]) -> Option<i32> {
        for (number, signal) in signals.iter().enumerate() {
            // It is nobody else's process before it has been waited for.
            kill_process(Pid::from_child(&self.child), *signal).expect("it can be signalled");
            if number == 0 {
                self.line("stopping");
            }
        }
        while self.talk.recv_timeout(STEP_MAX).is_ok() {}
        self.child.wait().expect("a child can be waited for").code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A failing test leaves no process. After `stop` no process is left to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
