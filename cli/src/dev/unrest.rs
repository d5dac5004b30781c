//! Files that change while a build runs. Owns the decision whether that ends the build.
//!
//! Invariant: no file, however often it changes, ends more than [`ENDS_MAX`] builds in a row. A save that a build may
//! have missed leads to another build. It does not know what is built.

use crate::cargo::Times;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The most builds in a row that a file may end by changing. The next one runs to its end. One is not enough: an
/// editor that empties a file before it writes it is seen twice, and then its user saves again.
const ENDS_MAX: u32 = 2;

/// After so many builds in a row during which a file changed, that file alone starts no other.
const ROUNDS_MAX: u32 = 3;

/// The changes during builds.
#[derive(Debug, Default)]
pub(super) struct Unrest {
    /// During the running build.
    now: BTreeSet<PathBuf>,
    /// During earlier builds: how many in a row, up to the last.
    before: BTreeMap<PathBuf, u32>,
    /// Changed files that were not built yet.
    waiting: BTreeSet<PathBuf>,
    /// Changes that matter if the running build fails.
    perhaps: BTreeSet<PathBuf>,
    /// The number of builds in a row that ended and had missed a change.
    rounds: u32,
    /// Files that builds write themselves.
    written: BTreeSet<PathBuf>,
    /// Files that change all the time.
    restless: BTreeSet<PathBuf>,
}

/// The meaning of a change during a build.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The build is outdated.
    Restart,
    /// It is checked again when the build has ended.
    Wait,
}

/// The work at the end of a build.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct After {
    /// True if the build missed a change.
    pub(super) again: bool,
    /// Files that builds write, to be named.
    pub(super) written: BTreeSet<PathBuf>,
    /// Files that change all the time, to be named.
    pub(super) restless: BTreeSet<PathBuf>,
}

impl Unrest {
    /// Notes that a build starts.
    pub(super) fn started(&mut self) {
        let before = std::mem::take(&mut self.before);
        let in_a_row = |file: &PathBuf| before.get(file).copied().unwrap_or(0).saturating_add(1);
        let now = std::mem::take(&mut self.now).into_iter();
        self.before = now.map(|file| (file.clone(), in_a_row(&file))).collect();
        self.waiting.clear();
        self.perhaps.clear();
    }

    /// Returns true if files that changed while no build ran need one. A save of a file that does not change all the
    /// time also ends the row of builds that missed a change.
    pub(super) fn is_worth_a_build(&mut self, files: &BTreeSet<PathBuf>) -> bool {
        let worth = !files.is_subset(&self.restless);
        if worth {
            self.rounds = 0;
        }
        worth
    }

    /// Notes files that changed while a build runs.
    pub(super) fn changed(
        &mut self,
        files: &BTreeSet<PathBuf>,
        perhaps: &BTreeSet<PathBuf>,
    ) -> Meaning {
        self.perhaps.extend(perhaps.iter().cloned());
        let known = |file: &PathBuf| {
            is_lock(file)
                || self.before.get(file).is_some_and(|builds| *builds >= ENDS_MAX)
                || [&self.written, &self.restless].iter().any(|all| all.contains(file))
        };
        let new = files.iter().any(|file| !known(file));
        self.now.extend(files.iter().cloned());
        self.waiting.extend(files.iter().cloned());
        if new { Meaning::Restart } else { Meaning::Wait }
    }

    /// Notes that a build ended, with the times by which it had read its inputs.
    pub(super) fn ended(&mut self, failed: bool, times: Times) -> After {
        let mut missed = std::mem::take(&mut self.waiting);
        let read = missed.extract_if(.., |file| {
            let changed = file.metadata().and_then(|facts| facts.modified()).ok();
            let until = if is_lock(file) { times.locked } else { times.scripts };
            changed.zip(until).is_some_and(|(changed, until)| changed <= until)
        });
        let mut after = After { written: read.collect(), ..After::default() };
        // Everybody knows that cargo writes its lock file.
        after.written.retain(|file| !is_lock(file) && self.written.insert(file.clone()));
        missed.retain(|file| !self.restless.contains(file));
        if failed {
            missed.append(&mut self.perhaps);
        }
        self.rounds = if missed.is_empty() { 0 } else { self.rounds + 1 };
        if self.rounds > ROUNDS_MAX {
            self.rounds = 0;
            missed.retain(|file| {
                !self.before.contains_key(file) || {
                    self.restless.insert(file.clone());
                    after.restless.insert(file.clone());
                    false
                }
            });
        }
        after.again = !missed.is_empty();
        after
    }
}

fn is_lock(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "Cargo.lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::disk_time;

    fn files(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    const NONE: BTreeSet<PathBuf> = BTreeSet::new();

    #[test]
    fn a_save_cancels_a_build_but_a_file_that_every_build_changes_does_not() {
        let mut unrest = Unrest::default();
        for _ in 0..ENDS_MAX {
            unrest.started();
            assert_eq!(unrest.changed(&files(&["a"]), &NONE), Meaning::Restart);
        }
        unrest.started();
        assert_eq!(unrest.changed(&files(&["a"]), &NONE), Meaning::Wait);
        // Another one is a save.
        assert_eq!(unrest.changed(&files(&["a", "b"]), &NONE), Meaning::Restart);
    }

    #[test]
    fn a_change_that_a_build_may_have_missed_starts_another_build() {
        let mut unrest = Unrest::default();
        for _ in 0..=ENDS_MAX {
            unrest.started();
            unrest.changed(&files(&["a"]), &NONE);
        }
        assert!(unrest.ended(false, Times::default()).again);
        unrest.started();
        assert_eq!(unrest.ended(false, Times::default()), After::default());
    }

    #[test]
    fn files_that_a_build_script_wrote_count_as_read_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("build_info.rs");
        let all = BTreeSet::from([file.clone()]);
        let mut unrest = Unrest::default();
        let mut named = 0;
        for round in 0..4_u32 {
            unrest.started();
            std::fs::write(&file, format!("{round}")).unwrap();
            if unrest.changed(&all, &NONE) == Meaning::Restart {
                assert!(round < ENDS_MAX);
                continue;
            }
            let after = unrest.ended(false, Times { scripts: Some(disk_time()), locked: None });
            assert!(!after.again);
            named += after.written.len();
        }
        assert_eq!(named, 1);
        // A save of it while nothing runs is a save.
        assert!(unrest.is_worth_a_build(&all));
    }

    #[test]
    fn a_constantly_changing_file_is_named_and_starts_no_builds() {
        let mut unrest = Unrest::default();
        let log = files(&["log"]);
        let mut ended = Vec::new();
        for _ in 0..8 {
            unrest.started();
            if unrest.changed(&log, &NONE) == Meaning::Wait {
                ended.push(unrest.ended(false, Times::default()));
            }
        }
        let named: Vec<_> = ended.iter().filter(|after| !after.restless.is_empty()).collect();
        assert_eq!(named.len(), 1, "{ended:?}");
        assert!(!ended.last().unwrap().again);
        assert!(!unrest.is_worth_a_build(&log));
        assert!(unrest.is_worth_a_build(&files(&["log", "lib.rs"])));
    }

    #[test]
    fn an_unread_file_matters_if_the_build_fails() {
        let mut unrest = Unrest::default();
        for (failed, again) in [(false, false), (true, true)] {
            unrest.started();
            assert_eq!(unrest.changed(&NONE, &files(&["new.rs"])), Meaning::Wait);
            assert_eq!(unrest.ended(failed, Times::default()).again, again);
        }
    }
}
