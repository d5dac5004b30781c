//! The damage that a power cut may leave in a store's files, made by hand. Owns the test's knowledge of the folder's
//! layout.
//!
//! ```text
//! log/NUMBER.log   ours: records, then zeros. What was acknowledged is synced, what follows may be anything.
//! tree-NUMBER/…    another's, synced at leisure: may be anything.
//! ```
//!
//! Invariant: no acknowledged byte is touched. All else in the folder is left alone. It does not know how either is
//! read.

use room_tests::Dice;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Zeros that may belong to the last record: its values do not end in zeros, but its framing may.
const FRAMING_BYTES: u64 = 64;
/// The most noise after the last record, in bytes.
const TAIL_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of one stretch of noise in a tree.
const STRETCH_BYTES_MAX: usize = 16 * 1024;

/// Overwrites with noise all places that may hold any. Returns the number of changed files.
pub(crate) fn garble(data: &Path, dice: &mut Dice) -> u64 {
    let mut garbled = 0;
    for tree in entries(data).filter(|path| name(path).starts_with("tree-")) {
        for file in files(&tree) {
            noise(&file, dice);
            garbled += 1;
        }
    }
    let logs = entries(&data.join("log")).filter(|path| name(path).ends_with(".log"));
    // Numbers of more digits are larger.
    let number = |path: &PathBuf| (name(path).len(), name(path).to_owned());
    if let Some(newest) = logs.max_by_key(number) {
        let end = last_written(&newest);
        let length = std::fs::metadata(&newest).unwrap().len();
        let count = dice.below(TAIL_BYTES_MAX).min(usize::try_from(length - end).unwrap());
        File::options()
            .write(true)
            .open(&newest)
            .unwrap()
            .write_all_at(&dice.bytes(count), end)
            .unwrap();
        garbled += 1;
    }
    garbled
}

/// Makes the next server find that the machine was restarted: the folder names the machine's start that wrote it.
pub(crate) fn restart_machine(data: &Path) {
    let path = data.join("state");
    if let Ok(state) = std::fs::read_to_string(&path) {
        let other = state.replacen("\"boot\": \"", "\"boot\": \"before ", 1);
        assert_ne!(other, state, "{} does not say where it was written", path.display());
        std::fs::write(&path, other).unwrap();
    }
}

/// Returns a position after every record, found without reading the records.
fn last_written(log: &Path) -> u64 {
    let bytes = std::fs::read(log).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
    (written + FRAMING_BYTES).min(bytes.len() as u64)
}

/// Overwrites stretches of a file, and sometimes cuts its end off.
fn noise(path: &Path, dice: &mut Dice) {
    let file = File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let below = |dice: &mut Dice| dice.below(usize::try_from(length + 1).unwrap()) as u64;
    for _ in 0..=dice.below(4) {
        let (at, count) = (below(dice), dice.below(STRETCH_BYTES_MAX));
        file.write_all_at(&dice.bytes(count), at).unwrap();
    }
    if dice.below(4) == 0 {
        file.set_len(below(dice)).unwrap();
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Returns the entries of a folder.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Returns all files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (folders, mut found): (Vec<_>, Vec<_>) = entries(folder).partition(|path| path.is_dir());
    found.extend(folders.iter().flat_map(|folder| files(folder)));
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_hits_trees_and_bytes_after_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let (log, tree) = (dir.path().join("log"), dir.path().join("tree-3/blobs"));
        std::fs::create_dir_all(&log).unwrap();
        std::fs::create_dir_all(&tree).unwrap();
        let written = [vec![7; 1_000], vec![0; 100_000]].concat();
        for path in ["log/9.log", "log/10.log", "tree-3/db", "tree-3/blobs/1", "boot"] {
            std::fs::write(dir.path().join(path), &written).unwrap();
        }
        let mut dice = Dice(1);
        assert_eq!(garble(dir.path(), &mut dice), 3);
        let read = |path: &str| std::fs::read(dir.path().join(path)).unwrap();
        assert_eq!(read("boot"), written);
        assert_eq!(read("log/9.log"), written);
        assert_ne!(read("tree-3/db"), written);
        assert_ne!(read("tree-3/blobs/1"), written);
        let newest = read("log/10.log");
        assert_eq!((newest.len(), &newest[..1_000]), (written.len(), &written[..1_000]));
        assert_ne!(newest, written);
    }
}
