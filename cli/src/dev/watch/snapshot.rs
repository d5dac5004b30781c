//! One scan of the files. Owns the content of each.
//!
//! Invariant: two scans differ only where the content does, however often a file was saved. It does not know why a
//! file is scanned.

use super::scope::{FoundPath, Weight};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Up to this size a file is compared by its content, above it by its time of change.
const HASHED_BYTES_MAX: u64 = 1024 * 1024;
/// A file may change again within one tick of the disk's clock: its time says nothing before that has passed.
const CLOCK_TICK_MAX: Duration = Duration::from_secs(2);

/// The result of one scan.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    files: BTreeMap<PathBuf, Seen>,
    /// The folders to watch for changes after this scan.
    pub(super) folders: BTreeSet<PathBuf>,
}

/// The state of a file.
#[derive(Debug, Clone, Copy)]
struct Seen {
    weight: Weight,
    length: u64,
    changed: Option<SystemTime>,
    /// The hash of its content; `None` if it is too long.
    hash: Option<u64>,
    /// True if the time of change distinguishes a later content from this one.
    is_settled: bool,
}

/// The differences between two scans.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Files that matter.
    pub(super) files: BTreeSet<PathBuf>,
    /// Files that matter if the last build failed.
    pub(super) perhaps: BTreeSet<PathBuf>,
}

impl Snapshot {
    /// Scans these files. It does not read files again that were scanned before and have not been touched.
    pub(super) fn of(found: FoundPath, before: &Self) -> Self {
        let seen = |(file, weight): (PathBuf, Weight)| {
            let seen = Seen::of(&file, weight, before.files.get(&file))?;
            Some((file, seen))
        };
        let files = found.files.into_iter().filter_map(seen).collect();
        Self { files, folders: found.folders }
    }

    /// Returns the files whose content differs, that are new, or gone.
    pub(super) fn differs_from(&self, before: &Self) -> Difference {
        let mut difference = Difference::default();
        for (file, now) in &self.files {
            match before.files.get(file) {
                Some(then) if then.is_same(now) => {}
                Some(then) => difference.add(file, now.weight.max(then.weight) >= Weight::Read),
                None => difference.add(file, now.weight >= Weight::Coming),
            }
        }
        for (file, then) in &before.files {
            if !self.files.contains_key(file) {
                difference.add(file, then.weight >= Weight::Coming);
            }
        }
        difference
    }

    /// Takes over the older state of files that an earlier scan has. Counts other files as changed if they changed
    /// after a build may have read them.
    pub(super) fn take_over(&mut self, earlier: Self, read: Option<SystemTime>) {
        for (file, now) in &mut self.files {
            match (earlier.files.get(file), read, now.changed) {
                (Some(then), ..) => *now = Seen { weight: now.weight, ..*then },
                (None, Some(read), Some(changed)) if changed > read => *now = now.unknown(),
                _ => {}
            }
        }
    }
}

impl Seen {
    fn of(file: &Path, weight: Weight, before: Option<&Self>) -> Option<Self> {
        let facts = file.metadata().ok().filter(Metadata::is_file)?;
        let (length, changed) = (facts.len(), facts.modified().ok());
        if let Some(before) = before
            && before.is_settled
            && (before.length, before.changed) == (length, changed)
        {
            return Some(Self { weight, ..*before });
        }
        let hash = match length > HASHED_BYTES_MAX {
            true => None,
            false => {
                let mut hasher = DefaultHasher::new();
                hasher.write(&std::fs::read(file).ok()?);
                Some(hasher.finish())
            }
        };
        let age = changed.and_then(|changed| changed.elapsed().ok());
        let is_settled = age.is_some_and(|age| age > CLOCK_TICK_MAX);
        Some(Self { weight, length, changed, hash, is_settled })
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self.hash, other.hash) {
            (Some(one), Some(two)) => one == two,
            (None, None) => (self.length, self.changed) == (other.length, other.changed),
            _ => false,
        }
    }

    /// Returns a state that no file has.
    fn unknown(self) -> Self {
        Self { length: u64::MAX, changed: None, hash: None, is_settled: false, ..self }
    }
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.perhaps.is_empty()
    }

    /// Returns all of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().chain(&self.perhaps)
    }

    fn add(&mut self, file: &Path, is_sure: bool) {
        let files = if is_sure { &mut self.files } else { &mut self.perhaps };
        files.insert(file.to_owned());
    }
}
