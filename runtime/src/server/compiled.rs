//! The folder of compiled code, which is machine code for this process. Owns that none of it runs that was altered.
//!
//! Invariant: at a start, a file whose bytes are not those that were noted is removed, and its module is compiled
//! again. It does not know what writes the files, nor what is in them.

use super::file::FileError;
use super::ledger::Ledger;
use super::release::BlobId;
use super::{blobs, file};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file of what is noted, beside the folder.
const NOTED: &str = "compiled.json";
/// Whose it is.
const OWNER: &str = "server";

/// Files by their paths, with the hash of their bytes.
type Sums = BTreeMap<PathBuf, BlobId>;

/// Removes what was altered, or was not noted, since [`note`]. Blocks.
///
/// # Errors
/// [`FileError`]: a file cannot be removed.
pub(super) fn verify(data: &Path, dir: &Path) -> Result<(), FileError> {
    let noted = Ledger::open(data, OWNER).read_or_lost::<Sums>(NOTED).unwrap_or_else(|error| {
        tracing::warn!(%error, "all modules are compiled again");
        None
    });
    let noted = noted.unwrap_or_default();
    let removed = || {
        for path in files(dir)? {
            let is_noted = noted.get(&path).is_some_and(|sum| {
                blobs::of_file(&dir.join(&path)).is_ok_and(|found| found == *sum)
            });
            if !is_noted {
                fs::remove_file(dir.join(&path))?;
            }
        }
        Ok(())
    };
    removed().map_err(|error: io::Error| FileError::new(dir, error))
}

/// Notes what there is now. What is not noted is only compiled again. Blocks.
pub(super) fn note(data: &Path, dir: &Path) {
    let noted = || {
        let mut sums = Sums::new();
        for path in files(dir).map_err(|error| FileError::new(dir, error))? {
            // One that is replaced at this moment is not noted.
            if let Ok(sum) = blobs::of_file(&dir.join(&path)) {
                sums.insert(path, sum);
            }
        }
        file::replace(&data.join(NOTED), &Ledger::sealed(OWNER, NOTED, &sums)?)
    };
    if let Err(error) = noted() {
        tracing::warn!(%error, "modules are compiled again at the next start");
    }
}

/// The files below a folder, by their paths in it. None if it is not there.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(dir.join(&folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_noted_and_is_unchanged_stays() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("compiled");
        fs::create_dir_all(dir.join("modules")).unwrap();
        for name in ["good", "modules/good", "modules/flipped"] {
            fs::write(dir.join(name), name).unwrap();
        }
        note(data.path(), &dir);
        fs::write(dir.join("modules/flipped"), "modules/flippee").unwrap();
        fs::write(dir.join("modules/new"), "nobody has noted it").unwrap();
        verify(data.path(), &dir).unwrap();
        let mut left = files(&dir).unwrap();
        left.sort();
        assert_eq!(left, [PathBuf::from("good"), PathBuf::from("modules/good")]);
        fs::write(data.path().join(NOTED), "{").unwrap();
        verify(data.path(), &dir).unwrap();
        assert!(files(&dir).unwrap().is_empty());
        verify(data.path(), &data.path().join("nowhere")).unwrap();
    }
}
