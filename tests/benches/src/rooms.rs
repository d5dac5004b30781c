//! The runtime under test. Owns a node with one party, and nothing else.
//!
//! Invariant: its limits are the defaults. It does not know who loads it.

use anyhow::Result;
use room_runtime::{
    Audience, Config, Limits, PartyConfig, Project, Runtime, StorageConfig, WhenQuiet,
};
use std::io::Write;
use std::path::Path;

/// Serves the module as party `main` on a free port, which is printed, until the process is killed.
#[tokio::main]
pub(crate) async fn serve(module: &Path) -> Result<()> {
    let runtime = Runtime::start(Config {
        listen: ([127, 0, 0, 1], 0).into(),
        storage: StorageConfig::Memory,
        cache_dir: None,
        limits: Limits::default(),
        audience: Audience::Public,
    })
    .await?;
    let party = PartyConfig {
        name: "main".to_owned(),
        module: std::fs::read(module)?.into(),
        vars: Vec::new(),
        auto_response: None,
        when_quiet: WhenQuiet::Stay,
    };
    runtime.deploy(Project { parties: vec![party], assets: None }).await?;
    writeln!(std::io::stdout(), "{}", runtime.addr())?;
    std::future::pending().await
}
