//! The rooms under test. Owns their build.
//!
//! Invariant: it is the release build of the package's current sources. It does not know the protocol that a room
//! speaks.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// Builds a package of this workspace and returns the path of its module.
pub(crate) fn build(package: &str) -> Result<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let target = root.join("target").join("guests");
    let status = Command::new("cargo")
        .args(["build", "--profile", "dist", "--target", "wasm32-wasip2", "-p", package])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&root)
        .status()
        .context("cargo is not on the PATH")?;
    if !status.success() {
        bail!("the room does not build; is the target there? `rustup target add wasm32-wasip2`");
    }
    let module = format!("{}.wasm", package.replace('-', "_"));
    Ok(target.join("wasm32-wasip2/dist").join(module))
}
