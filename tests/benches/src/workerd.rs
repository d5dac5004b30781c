//! Cloudflare's runtime, from its npm package. Owns how it is started.
//!
//! Invariant: the process that starts it becomes it, so that who ends the one ends the other. It does not know who loads
//! it.

use crate::scripts;
use anyhow::{Context, Result, bail};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use tokio::time::{Duration, Instant};

/// The longest time of a start before it has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two tries to reach it.
const TRIED_EVERY: Duration = Duration::from_millis(20);

/// Serves the benchmark's Durable Object on a free port, which it prints, until the process is killed.
pub(crate) fn serve() -> Result<()> {
    let folder = scripts::folder();
    let program = folder.join("node_modules/workerd/bin/workerd");
    let addr = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    writeln!(std::io::stdout(), "{addr}")?;
    let mut command = Command::new(program);
    command.args(["serve", "workerd.capnp"]).arg(format!("--socket-addr=http={addr}"));
    Err(command.current_dir(folder).exec()).context("workerd cannot be run")
}

/// Waits until it listens.
///
/// # Errors
/// It does not start.
pub(crate) fn listens(addr: SocketAddr) -> Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(addr).is_err() {
        if begun.elapsed() > PATIENCE {
            bail!("workerd does not listen on {addr} after {PATIENCE:?}");
        }
        std::thread::sleep(TRIED_EVERY);
    }
    Ok(())
}
