//! Scripts of files, bundled as the command line does it. Owns the bundler's call and the npm packages for it.
//!
//! Invariant: the flags that decide what is in a bundle are those of the command line, and the packages are those of the
//! lock file in `tests/`; they are installed if they are missing. It does not know what a script does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use room_engine::Script;

/// The flags of the command line.
const FLAGS: &str = include_str!("../../../../cli/src/script/esbuild.flags");

/// The workspace's folder.
fn workspace() -> &'static Path {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR"));
    engine.ancestors().nth(2).expect("the crate is in a workspace")
}

/// A file of this crate's tests.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// A program of the npm packages, which are installed first if they are not those of the lock file.
pub(crate) fn npm_program(name: &str) -> PathBuf {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(install);
    packages().join(".bin").join(name)
}

fn packages() -> PathBuf {
    workspace().join("tests/node_modules")
}

/// Installs the packages unless it was done already; the stamp is the one of the command line's own tests.
fn install() {
    let lock = std::fs::read(workspace().join("tests/package-lock.json")).expect("it is there");
    let stamp = packages().join(".installed");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(workspace().join("tests"));
    let done = npm.output().expect("these tests need Node: install nodejs 20 or newer, with npm");
    assert!(
        done.status.success(),
        "`npm ci` in tests/ fails\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    std::fs::write(stamp, lock).expect("the folder was just made");
}

/// Bundles a file of this crate's tests. The npm packages of `tests/` can be imported.
pub(crate) fn bundle(name: &str) -> Script {
    let mut esbuild = Command::new(npm_program("esbuild"));
    esbuild.arg(file(name)).args(FLAGS.lines()).arg("--log-level=error");
    esbuild.env("NODE_PATH", packages());
    let done = esbuild.output().expect("npm installed it");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{name} cannot be bundled:\n{errors}");
    Script::new(String::from_utf8(done.stdout).expect("a bundle is text"))
}
