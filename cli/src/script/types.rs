//! The check of a script's types. Owns the call of TypeScript.
//!
//! Invariant: a project without TypeScript, or without a `tsconfig.json`, has no errors of types. It does not know which
//! files are bundled.

use super::npm::NpmTools;
use crate::cargo::Group;
use anyhow::Context as _;
use std::path::Path;
use std::process::Stdio;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// The file that says which files are checked, and how.
pub(super) const CONFIG: &str = "tsconfig.json";

/// The bytes of errors that are kept.
const ERRORS_BYTES_MAX: u64 = 64 * 1024;

/// Checks the types of what a `tsconfig.json` names, by its path from the project. Returns the errors with file, line and excerpt.
///
/// # Errors
/// TypeScript cannot be run.
///
/// # Cancel safety
/// Dropping it kills TypeScript.
pub(super) async fn check(
    tools: &NpmTools,
    root: &Path,
    config: &Path,
) -> anyhow::Result<Result<(), String>> {
    let Some(tsc) = tools.tsc.as_ref().filter(|_| root.join(config).is_file()) else {
        return Ok(Ok(()));
    };
    let mut command = Command::new(tsc);
    command.args(["--noEmit", "--pretty", "--project"]).arg(config).current_dir(root);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut running =
        Group::spawn(command).with_context(|| format!("{} cannot be run", tsc.display()))?;
    let stdout = running.stdout().context("TypeScript has no stdout")?;
    let mut said = Vec::new();
    let mut kept = stdout.take(ERRORS_BYTES_MAX);
    kept.read_to_end(&mut said).await.context("TypeScript's messages end early")?;
    // What is beyond the bound is read and dropped, so that TypeScript can end.
    tokio::io::copy(&mut kept.into_inner(), &mut tokio::io::sink())
        .await
        .context("TypeScript's messages end early")?;
    if running.wait().await?.success() {
        return Ok(Ok(()));
    }
    Ok(Err(String::from_utf8_lossy(&said).into_owned()))
}
