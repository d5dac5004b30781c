//! The static files of a deployment. Owns which files of a folder are sent, and why others are not.
//!
//! Invariant: exactly the files are sent that `room dev` serves from the folder. A file that is neither sent nor
//! hidden is named. It does not know how files are sent.

use anyhow::Context as _;
use ignore::{DirEntry, WalkBuilder};
use room_runtime::assets::{is_hidden_name, is_public};
use room_runtime::lock::lock;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The files of a folder that are sent.
#[derive(Debug, Default)]
pub(super) struct FoundAsset {
    /// By their paths in URLs.
    pub(super) files: BTreeMap<String, PathBuf>,
    /// The files that are not, with the reason.
    pub(super) left_out: Vec<String>,
}

/// Walks a folder of static files.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn find(dir: &Path) -> anyhow::Result<FoundAsset> {
    let root = dir.canonicalize().with_context(|| format!("{} cannot be read", dir.display()))?;
    let mut found = FoundAsset::default();
    let mut walk = WalkBuilder::new(&root);
    walk.standard_filters(false).follow_links(true);
    let (below, elsewhere) = (root.clone(), Arc::new(Mutex::new(Vec::new())));
    let told = elsewhere.clone();
    walk.filter_entry(move |entry| match enters(&below, entry) {
        Enters::Yes => true,
        Enters::No => false,
        Enters::Elsewhere => {
            lock(&told).push(entry.path().to_owned());
            false
        }
    });
    for entry in walk.build() {
        match entry {
            Ok(entry) => found.add(&root, &entry),
            // A link that leads nowhere, or around in a circle.
            Err(err) => found.left_out.push(err.to_string()),
        }
    }
    for path in lock(&elsewhere).iter() {
        found.leave_out(&root, path, ELSEWHERE);
    }
    Ok(found)
}

/// The reason why a link is not followed.
const ELSEWHERE: &str = "it leads to a place that is hidden, or outside of the folder";

/// Whether the walk enters an entry.
enum Enters {
    Yes,
    /// It is hidden.
    No,
    /// It is a link to a folder that is not public.
    Elsewhere,
}

fn enters(root: &Path, entry: &DirEntry) -> Enters {
    let is_folder = entry.path_is_symlink() && entry.path().is_dir();
    match entry.depth() > 0 && is_hidden_name(&entry.file_name().to_string_lossy()) {
        true => Enters::No,
        false if is_folder && !leads_to_public(root, entry.path()) => Enters::Elsewhere,
        false => Enters::Yes,
    }
}

fn leads_to_public(root: &Path, path: &Path) -> bool {
    path.canonicalize().is_ok_and(|found| is_public(root, &found))
}

impl FoundAsset {
    fn add(&mut self, root: &Path, entry: &DirEntry) {
        let path = entry.path();
        if !leads_to_public(root, path) {
            return self.leave_out(root, path, ELSEWHERE);
        }
        match entry.file_type() {
            Some(kind) if kind.is_dir() => return,
            Some(kind) if kind.is_file() => {}
            _ => return self.leave_out(root, path, "it is not a regular file"),
        }
        let name = path.strip_prefix(root).unwrap_or(path);
        let parts: Option<Vec<&str>> = name.iter().map(|part| part.to_str()).collect();
        match parts {
            Some(parts) => drop(self.files.insert(parts.join("/"), path.to_owned())),
            None => self.leave_out(root, path, "its name is not valid UTF-8"),
        }
    }

    fn leave_out(&mut self, root: &Path, path: &Path, why: &str) {
        let name = path.strip_prefix(root).unwrap_or(path);
        self.left_out.push(format!("{}: {why}", name.display()));
    }
}
