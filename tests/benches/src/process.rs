//! The processes of a measurement. Owns where they run, and that none of them stays.
//!
//! Invariant: a server has the first core to itself and the load the second, where there are two and
//! `taskset` is to be had. It does not know what is measured.

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Starts a server, loads it from another process, and stops it. What the load printed.
pub(crate) fn measure<T: DeserializeOwned>(server: &[&str], load: &[&str]) -> Result<T> {
    let server = Server::start(server)?;
    let output = on_core(1)?
        .args(["load", &server.addr.to_string()])
        .args(load)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the load {load:?} failed: {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

struct Server {
    process: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts a server and reads the address that it prints.
    fn start(args: &[&str]) -> Result<Self> {
        let mut process = on_core(0)?.arg("serve").args(args).stdout(Stdio::piped()).spawn()?;
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

/// This program, pinned to one core where `taskset` is to be had.
fn on_core(core: usize) -> Result<Command> {
    let this = std::env::current_exe()?;
    let cores = std::thread::available_parallelism()?.get();
    let pinned = cores > 1 && Command::new("taskset").arg("-V").output().is_ok();
    if !pinned {
        return Ok(Command::new(this));
    }
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(this);
    Ok(command)
}
