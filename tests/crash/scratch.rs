//! The one folder below which a run keeps everything. Owns its end, and that of the folders of runs that were killed.
//!
//! Invariant: a run that ends leaves nothing but what it kept for the person who looks into a failure, and neither do the
//! servers that it kills: their temporary files lie below it, too. A run that is killed cannot remove its folder, so the
//! next one does. It does not know what is stored.

use std::path::{Path, PathBuf};
use tempfile::{Builder, TempDir};

/// What the names of these folders begin with; the number of the run's process and a random part follow.
const PREFIX: &str = "room-crash-";
/// What the names of the folders begin with that nobody removes.
const KEPT: &str = "room-kept-";

/// The folder of a run.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    /// Makes the folder of this run, and removes those of runs that were killed.
    pub(crate) fn new() -> Self {
        let temp = std::env::temp_dir();
        sweep(&temp);
        let prefix = format!("{PREFIX}{}-", std::process::id());
        Self(Builder::new().prefix(&prefix).tempdir_in(temp).unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Removes the folder.
    ///
    /// # Panics
    /// When something cannot be removed, for example as a server still writes to it.
    pub(crate) fn remove(self) {
        let path = self.path().to_owned();
        self.0.close().unwrap_or_else(|error| panic!("{} stays: {error}", path.display()));
    }
}

/// Makes a folder that outlives the run.
pub(crate) fn kept() -> PathBuf {
    Builder::new().prefix(KEPT).tempdir().unwrap().keep()
}

/// Removes the folders of runs whose process has ended.
fn sweep(temp: &Path) {
    for entry in std::fs::read_dir(temp).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let run = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        let process = run.and_then(|(process, _)| process.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            // Another run may be removing it, too.
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn folders_of_killed_runs_are_removed_and_no_others() {
        let temp = tempfile::tempdir().unwrap();
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let dead = temp.path().join(format!("{PREFIX}{}-a", ended.id()));
        let others =
            [format!("{PREFIX}{}-b", std::process::id()), format!("{KEPT}1-c"), "d".into()];
        let others = others.map(|name| temp.path().join(name));
        for folder in others.iter().chain([&dead]) {
            std::fs::create_dir_all(folder.join("data/log")).unwrap();
            std::fs::write(folder.join("data/log/1.log"), "a turn").unwrap();
        }
        sweep(temp.path());
        assert!(!dead.exists());
        assert!(others.iter().all(|folder| folder.join("data/log/1.log").exists()));
    }

    #[test]
    fn a_run_that_ends_leaves_nothing() {
        let scratch = Scratch::new();
        let path = scratch.path().to_owned();
        std::fs::write(path.join("left by a killed server"), "").unwrap();
        scratch.remove();
        assert!(!path.exists());
    }
}
