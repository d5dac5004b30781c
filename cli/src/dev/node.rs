//! The server of a session. Owns how it starts, stops, and starts again without its data.
//!
//! Invariant: the data is removed only after the server has ended and before the next start, and the address stays.
//! It does not know what is served.

use crate::control::Announced;
use anyhow::Context as _;
use room_runtime::{Config, Runtime, StartError, StorageConfig};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A running server, and the configuration of its start.
pub(crate) struct Node {
    config: Config,
    /// The other addresses at which it listens.
    others: Vec<SocketAddr>,
    runtime: Runtime,
    /// The folder in which commands find it.
    dir: PathBuf,
    announced: Option<Announced>,
}

impl Node {
    /// Starts a server that listens at these other addresses, too, as far as this machine has them. Commands find it
    /// by the file in `dir`.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is left running.
    pub(crate) async fn start(
        config: Config,
        others: Vec<SocketAddr>,
        dir: PathBuf,
    ) -> Result<Self, StartError> {
        let mut runtime = Runtime::start(config.clone()).await?;
        for addr in others.clone() {
            match runtime.listen_too(addr).await {
                Err(source) if source.kind() == ErrorKind::AddrInUse => {
                    runtime.drain().await;
                    return Err(StartError::Listen { addr, source });
                }
                // A machine without IPv6 has only one loopback.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(Self { config, others, runtime, dir, announced: None })
    }

    /// Writes the file by which commands find it, as long as it runs.
    ///
    /// # Errors
    /// The data folder cannot be written to.
    pub(crate) fn announce(mut self) -> anyhow::Result<Self> {
        let token = self.runtime.admin_token().secret();
        self.announced = Some(Announced::new(&self.dir, self.runtime.addr(), token)?);
        Ok(self)
    }

    /// Returns the runtime.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Ends it: rooms finish their work, and sockets are closed with 1012.
    ///
    /// # Cancel safety
    /// See [`Runtime::drain`].
    pub(super) async fn stop(self) {
        drop(self.announced);
        self.runtime.drain().await;
    }

    /// Ends it, removes its rooms' data, and starts it again at the same address.
    ///
    /// # Errors
    /// The data cannot be removed, or another process has taken the address: nothing runs.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing runs, and the data may be removed in part.
    pub(super) async fn forget(self) -> anyhow::Result<Self> {
        let config = Config { listen: self.runtime.addr(), ..self.config.clone() };
        let (others, dir) = (self.others.clone(), self.dir.clone());
        self.stop().await;
        if let StorageConfig::Disk(dir) = &config.storage {
            remove(dir).with_context(|| format!("{} cannot be removed", dir.display()))?;
        }
        let node =
            Self::start(config, others, dir).await.context("the server does not start again")?;
        node.announce()
    }
}

fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(err) if err.kind() != ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}
