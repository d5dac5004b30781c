//! The room under test. Owns its build.
//!
//! Invariant: it is the release build of `rooms-examples/bench` as it stands. It does not know the
//! protocol it speaks.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// Builds the room and returns the path of its module.
pub(crate) fn build() -> Result<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let target = root.join("target").join("guests");
    let status = Command::new("cargo")
        .args(["build", "--release", "--target", "wasm32-wasip2", "-p", "room-example-bench"])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&root)
        .status()
        .context("cargo is not on the PATH")?;
    if !status.success() {
        bail!("the room does not build; is the target there? `rustup target add wasm32-wasip2`");
    }
    Ok(target.join("wasm32-wasip2/release/room_example_bench.wasm"))
}
