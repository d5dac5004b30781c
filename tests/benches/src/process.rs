//! The processes of a measurement. Owns where they run, and that none of them stays.
//!
//! Invariant: a server has the first core to itself and the load the second, if there are two and `taskset` is
//! available. It does not know what is measured.

use crate::figures::{Figures, Report};
use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The files for the most connections of a measurement, if the system allows them.
const FILES_WANTED: u64 = 24_000;

/// The time of a load that nobody ends.
const ENDLESS_SECONDS: &str = "3600";

/// Starts a server, loads it by `room bench`, stops it, and returns the report.
///
/// # Errors
/// One of them fails, or not everything came back as it should.
pub(crate) fn bench(room: &Path, server: &[&str], load: &[&str]) -> Result<Report> {
    let server = Server::start(server)?;
    load_by(room, server.addr, load)
}

/// Loads a running server by `room bench`, and returns the report.
///
/// # Errors
/// The load fails, or not everything came back as it should.
pub(crate) fn load_by(room: &Path, addr: SocketAddr, load: &[&str]) -> Result<Report> {
    let mut command = on_core(1, room)?;
    command.args(["bench", &format!("http://{addr}"), "--json"]).args(load);
    Report::read(&output(command)?)
}

/// Starts a server, measures quiet clients beside a fault of it, and stops it.
///
/// # Errors
/// One of them fails.
pub(crate) fn beside(server: &[&str], fault: &[&str]) -> Result<Figures> {
    let server = Server::start(server)?;
    let mut command = on_core(1, &std::env::current_exe()?)?;
    command.args(["beside", &server.addr.to_string()]).args(fault);
    Ok(serde_json::from_slice(&output(command)?)?)
}

/// Raises the connection limit of this process and its children to the system's maximum. Returns the number of
/// files.
///
/// # Errors
/// The system's.
pub(crate) fn raise_limits() -> Result<usize> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = maximum.map(|maximum| maximum.max(FILES_WANTED));
    // Above the maximum only root gets.
    let tried = setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: wanted });
    tried
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }))
        .context("the limit of open files cannot be raised")?;
    let current = getrlimit(Resource::Nofile).current;
    Ok(current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX)))
}

/// A load that runs until this is dropped.
pub(crate) struct Beside(Child);

impl Beside {
    /// Loads a running server by `room bench`. The load is on its way when this returns.
    ///
    /// # Errors
    /// The process does not start.
    pub(crate) fn begin(room: &Path, addr: SocketAddr, load: &[&str]) -> Result<Self> {
        let mut command = on_core(1, room)?;
        command.args(["bench", &format!("http://{addr}"), "--seconds", ENDLESS_SECONDS]).args(load);
        Ok(Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // A process that ended by itself need not be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn output(mut command: Command) -> Result<Vec<u8>> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", output.status);
    }
    Ok(output.stdout)
}

/// A server of this program.
pub(crate) struct Server {
    process: Child,
    /// Its standard input and output.
    ends: (ChildStdin, BufReader<ChildStdout>),
    /// The address at which it listens.
    pub(crate) addr: SocketAddr,
}

impl Server {
    /// Starts a server and reads the address that it prints.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(args: &[&str]) -> Result<Self> {
        let mut command = on_core(0, &std::env::current_exe()?)?;
        command.arg("serve").args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let told = process.stdin.take().context("the server's input is piped")?;
        let said = process.stdout.take().context("the server's output is piped")?;
        let mut ends = (told, BufReader::new(said));
        let mut line = String::new();
        ends.1.read_line(&mut line)?;
        let addr = line.trim().parse().with_context(|| format!("the server printed {line:?}"))?;
        Ok(Self { process, ends, addr })
    }

    /// Returns its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a line, waits, and returns the line that it answers.
    ///
    /// # Errors
    /// It ended.
    pub(crate) fn tell(&mut self, line: &str) -> Result<String> {
        let (told, said) = &mut self.ends;
        writeln!(told, "{line}").context("the server has ended")?;
        let mut answer = String::new();
        if said.read_line(&mut answer)? == 0 {
            bail!("the server ended after the command {line:?}");
        }
        Ok(answer.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that ended by itself need not be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns a program, pinned to one core if `taskset` is available.
pub(crate) fn on_core(core: usize, program: &Path) -> Result<Command> {
    let cores = std::thread::available_parallelism()?.get();
    let pinned = cores > 1 && Command::new("taskset").arg("-V").output().is_ok();
    if !pinned {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    Ok(command)
}
