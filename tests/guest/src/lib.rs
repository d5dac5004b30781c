//! Builds the guests under `tests/guests`, and the examples, to WebAssembly. Owns when that happens: once a process.
//!
//! Invariant: a guest that tests run was built from the current sources. It does not know what the guests do, nor who
//! runs them. The runtime's own tests use it, too, so it knows no runtime.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The name of the guests' target for `rustc`.
const TARGET: &str = "wasm32-wasip2";

/// Returns the guest in `tests/guests/NAME` as a component.
///
/// # Panics
/// When it does not build; cargo's own output is in the panic's text.
pub fn guest(name: &str) -> Arc<[u8]> {
    built(format!("room-guest-{name}"))
}

/// Returns the example in `rooms-examples/NAME` as a component.
///
/// # Panics
/// As [`guest`].
pub fn example(name: &str) -> Arc<[u8]> {
    built(format!("room-example-{name}"))
}

/// Returns a package as a component, built at the first call.
fn built(package: String) -> Arc<[u8]> {
    static BUILT: OnceLock<Mutex<HashMap<String, Arc<[u8]>>>> = OnceLock::new();
    let mut built =
        BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    built.entry(package).or_insert_with_key(|package| build(package)).clone()
}

/// Returns the folder that cargo builds this process's package into.
///
/// # Panics
/// When this process does not lie in one.
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("a running process has a path");
    let target = exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    target.expect("tests are run by cargo, from its target folder").to_owned()
}

fn build(package: &str) -> Arc<[u8]> {
    let target = target_dir().join("guests");
    add_target();
    run(Command::new("cargo")
        .args([
            "build",
            "--profile",
            "dist",
            "--target",
            TARGET,
            "--package",
            package,
            "--target-dir",
        ])
        .arg(&target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")));
    let file = format!("{}.wasm", package.replace('-', "_"));
    let path = target.join(TARGET).join("dist").join(file);
    let bytes = std::fs::read(&path);
    bytes.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display())).into()
}

/// Makes sure that the target's standard library is there. It leaves a toolchain without `rustup` alone: if that
/// lacks the target, the build reports it.
fn add_target() {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let Ok(sysroot) = sysroot else { return };
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    let there = Path::new(&sysroot).join("lib/rustlib").join(TARGET).exists();
    if !there && Command::new("rustup").arg("--version").output().is_ok() {
        run(Command::new("rustup").args(["target", "add", TARGET]));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
}
