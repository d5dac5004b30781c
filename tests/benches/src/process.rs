//! The processes of a measurement. Owns where they run, and that none of them stays.
//!
//! Invariant: a server has the first core to itself and the load the second, where there are two and
//! `taskset` is to be had. It does not know what is measured.

use crate::figures::{Figures, Report};
use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts a server, loads it by `room bench`, and stops it. → What that reports.
///
/// # Errors
/// One of them fails, or not everything came back as it should.
pub(crate) fn bench(room: &Path, server: &[&str], load: &[&str]) -> Result<Report> {
    let server = Server::start(server)?;
    let mut command = on_core(1, room)?;
    command.args(["bench", &format!("http://{}", server.addr), "--json"]).args(load);
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

/// Lets this process, and those that it starts, have as many connections as the system allows.
///
/// # Errors
/// The system's.
pub(crate) fn raise_limits() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("the limit of open files cannot be raised")
}

fn output(mut command: Command) -> Result<Vec<u8>> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", output.status);
    }
    Ok(output.stdout)
}

struct Server {
    process: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts a server and reads the address that it prints.
    fn start(args: &[&str]) -> Result<Self> {
        let mut command = on_core(0, &std::env::current_exe()?)?;
        let mut process = command.arg("serve").args(args).stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().context("the server's output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().parse().with_context(|| format!("the server printed {line:?}"))?;
        Ok(Self { process, addr })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that ended by itself need not be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A program, pinned to one core where `taskset` is to be had.
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
