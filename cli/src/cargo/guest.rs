//! The calls of cargo for guests. Owns the folder for the builds of a package's guests, and which part of a user's
//! configuration reaches them.
//!
//! Invariant: no two packages share a folder, so its content was built from this package and nothing else.
//! Configuration for the machine's own target reaches no guest. It does not know what is built.

use super::{TARGET, config};
use room_runtime::id::ModuleHash;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Makes the list of flags for the guests' target non-empty, so that cargo ignores `[build] rustflags`. The user's
/// flags for the target itself stay in it.
const OWN_FLAG: &str = "--cfg=room_guest";

/// The optimisation of guests in the profile `dev`, as an option of cargo. Compared with no optimisation, the
/// compiler takes a tenth of a second more, the module compiles for this machine in half the time, and it runs twice
/// as fast.
const OPT_LEVEL: &str = "profile.dev.opt-level=1";

/// Leaves out files and lines, which nothing reads: a module's own names say where it failed. They are nine tenths of
/// it.
const NO_DEBUG_LINES: &str = "profile.dev.debug=0";

/// The number of a hash's characters in a folder's name.
const HASH_CHARS: usize = 16;

/// Returns a cargo command for this folder, so that its toolchain file and its `.cargo/config.toml` apply. It writes
/// to the folder `own` and nowhere else.
pub(super) fn cargo(dir: &Path, own: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(dir);
    // Cargo's folder for intermediate files is separate, and may be shared, too.
    command.env("CARGO_TARGET_DIR", own).env("CARGO_BUILD_BUILD_DIR", own);
    command
}

/// Returns the command of [`cargo`] that compiles for guests of a workspace.
pub(super) fn build(dir: &Path, workspace: &Path, own: &Path, profile: &str) -> Command {
    let mut command = cargo(dir, own);
    command.args(["build", "--lib", "--target", TARGET, "--profile", profile]);
    // All of these stand after the command's name: cargo drops those before it.
    command.arg("--config").arg(format!("target.{TARGET}.rustflags=[{OWN_FLAG:?}]"));
    if profile == "dev" {
        command.args(["--config", NO_DEBUG_LINES]);
        if !config::chooses_opt_level(dir, workspace) {
            command.args(["--config", OPT_LEVEL]);
        }
    }
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // Cargo lists the files that it read relative to the workspace's root.
    command.env("CARGO_BUILD_DEP_INFO_BASEDIR", "/");
    command
}

/// Returns the package's own folder inside cargo's target folder.
pub(super) fn own_dir(target_dir: &Path, manifest: &Path) -> PathBuf {
    let hash = ModuleHash::of(manifest.as_os_str().as_encoded_bytes()).to_string();
    let end = hash.char_indices().nth(HASH_CHARS).map_or(hash.len(), |(at, _)| at);
    target_dir.join("room").join(&hash[..end])
}

/// Returns cargo's name for the folder of a profile.
pub(super) fn profile_dir(profile: &str) -> &str {
    match profile {
        "dev" | "test" => "debug",
        "bench" => "release",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_with_the_same_name_and_version_get_separate_folders() {
        let of = |manifest: &str| own_dir(Path::new("/t"), Path::new(manifest));
        let (one, two) = (of("/one/chat/Cargo.toml"), of("/two/chat/Cargo.toml"));
        assert_ne!(one, two);
        assert_eq!(one, of("/one/chat/Cargo.toml"));
        assert!(one.starts_with("/t/room"), "{}", one.display());
    }

    #[test]
    fn dev_builds_optimise_guests_unless_their_manifest_sets_a_level() {
        let dir = tempfile::tempdir().unwrap();
        let options = |profile: &str| {
            let command = build(dir.path(), dir.path(), dir.path(), profile);
            let args: Vec<_> = command.as_std().get_args().map(|arg| arg.to_owned()).collect();
            assert_eq!(args[0], "build", "cargo drops a --config that stands before it");
            let has = |option: &str| args.iter().any(|arg| arg == option);
            (has(OPT_LEVEL), has(NO_DEBUG_LINES))
        };
        assert_eq!(options("dev"), (true, true));
        assert_eq!(options("release"), (false, false));
        std::fs::write(dir.path().join("Cargo.toml"), "[profile.dev]\nopt-level = 0").unwrap();
        assert_eq!(options("dev"), (false, true));
    }
}
