//! The watched files. Owns how much a change of each of them means.
//!
//! Invariant: a file that a build read counts, whatever ignores it. Files that `room`, cargo and editors write for
//! themselves never count unless a build read them. Ignore rules are git's, and end where its repository does. It
//! does not know when to scan.

use super::snapshot::Snapshot;
use crate::building::BuildPlan;
use crate::cargo::{Inputs, Times};
use crate::dotenv;
use crate::manifest;
use crate::project::Project;
use crate::script::PageScripts;
use ignore::{DirEntry, WalkBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How much a change of a file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// It matters if the last build failed, as the inputs of that build are not fully known.
    Perhaps,
    /// As [`Weight::Perhaps`], but creating or removing it always matters.
    Coming,
    /// It matters: a build read it.
    Read,
}

/// The files to scan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Scope {
    /// The inputs of builds.
    pub(super) inputs: Inputs,
    /// Folders to leave out.
    pub(super) ignored: BTreeSet<PathBuf>,
}

/// The files to scan now.
#[derive(Debug, Default)]
pub(super) struct FoundPath {
    pub(super) files: BTreeMap<PathBuf, Weight>,
    /// The folders in which a change shows.
    pub(super) folders: BTreeSet<PathBuf>,
}

impl Scope {
    /// Returns the files that decide how a project is built and served: its `room.toml`, its variables, its packages
    /// as far as they are known, and the inputs of their last builds.
    pub(in crate::dev) fn of(project: &Project, plan: Option<&BuildPlan>, read: &Inputs) -> Self {
        let mut scope = Self { inputs: read.clone(), ignored: BTreeSet::new() };
        scope.inputs.times = Times::default();
        let own = [manifest::FILE].into_iter().chain(dotenv::FILES);
        scope.inputs.files.extend(own.map(|file| project.root.join(file)));
        scope.ignored.extend(project.assets().and_then(|dir| dir.canonicalize().ok()));
        match plan {
            Some(plan) => {
                scope.inputs.extend(plan.inputs());
                scope.ignored.extend(plan.outputs());
            }
            // Cargo could not list the packages yet. A change of these files may correct that.
            None => {
                for party in &project.manifest.parties {
                    if let Some(script) = &party.script {
                        scope.inputs.files.insert(project.root.join(script.file.get_ref()));
                        continue;
                    }
                    let Ok(dir) = project.root.join(party.path.get_ref()).canonicalize() else {
                        continue;
                    };
                    let manifests = dir.ancestors().map(|above| above.join("Cargo.toml"));
                    scope.inputs.files.extend(manifests);
                    scope.inputs.sources.insert(dir.join("src"));
                    scope.inputs.roots.insert(dir);
                }
            }
        }
        scope
    }

    /// Returns the static files of a project, without the bundles that its build makes of page scripts.
    pub(in crate::dev) fn pages(project: &Project) -> Self {
        let mut scope = Self::default();
        let Some(assets) = project.assets().and_then(|dir| dir.canonicalize().ok()) else {
            return scope;
        };
        // The folder may be missing before the first build.
        let bundles = PageScripts::of(project).map(|pages| pages.output());
        let name = bundles.as_deref().and_then(Path::file_name);
        scope.ignored.extend(name.map(|name| assets.join(name)));
        scope.inputs.sources.insert(assets);
        scope
    }

    /// Returns all sources of a project, as git sees them: what its tests may read.
    pub(crate) fn whole(project: &Project) -> Self {
        let mut scope = Self::of(project, None, &Inputs::default());
        scope.inputs.packages.insert(project.root.clone());
        scope
    }

    /// Scans all of it. A file that cannot be read counts as missing.
    pub(super) fn scan(&self, before: &Snapshot) -> Snapshot {
        Snapshot::of(self.find(), before)
    }

    fn find(&self) -> FoundPath {
        let Inputs { files, trees, packages, sources, roots, .. } = &self.inputs;
        let mut found = FoundPath::default();
        roots.iter().for_each(|dir| self.walk_package(dir, Weight::Perhaps, &mut found));
        sources.iter().for_each(|dir| self.walk(dir, Rules::Visible, Weight::Coming, &mut found));
        packages.iter().for_each(|dir| self.walk_package(dir, Weight::Read, &mut found));
        trees.iter().for_each(|dir| self.walk(dir, Rules::None, Weight::Read, &mut found));
        files.iter().for_each(|file| found.add(file.clone(), Weight::Read));
        for file in files.iter().filter(|file| file.exists()) {
            // A link is saved where it leads to. For a missing file, only a scan finds it.
            let real = file.canonicalize().ok();
            let places = [Some(file.clone()), real].into_iter().flatten();
            found.folders.extend(places.filter_map(|file| Some(file.parent()?.to_owned())));
        }
        found
    }

    /// Walks a package as git sees it, or all of it if git does not see it.
    fn walk_package(&self, dir: &Path, weight: Weight, found: &mut FoundPath) {
        let mut seen = FoundPath::default();
        self.walk(dir, Rules::Git, weight, &mut seen);
        if seen.files.is_empty() {
            self.walk(dir, Rules::Visible, weight, &mut seen);
        }
        seen.files.into_iter().for_each(|(file, weight)| found.add(file, weight));
        found.folders.extend(seen.folders);
    }

    fn walk(&self, folder: &Path, rules: Rules, weight: Weight, found: &mut FoundPath) {
        let ignored = self.ignored.clone();
        let mut walk = WalkBuilder::new(folder);
        walk.standard_filters(false).follow_links(true);
        if rules != Rules::None {
            walk.hidden(true);
            walk.filter_entry(move |entry| entry.depth() == 0 || is_source(entry, &ignored));
        }
        if rules == Rules::Git {
            walk.parents(true).git_ignore(true).git_exclude(true).git_global(true);
        }
        for entry in walk.build().flatten() {
            match entry.file_type() {
                Some(kind) if kind.is_dir() => drop(found.folders.insert(entry.into_path())),
                Some(kind) if kind.is_file() => found.add(entry.into_path(), weight),
                _ => {}
            }
        }
    }
}

/// The files of a folder that are left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Nothing.
    None,
    /// Hidden files, caches, and editors' own files.
    Visible,
    /// Files that git ignores, too.
    Git,
}

/// Returns true if this may be a user's source. The walk itself leaves out git's and hidden files.
fn is_source(entry: &DirEntry, ignored: &BTreeSet<PathBuf>) -> bool {
    let name = entry.file_name().to_string_lossy();
    if entry.file_type().is_some_and(|kind| kind.is_dir()) {
        // Every tool that writes caches marks them with this file, as cargo does.
        let is_cache = entry.path().join("CACHEDIR.TAG").exists();
        return name != "node_modules" && !is_cache && !ignored.contains(entry.path());
    }
    // Cargo writes the first itself. Editors create the second to test whether they may write, and the others for
    // themselves.
    let others = ["Cargo.lock", "4913"];
    !others.contains(&&*name) && !name.ends_with('~') && !name.ends_with(".tmp")
}

impl FoundPath {
    fn add(&mut self, file: PathBuf, weight: Weight) {
        let known = self.files.entry(file).or_insert(weight);
        *known = weight.max(*known);
    }
}
