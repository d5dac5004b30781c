//! One look at the files. Owns which of them belong to a project's sources.
//!
//! Invariant: a scan only reads. Ignored are: what git ignores, hidden files, editors' temporary files,
//! the static files, cargo's outputs and lock file. It does not know when to look.

use crate::cargo::Plan;
use crate::dotenv;
use crate::manifest;
use crate::project::Project;
use ignore::{DirEntry, WalkBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Up to this size a file is compared by its content, above it by its time of change.
const HASHED_BYTES_MAX: u64 = 1024 * 1024;

/// Which files to look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::dev) struct Scope {
    /// Folders, with everything in them that is not ignored.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Single files.
    pub(super) files: BTreeSet<PathBuf>,
    /// Folders to leave out.
    pub(super) ignored: BTreeSet<PathBuf>,
}

/// What a file holds, short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Print {
    Content(u64),
    Changed(u64, Option<SystemTime>),
}

/// What one look found.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    files: BTreeMap<PathBuf, Print>,
    /// The folders that have to be watched to notice when this gets old.
    pub(super) folders: BTreeSet<PathBuf>,
}

impl Scope {
    /// What decides how a project is built and served: its `room.toml`, its variables, and its packages as
    /// far as they are known.
    pub(in crate::dev) fn of(project: &Project, plan: Option<&Plan>) -> Self {
        let mut scope = Self::default();
        scope.files.insert(project.root.join(manifest::FILE));
        scope.files.extend(dotenv::FILES.map(|file| project.root.join(file)));
        scope.ignored.extend(project.assets().and_then(|dir| dir.canonicalize().ok()));
        match plan {
            Some(plan) => {
                scope.folders = plan.sources();
                scope.files.extend(plan.files());
                scope.ignored.extend(plan.outputs());
            }
            // Cargo could not be asked yet; a change of these may be what it takes.
            None => {
                for party in &project.manifest.parties {
                    let Ok(dir) = project.root.join(party.path.get_ref()).canonicalize() else {
                        continue;
                    };
                    let manifests = dir.ancestors().map(|above| above.join("Cargo.toml"));
                    scope.files.extend(manifests.filter(|file| file.is_file()));
                    scope.folders.insert(dir);
                }
            }
        }
        scope
    }

    /// Looks at all of it. What cannot be read is not there.
    pub(super) fn scan(&self) -> Snapshot {
        let mut found = Snapshot::default();
        for file in &self.files {
            found.folders.extend(file.parent().map(Path::to_owned));
            found.add(file);
        }
        for folder in &self.folders {
            let ignored = self.ignored.clone();
            let walk = WalkBuilder::new(folder)
                .require_git(false)
                .filter_entry(move |entry| entry.depth() == 0 || is_source(entry, &ignored))
                .build();
            for entry in walk.flatten() {
                match entry.file_type() {
                    Some(kind) if kind.is_dir() => drop(found.folders.insert(entry.into_path())),
                    Some(kind) if kind.is_file() => found.add(entry.path()),
                    _ => {}
                }
            }
        }
        found
    }
}

/// Whether this can decide what is built. Git's and hidden files are sorted out by the walk itself.
fn is_source(entry: &DirEntry, ignored: &BTreeSet<PathBuf>) -> bool {
    let name = entry.file_name().to_string_lossy();
    if entry.file_type().is_some_and(|kind| kind.is_dir()) {
        // Every tool that writes caches marks them with this file, cargo too.
        let is_cache = entry.path().join("CACHEDIR.TAG").exists();
        return name != "node_modules" && !is_cache && !ignored.contains(entry.path());
    }
    // Cargo writes its lock file in the middle of a build.
    name != "Cargo.lock" && !name.ends_with('~') && !name.ends_with(".tmp")
}

impl Snapshot {
    fn add(&mut self, file: &Path) {
        if let Some(print) = print_of(file) {
            self.files.insert(file.to_owned(), print);
        }
    }

    /// The files whose content differs, that are new, or gone.
    pub(super) fn differs_from(&self, before: &Self) -> BTreeSet<PathBuf> {
        let new = self.files.iter().filter(|(file, print)| before.files.get(*file) != Some(*print));
        let gone = before.files.keys().filter(|file| !self.files.contains_key(*file));
        new.map(|(file, _)| file).chain(gone).cloned().collect()
    }

    /// Takes the older state of those files that an earlier look knew already.
    pub(super) fn keep_known(&mut self, earlier: Self) {
        for (file, print) in earlier.files {
            if let Some(now) = self.files.get_mut(&file) {
                *now = print;
            }
        }
    }
}

fn print_of(file: &Path) -> Option<Print> {
    let facts = file.metadata().ok()?;
    if facts.len() > HASHED_BYTES_MAX {
        return Some(Print::Changed(facts.len(), facts.modified().ok()));
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(&std::fs::read(file).ok()?);
    Some(Print::Content(hasher.finish()))
}
