//! `room dev` at a terminal. Owns both ends of it: the person's and the process's.
//!
//! Invariant: the terminal stays open longer than the process, so that how it was left can be seen. It does
//! not know what keys do.

use super::dev::{Dev, room};
use super::pty;
use rustix::termios::{Termios, tcgetattr};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

/// A terminal with a person at it.
pub(crate) struct Terminal {
    person: File,
    process: File,
}

impl Terminal {
    /// A new terminal.
    pub(crate) fn open() -> Self {
        let (person, process) = pty::open();
        Self { person, process }
    }

    /// Starts `room dev` at it, with folders before those in which programs are looked for.
    pub(crate) fn dev(&self, project: &Path, args: &[&str], programs: &Path) -> Dev {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [programs.to_owned()].into_iter().chain(std::env::split_paths(&path));
        let path = std::env::join_paths(folders).expect("a folder's name has no colon");
        let mut command = room(project, &[&["dev", "--port", "0"], args].concat());
        let end = || self.process.try_clone().expect("it is open");
        command.env("PATH", path).stdin(end()).stdout(Stdio::piped()).stderr(end());
        let person = self.person.try_clone().expect("it is open");
        // Nothing comes through stdout, but its end shows that the process has ended.
        Dev::run(command, |child| {
            vec![Box::new(person), Box::new(child.stdout.take().expect("it was asked for"))]
        })
    }

    /// Presses a key. Wait for what it does before the next one: two that come together are a paste.
    pub(crate) fn press(&self, key: &str) {
        (&self.person).write_all(key.as_bytes()).expect("a terminal takes keys");
    }

    /// How it is set now.
    pub(crate) fn mode(&self) -> Termios {
        tcgetattr(&self.process).expect("it is a terminal")
    }
}
