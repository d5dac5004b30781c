//! The compiler's target for rooms. Owns its installation.
//!
//! Invariant: nothing is downloaded without a message. It does not know what is compiled.

use super::TARGET;
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::print;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tokio::process::Command;

/// The folders whose toolchain has the target. Asking takes some 50 ms, which every save would pay.
static SURE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Makes sure that the toolchain of this folder compiles for rooms, and adds the target if it is missing.
///
/// # Errors
/// A mistake: there is no rustc, no rustup to add it with, or rustup failed.
pub(super) async fn ensure(dir: &Path) -> anyhow::Result<()> {
    if SURE.lock().is_ok_and(|sure| sure.contains(dir)) {
        return Ok(());
    }
    if !is_installed(dir).await? {
        add(dir).await?;
    }
    if let Ok(mut sure) = SURE.lock() {
        sure.insert(dir.to_owned());
    }
    Ok(())
}

/// Asks again at the next build: another toolchain may have been chosen.
pub(crate) fn forget() {
    if let Ok(mut sure) = SURE.lock() {
        sure.clear();
    }
}

async fn add(dir: &Path) -> anyhow::Result<()> {
    print::talk(format_args!("adding the compiler's target: rustup target add {TARGET}"));
    let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(dir).status();
    match added.await {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Mistake::new(
            Code::NoTarget,
            format_args!("the target {TARGET} could not be added"),
        )
        .help("rustup printed the reason above")
        .into()),
        Err(_) => Err(Mistake::new(
            Code::NoTarget,
            format_args!("this compiler cannot compile for {TARGET}"),
        )
        .help("install Rust from https://rustup.rs, or the target with your system's packages")
        .into()),
    }
}

async fn is_installed(dir: &Path) -> anyhow::Result<bool> {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(dir)
        .output()
        .await;
    let answer = asked.map_err(|err| {
        Mistake::new(Code::NoRust, format_args!("rustc cannot be run: {err}"))
            .help("rooms are compiled with Rust: install it from https://rustup.rs")
    })?;
    let libdir = String::from_utf8_lossy(&answer.stdout);
    Ok(answer.status.success() && Path::new(libdir.trim()).is_dir())
}
