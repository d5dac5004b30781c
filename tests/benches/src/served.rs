//! The server as an operator has it: `room serve`. Owns its folder, its deployments, and its restarts.
//!
//! Invariant: it counts as started when a client was admitted to a room. It does not know which clients come.

use crate::crowd;
use crate::disk;
use crate::frames::Client;
use crate::held;
use crate::process::on_core;
use crate::scale::Bench;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep, timeout};

/// The longest time of a start before it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two tries to reach it.
const TRIED_EVERY: Duration = Duration::from_millis(1);
/// Time between two readings of its number of connections.
const COUNTED_EVERY: Duration = Duration::from_millis(50);

/// A server with a folder, which may be running.
pub(crate) struct Served {
    tool: PathBuf,
    folder: TempDir,
    process: Option<Child>,
    /// Its operator's token.
    token: String,
    /// The clients' address.
    pub(crate) addr: SocketAddr,
    admin: SocketAddr,
}

/// How a server ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// By a signal that asks it to stop.
    Stopped,
    /// By a kill.
    Killed,
}

impl Served {
    /// Starts a server in an empty folder on a disk, and deploys the room for benchmarks to it.
    ///
    /// # Errors
    /// It does not start, or refuses the room.
    pub(crate) async fn with_rooms(bench: &Bench) -> Result<Self> {
        let (tool, folder) = (bench.tool.clone(), disk::folder()?);
        let mut this = Self {
            tool,
            folder,
            process: None,
            token: String::new(),
            addr: free()?,
            admin: free()?,
        };
        this.token = this.spawn(Stdio::piped())?;
        this.answering("/").await?;
        let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../rooms-examples/bench");
        let mut command = Command::new(&this.tool);
        command.args(["deploy", "--to", &format!("http://{}", this.admin)]).current_dir(example);
        // The target folder in which the room is already built.
        let built = bench.module.ancestors().nth(3).context("a module lies in a target folder")?;
        command.env("ROOM_TOKEN", &this.token).env("CARGO_TARGET_DIR", built).stdout(Stdio::null());
        if !command.stderr(Stdio::null()).status()?.success() {
            bail!("`room deploy` failed");
        }
        Ok(this)
    }

    /// Sends a request as its operator, and returns the answer's body.
    ///
    /// # Errors
    /// It does not answer, or not with 200.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>> {
        let head = format!(
            "{method} /_room/admin/{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.admin,
            self.token,
            body.len()
        );
        let mut tcp = TcpStream::connect(self.admin).await?;
        tcp.write_all(&[head.as_bytes(), body].concat()).await?;
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            bail!("{method} {path}: {}", String::from_utf8_lossy(&answer));
        }
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        Ok(answer.split_off(end.context("an answer has a head")? + 4))
    }

    /// Starts it again, and returns the time from the start of the process to a client in a room.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.spawn(Stdio::null())?;
        let trying = async {
            while Client::connect(self.addr, "first").await.is_err() {
                sleep(TRIED_EVERY).await;
            }
        };
        timeout(PATIENCE, trying).await.context("the server does not start")?;
        Ok(begun.elapsed())
    }

    /// Ends it, and waits for its end.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn end(&mut self, end: End) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        match end {
            End::Killed => process.kill()?,
            End::Stopped => kill_process(Pid::from_child(&process), Signal::TERM)?,
        }
        process.wait()?;
        Ok(())
    }

    /// Returns its process.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the server does not run")?.id())
    }

    /// Waits until it has at least so many connections.
    ///
    /// # Errors
    /// It has fewer for a long time.
    pub(crate) async fn holds(&self, connections: usize) -> Result<()> {
        let pid = self.pid()?;
        let counting = async {
            while held::files(pid)? < connections {
                sleep(COUNTED_EVERY).await;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, counting).await.context("connections are missing")?
    }

    /// Starts the process, and returns its first line if `stdout` is piped: its first token.
    fn spawn(&mut self, stdout: Stdio) -> Result<String> {
        let mut command = on_core(0, &self.tool)?;
        command.arg("serve").arg("--data").arg(self.folder.path().join("data"));
        command.args(["--listen", &self.addr.to_string(), "--admin", &self.admin.to_string()]);
        let mut process = command.stdout(stdout).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        let said = process.stdout.take();
        self.process = Some(process);
        if let Some(said) = said {
            BufReader::new(said).read_line(&mut line)?;
        }
        Ok(line.trim().to_owned())
    }

    /// Waits until it answers to this path, with any status.
    async fn answering(&self, path: &str) -> Result<()> {
        let asking = async {
            while crowd::get(self.addr, path).await.is_err() {
                sleep(TRIED_EVERY).await;
            }
        };
        timeout(PATIENCE, asking).await.context("the server does not start")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A process that ended by itself need not be killed.
        let _ = self.end(End::Killed);
    }
}

/// Returns an address that is free at the moment.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
