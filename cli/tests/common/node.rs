//! Tests that are written in JavaScript, as the clients they use are. Owns Node and its packages.
//!
//! Invariant: the packages are those of the lock file; a file that hangs is ended, with everything it
//! started. It does not know what the files test.

use super::project::{Project, repo, target_dir};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

/// The time one file may take; each step in it has a shorter time of its own.
const FILE_MAX: Duration = Duration::from_secs(600);

/// Runs one file of tests against a project. Panics with all it printed if one of them fails.
pub(crate) fn run(file: &str, project: &Project, env: &[(&str, &str)]) {
    install();
    let mut command = Command::new("node");
    command
        .args(["--test-reporter=spec", "--test-force-exit", file])
        .current_dir(tests())
        .env("ROOM_BIN", env!("CARGO_BIN_EXE_room"))
        .env("ROOM_PROJECT_COPY", project.root())
        .env("CARGO_TARGET_DIR", target_dir())
        .envs(env.iter().copied())
        .process_group(0);
    let (ok, output) = finish(command);
    assert!(ok, "{file} fails\n\n{output}");
}

/// Where the files are.
fn tests() -> PathBuf {
    repo().join("tests")
}

/// Installs the packages of the lock file, unless it was done already.
pub(crate) fn install() {
    static PACKAGES: OnceLock<()> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let lock =
            std::fs::read(tests().join("package-lock.json")).expect("the lock file is there");
        let stamp = tests().join("node_modules/.installed");
        if std::fs::read(&stamp).is_ok_and(|installed| installed == lock) {
            return;
        }
        let mut command = Command::new("npm");
        command.args(["ci", "--no-audit", "--no-fund"]).current_dir(tests()).process_group(0);
        let (ok, output) = finish(command);
        assert!(ok, "`npm ci` in tests/ fails\n\n{output}");
        std::fs::write(stamp, lock).expect("the folder was just made");
    });
}

/// Runs a command to its end, and returns whether it succeeded, and its output.
fn finish(mut command: Command) -> (bool, String) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe can be made");
    let errors = writer.try_clone().expect("a pipe can be cloned");
    command.stdin(Stdio::null()).stdout(writer).stderr(errors);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(err) if err.kind() == ErrorKind::NotFound => {
            panic!("these tests need Node: install nodejs 20 or newer, with npm")
        }
        Err(err) => panic!("{command:?} cannot be run: {err}"),
    };
    let group = Pid::from_child(&child);
    // It holds the ends of the pipe that the child writes to, and the reader waits for all of them.
    drop(command);
    // Nothing is sent: dropping it signals the end.
    let (send, ended) = mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        let mut output = Vec::new();
        let read = reader.read_to_end(&mut output);
        drop(send);
        read.map(|_| String::from_utf8_lossy(&output).into_owned())
    });
    let late = ended.recv_timeout(FILE_MAX) == Err(mpsc::RecvTimeoutError::Timeout);
    if late {
        // Nobody has waited for the child yet, so the id is still its own.
        let _gone_already = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().expect("a child can be waited for");
    let output = reading.join().expect("it only reads").expect("a pipe can be read");
    let why = if late { format!("\nit took longer than {FILE_MAX:?}") } else { String::new() };
    (status.success() && !late, output + &why)
}
