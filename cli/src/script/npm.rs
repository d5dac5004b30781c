//! The npm packages of a project. Owns where its tools are, and their installation.
//!
//! Invariant: nothing is downloaded without a message, and nothing is installed outside of the project's `node_modules`.
//! It does not know what the tools do.

use super::nearest;
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::print;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The tools of a project, as npm installed them.
#[derive(Debug, Clone)]
pub(super) struct NpmTools {
    /// The bundler.
    pub(super) esbuild: PathBuf,
    /// The check of types, if the project has TypeScript.
    pub(super) tsc: Option<PathBuf>,
}

/// Finds the tools of the project in this folder, and installs its packages if they are missing.
///
/// # Errors
/// A mistake: there is no `package.json`, it does not name the bundler, or npm fails.
pub(super) async fn tools(root: &Path) -> anyhow::Result<NpmTools> {
    if let Some(tools) = installed(root) {
        return Ok(tools);
    }
    let Some(home) = nearest(root, |dir| dir.join("package.json").is_file()) else {
        return Err(Mistake::new(
            Code::NoBundler,
            format_args!("there is no package.json in {}, nor in any folder above", root.display()),
        )
        .help("`room new NAME --template typescript` makes one; or `npm init -y`, then `npm install --save-dev esbuild`")
        .into());
    };
    print::talk(format_args!(
        "installing the project's npm packages: npm install ({})",
        home.display()
    ));
    let mut command = Command::new("npm");
    command
        .args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(home)
        .kill_on_drop(true);
    let done = command.status().await.map_err(|error| no_npm(&error))?;
    if !done.success() {
        return Err(Mistake::new(
            Code::NoBundler,
            format_args!("npm install failed in {}", home.display()),
        )
        .help("npm printed the reason above")
        .into());
    }
    installed(root).ok_or_else(|| {
        Mistake::new(
            Code::NoBundler,
            format_args!(
                "{} does not name the bundler esbuild",
                home.join("package.json").display()
            ),
        )
        .help("npm install --save-dev esbuild")
        .into()
    })
}

fn no_npm(error: &std::io::Error) -> anyhow::Error {
    Mistake::new(Code::NoBundler, format_args!("npm cannot be run: {error}"))
        .help("scripts are bundled with npm packages: install Node from https://nodejs.org")
        .into()
}

/// Finds tools among the packages of this folder and those above, as Node does.
fn installed(root: &Path) -> Option<NpmTools> {
    let find = |name: &str| {
        let file = |dir: &Path| dir.join("node_modules/.bin").join(name);
        nearest(root, |dir| file(dir).is_file()).map(file)
    };
    let tsc = native_tsc(root).or_else(|| find("tsc"));
    Some(NpmTools { esbuild: find("esbuild")?, tsc })
}

/// Finds TypeScript's program for this machine: started directly it needs no Node, and half the time.
fn native_tsc(root: &Path) -> Option<PathBuf> {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let package = format!("node_modules/@typescript/typescript-{system}-{machine}/lib/tsc");
    nearest(root, |dir| dir.join(&package).is_file()).map(|dir| dir.join(&package))
}
