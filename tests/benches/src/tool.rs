//! The load that users have, too: `room bench`. Owns its build.
//!
//! Invariant: it is the program of this workspace, in the same profile as this one. It does not know what it loads.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// Builds `room` and returns its path.
///
/// # Errors
/// It does not build.
pub(crate) fn build() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().context("a program lies in a folder")?;
    let mut command = Command::new("cargo");
    // With this package, as cargo would build the shared dependencies with other features for one alone.
    command.args(["build", "-p", "room-cli", "-p", "room-benches", "--bin", "room"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    // The folder has the profile's name, below the target folder.
    command.arg("--target-dir").arg(folder.parent().context("a profile lies in a folder")?);
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => drop(command.args(["--profile", profile])),
    }
    if !command.status().context("cargo is not on the PATH")?.success() {
        bail!("`room` does not build");
    }
    Ok(folder.join("room"))
}
