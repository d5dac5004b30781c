//! The runtime under test. Owns a node with one party, and nothing else.
//!
//! Invariant: its arguments are its whole configuration. Each line that it reads is a module, which it deploys before
//! it answers with the number of rooms that took it over. It does not know who loads it.

use crate::process::Server;
use crate::scale::Bench;
use anyhow::{Context, Result};
use room_runtime::{
    Audience, BodyDelivery, Config, HistorySetting, Limits, PartyConfig, Project, Proxies,
    RetentionSettings, Runtime, StorageConfig, WhenQuiet,
};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt, BufReader};

/// How long a client may be away.
const AWAY: &str = "10m";

/// The configuration of a node.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Setup {
    /// The folder of its data; `None` if it is in memory.
    pub(crate) disk: Option<PathBuf>,
    /// Its limits.
    pub(crate) limits: Limits,
    /// True if quiet rooms leave memory although clients are there.
    pub(crate) hibernates: bool,
    /// What its rooms remember of their messages.
    pub(crate) remembered: Remembered,
}

/// What rooms remember of their messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Remembered {
    /// Nothing.
    #[default]
    Nothing,
    /// The last hundred, in memory.
    InMemory,
    /// The last hundred, in the store.
    Stored,
    /// As many as fit into the limits, in memory, and connections whose clients are away.
    Returning,
}

impl Remembered {
    fn retention(self) -> RetentionSettings {
        if self == Self::Returning {
            return RetentionSettings { resume: AWAY.parse().ok(), history: None };
        }
        let durable = self == Self::Stored;
        let history = HistorySetting { keep: Some(100), keep_for: None, durable };
        let history = (self != Self::Nothing).then_some(history);
        RetentionSettings { resume: None, history }
    }
}

impl Setup {
    fn when_quiet(&self) -> WhenQuiet {
        if self.hibernates { WhenQuiet::Hibernate } else { WhenQuiet::Stay }
    }
}

/// Returns the arguments by which this program serves a module.
pub(crate) fn arguments(module: &Path, setup: &Setup) -> Result<[String; 3]> {
    let module = module.to_str().context("the target folder's path is not UTF-8")?;
    Ok(["room".to_owned(), module.to_owned(), serde_json::to_string(setup)?])
}

/// Starts such a node, with the room for benchmarks.
///
/// # Errors
/// It does not start.
pub(crate) fn start(bench: &Bench, setup: &Setup) -> Result<Server> {
    let arguments = arguments(&bench.module, setup)?;
    Server::start(&arguments.each_ref().map(String::as_str))
}

/// Serves the module as party `main` on a free port, which it prints, until the process is killed.
#[tokio::main]
pub(crate) async fn serve(module: &Path, setup: &str) -> Result<()> {
    let setup: Setup = serde_json::from_str(setup)?;
    let (when_quiet, remembered) = (setup.when_quiet(), setup.remembered);
    let runtime = node(module, setup, None).await?;
    writeln!(std::io::stdout(), "{}", runtime.addr())?;
    let mut told = BufReader::new(tokio::io::stdin()).lines();
    while let Some(module) = told.next_line().await? {
        let done = runtime.deploy(project(module.as_ref(), when_quiet, remembered)?).await?;
        writeln!(std::io::stdout(), "{}", done.rooms)?;
    }
    std::future::pending().await
}

/// Returns a node that serves the module as party `main` on a free port. Its compiled code is kept in `cache`, if
/// there is one.
///
/// # Errors
/// It does not start.
pub(crate) async fn node(module: &Path, setup: Setup, cache: Option<&Path>) -> Result<Runtime> {
    let when_quiet = setup.when_quiet();
    let Setup { disk, limits, remembered, .. } = setup;
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
    runtime.deploy(project(module, when_quiet, remembered)?).await?;
    Ok(runtime)
}

fn project(module: &Path, when_quiet: WhenQuiet, remembered: Remembered) -> Result<Project> {
    let party = PartyConfig {
        name: "main".to_owned(),
        was: None,
        module: std::fs::read(module)?.into(),
        vars: Vec::new(),
        auto_response: None,
        ttl: None,
        cors: None,
        request_bodies: BodyDelivery::Whole,
        retention: remembered.retention(),
        presence: None,
        auth: None,
        sse: Default::default(),
        when_quiet,
    };
    Ok(Project { parties: vec![party], ..Project::default() })
}
