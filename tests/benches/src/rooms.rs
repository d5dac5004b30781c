//! The runtime under test. Owns a node with one party, and nothing else.
//!
//! Invariant: it is set up as its arguments say. It does not know who loads it.

use anyhow::{Context, Result};
use room_runtime::{
    Audience, Config, Limits, PartyConfig, Project, Proxies, Runtime, StorageConfig, WhenQuiet,
};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What can be different about a node.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The folder of its data; none if it is in memory.
    pub(crate) disk: Option<PathBuf>,
    /// Its limits.
    pub(crate) limits: Limits,
}

/// The arguments by which this program serves a module.
pub(crate) fn arguments(module: &Path, setup: &Setup) -> Result<[String; 3]> {
    let module = module.to_str().context("the target folder's path is not UTF-8")?;
    Ok(["room".to_owned(), module.to_owned(), serde_json::to_string(setup)?])
}

/// Serves the module as party `main` on a free port, which is printed, until the process is killed.
#[tokio::main]
pub(crate) async fn serve(module: &Path, setup: &str) -> Result<()> {
    let runtime = start(module, serde_json::from_str(setup)?, None).await?;
    writeln!(std::io::stdout(), "{}", runtime.addr())?;
    std::future::pending().await
}

/// A node that serves the module as party `main` on a free port. Its compiled code is kept in `cache`, if there is
/// one.
pub(crate) async fn start(module: &Path, setup: Setup, cache: Option<&Path>) -> Result<Runtime> {
    let Setup { disk, limits } = setup;
    let runtime = Runtime::start(Config {
        listen: ([127, 0, 0, 1], 0).into(),
        storage: disk.map_or(StorageConfig::Memory, StorageConfig::Disk),
        cache_dir: cache.map(Path::to_path_buf),
        tls: None,
        proxies: Proxies::default(),
        limits,
        audience: Audience::Public,
    })
    .await?;
    let party = PartyConfig {
        name: "main".to_owned(),
        module: std::fs::read(module)?.into(),
        vars: Vec::new(),
        auto_response: None,
        ttl: None,
        when_quiet: WhenQuiet::Stay,
    };
    runtime.deploy(Project { parties: vec![party], ..Project::default() }).await?;
    Ok(runtime)
}
