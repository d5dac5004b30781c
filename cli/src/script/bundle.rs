//! A script and what it imports as one module. Owns the call of the bundler.
//!
//! Invariant: modules that the engine has are left for it, and everything else is in the bundle or an error. It does not
//! know what a bundle becomes.

use super::npm::NpmTools;
use super::positions::{self, BundlePositions};
use crate::cargo::Group;
use anyhow::Context as _;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// What decides what is in a bundle, a flag a line. The tests of packages bundle with the same.
///
/// `browser` is among the conditions, as it is for workers elsewhere: many a package has a build for Node, one for browsers,
/// and none for workers.
const FLAGS: &str = include_str!("esbuild.flags");

/// The bytes of errors that are kept.
const ERRORS_BYTES_MAX: u64 = 64 * 1024;

/// The largest bundle, in bytes.
const BUNDLE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Modules that come with Node alone.
const OF_NODE: [&str; 18] = [
    "fs",
    "path",
    "os",
    "net",
    "tls",
    "http",
    "https",
    "http2",
    "child_process",
    "cluster",
    "dgram",
    "dns",
    "worker_threads",
    "zlib",
    "stream",
    "vm",
    "v8",
    "module",
];

/// One module.
#[derive(Debug)]
pub(super) struct Bundle {
    /// Its source.
    pub(super) source: String,
    /// Where its lines come from.
    pub(super) positions: BundlePositions,
    /// The files that were read, without those of installed packages.
    pub(super) files: BTreeSet<PathBuf>,
}

/// What the bundler says about the files that it reads and writes.
#[derive(Deserialize)]
struct Metafile {
    inputs: BTreeMap<String, serde::de::IgnoredAny>,
    outputs: BTreeMap<String, serde::de::IgnoredAny>,
}

/// Bundles a script. Returns the bundler's errors with file, line and excerpt if it refuses.
///
/// # Errors
/// The bundler cannot be run, or its output cannot be read.
///
/// # Cancel safety
/// Dropping it kills the bundler.
pub(super) async fn make(
    tools: &NpmTools,
    root: &Path,
    file: &Path,
    own: &Path,
) -> anyhow::Result<Result<Bundle, String>> {
    call(tools, root, file, own, &[]).await
}

/// Bundles a file of tests, as [`make`] does.
///
/// # Errors
/// As there.
///
/// # Cancel safety
/// As there.
pub(super) async fn make_tests(
    tools: &NpmTools,
    root: &Path,
    file: &Path,
    own: &Path,
) -> anyhow::Result<Result<Bundle, String>> {
    call(tools, root, file, own, &["--external:roomkit/test"]).await
}

async fn call(
    tools: &NpmTools,
    root: &Path,
    file: &Path,
    own: &Path,
    further: &[&str],
) -> anyhow::Result<Result<Bundle, String>> {
    let (out, meta) = (own.join("bundle.js"), own.join("bundle.json"));
    let mut command = Command::new(&tools.esbuild);
    command.arg(file).current_dir(root);
    command.args(FLAGS.lines()).args([
        "--sourcemap=external",
        "--sources-content=false",
        "--log-level=warning",
        "--color=true",
    ]);
    command.args(further);
    command
        .arg(format!("--outfile={}", out.display()))
        .arg(format!("--metafile={}", meta.display()));
    if let Err(errors) = run(tools, command).await? {
        return Ok(Err(with_help(errors)));
    }
    let bytes = std::fs::metadata(&out).map(|file| file.len()).unwrap_or_default();
    if bytes > BUNDLE_BYTES_MAX {
        return Ok(Err(format!(
            "error: the bundle of {} has {bytes} bytes, and may have {BUNDLE_BYTES_MAX}: import less, or serve data as \
             static files\n",
            file.display()
        )));
    }
    read(root, &out, &meta).map(Ok)
}

/// Runs the bundler, and prints its warnings. Returns its errors if it refuses.
///
/// # Errors
/// It cannot be run.
///
/// # Cancel safety
/// Dropping it kills the bundler.
pub(super) async fn run(
    tools: &NpmTools,
    mut command: Command,
) -> anyhow::Result<Result<(), String>> {
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut running = Group::spawn(command)
        .with_context(|| format!("{} cannot be run", tools.esbuild.display()))?;
    let stderr = running.stderr().context("the bundler has no stderr")?;
    let mut said = Vec::new();
    let mut kept = stderr.take(ERRORS_BYTES_MAX);
    kept.read_to_end(&mut said).await.context("the bundler's messages end early")?;
    tokio::io::copy(&mut kept.into_inner(), &mut tokio::io::sink())
        .await
        .context("the bundler's messages end early")?;
    let said = String::from_utf8_lossy(&said).into_owned();
    if !running.wait().await?.success() {
        return Ok(Err(said));
    }
    if !said.trim().is_empty() {
        crate::print::talk(said.trim_end());
    }
    Ok(Ok(()))
}

/// Returns the project's own files that the bundler has read, by its list in this file.
pub(super) fn inputs(root: &Path, meta: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let files = metafile(meta)?.inputs.into_keys();
    let own = files.filter(|file| !file.contains("node_modules/") && !file.contains(':'));
    Ok(own.map(|file| root.join(file)).collect())
}

/// Returns the files that the bundler has written, by its list in this file.
pub(super) fn outputs(root: &Path, meta: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    Ok(metafile(meta)?.outputs.into_keys().map(|file| root.join(file)).collect())
}

fn metafile(meta: &Path) -> anyhow::Result<Metafile> {
    let text = std::fs::read_to_string(meta)
        .with_context(|| format!("the bundler's output {} is gone", meta.display()))?;
    serde_json::from_str(&text).context("the bundler's list of files is odd")
}

fn read(root: &Path, out: &Path, meta: &Path) -> anyhow::Result<Bundle> {
    let text = |path: &Path| {
        std::fs::read_to_string(path)
            .with_context(|| format!("the bundler's output {} is gone", path.display()))
    };
    let map = out.with_extension("js.map");
    let positions = positions::of(&text(&map)?, out.parent().unwrap_or(root), root)?;
    Ok(Bundle { source: text(out)?, positions, files: inputs(root, meta)? })
}

/// Adds what to do about a module of Node.
fn with_help(mut said: String) -> String {
    let missing = |name: &str| {
        said.contains(&format!("Could not resolve \"{name}\""))
            || said.contains(&format!("Could not resolve \"node:{name}\""))
    };
    let found: Vec<&str> = OF_NODE.into_iter().filter(|name| missing(name)).collect();
    if !found.is_empty() {
        said.push_str(&format!(
            "{} come{} with Node, and a room does not run in Node: it has no files, processes or sockets. Keep data in \
             this.ctx.storage, ask other servers with fetch, or choose a package that runs in browsers and workers.\n",
            found.join(", "),
            if found.len() == 1 { "s" } else { "" },
        ));
    }
    said
}
