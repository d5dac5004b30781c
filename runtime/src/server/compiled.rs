//! The folder of compiled code, which is machine code for this process. Owns that no altered file of it runs.
//!
//! Invariant: at a start, a file whose bytes differ from the recorded hash is removed, and its module is compiled
//! again. A file is read once, and again when its length or its time has changed. It does not know who writes the
//! files, or what is in them.

use super::file::FileError;
use super::ledger::Ledger;
use super::release::BlobId;
use super::{blobs, file};
use room_core::lock::lock;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// The file of recorded hashes, beside the folder.
const NOTED: &str = "compiled.json";
/// The owner of its ledger.
const OWNER: &str = "server";

/// Files by their paths, with the hashes of their bytes.
type CompiledSums = BTreeMap<PathBuf, BlobId>;

/// The folder, and which of its files were read.
pub(super) struct CompiledFolder {
    data: PathBuf,
    dir: PathBuf,
    /// Locked while the folder is read.
    known: Mutex<KnownFiles>,
}

/// The files that were read, and the recorded hashes; `None` if the record has to be written.
struct KnownFiles {
    read: BTreeMap<PathBuf, ReadFile>,
    noted: Option<CompiledSums>,
}

/// A file as it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ReadFile {
    bytes: u64,
    changed: Duration,
    sum: BlobId,
}

impl CompiledFolder {
    /// Returns the folder `compiled` of this data folder. Files that were altered or added since
    /// [`CompiledFolder::note`] are removed. Blocks.
    ///
    /// # Errors
    /// [`FileError`]: a file cannot be removed.
    pub(super) fn verified(data: &Path) -> Result<Self, FileError> {
        let noted =
            Ledger::open(data, OWNER).read_or_lost::<CompiledSums>(NOTED).unwrap_or_else(|error| {
                tracing::warn!(%error, "all modules are compiled again");
                None
            });
        let dir = data.join("compiled");
        let sum_of = |path: &Path| noted.as_ref()?.get(path);
        let left = || {
            let mut left = BTreeMap::new();
            for path in files(&dir)? {
                let read = read(&dir.join(&path)).ok();
                match read.filter(|read| sum_of(&path) == Some(&read.sum)) {
                    Some(read) => drop(left.insert(path, read)),
                    None => fs::remove_file(dir.join(&path))?,
                }
            }
            Ok(left)
        };
        let read = left().map_err(|error: io::Error| FileError::new(&dir, error))?;
        Ok(Self { data: data.to_owned(), dir, known: Mutex::new(KnownFiles { read, noted }) })
    }

    /// Returns the path of the folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Records the files as they are now, and returns the number of files read. An unrecorded file is only compiled
    /// again. Blocks.
    pub(super) fn note(&self) -> usize {
        self.try_note().unwrap_or_else(|error| {
            tracing::warn!(%error, "modules are compiled again at the next start");
            0
        })
    }

    fn try_note(&self) -> Result<usize, FileError> {
        let mut known = lock(&self.known);
        let (mut now, mut count) = (BTreeMap::new(), 0);
        for path in files(&self.dir).map_err(|error| FileError::new(&self.dir, error))? {
            let at = self.dir.join(&path);
            let state = file::state(&at).ok();
            let same =
                known.read.get(&path).filter(|read| Some((read.bytes, read.changed)) == state);
            let found = match same {
                Some(read) => Some(*read),
                None => {
                    count += 1;
                    // A file that is replaced at this moment is not recorded.
                    read(&at).ok()
                }
            };
            now.extend(found.map(|read| (path, read)));
        }
        let sums: CompiledSums = now.iter().map(|(path, read)| (path.clone(), read.sum)).collect();
        known.read = now;
        if known.noted.as_ref() != Some(&sums) {
            file::replace(&self.data.join(NOTED), &Ledger::sealed(OWNER, NOTED, &sums)?)?;
            known.noted = Some(sums);
        }
        Ok(count)
    }
}

/// Reads a file. If it is written at the same time, its time shows that at the next look.
fn read(path: &Path) -> io::Result<ReadFile> {
    let (bytes, changed) = file::state(path)?;
    Ok(ReadFile { bytes, changed, sum: blobs::of_file(path)? })
}

/// Returns the files below a folder, by their paths in it. Returns none if the folder does not exist.
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

    fn left(compiled: &CompiledFolder) -> Vec<String> {
        let mut left: Vec<_> = files(compiled.dir()).unwrap();
        left.sort();
        left.iter().map(|path| path.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn only_unchanged_compiled_files_with_an_entry_stay() {
        let data = tempfile::tempdir().unwrap();
        let compiled = CompiledFolder::verified(data.path()).unwrap();
        let dir = compiled.dir().to_owned();
        fs::create_dir_all(dir.join("modules")).unwrap();
        for name in ["good", "modules/good", "modules/flipped"] {
            fs::write(dir.join(name), name).unwrap();
        }
        compiled.note();
        fs::write(dir.join("modules/flipped"), "modules/flippee").unwrap();
        fs::write(dir.join("modules/new"), "nobody has noted it").unwrap();
        let compiled = CompiledFolder::verified(data.path()).unwrap();
        assert_eq!(left(&compiled), ["good", "modules/good"]);
        fs::write(data.path().join(NOTED), "{").unwrap();
        assert_eq!(left(&CompiledFolder::verified(data.path()).unwrap()), [""; 0]);
    }

    #[test]
    fn a_compiled_file_is_read_again_only_after_a_change() {
        let data = tempfile::tempdir().unwrap();
        let compiled = CompiledFolder::verified(data.path()).unwrap();
        fs::create_dir_all(compiled.dir()).unwrap();
        for name in ["one", "two", "three"] {
            fs::write(compiled.dir().join(name), name).unwrap();
        }
        assert_eq!((compiled.note(), compiled.note()), (3, 0));
        fs::write(compiled.dir().join("two"), "longer").unwrap();
        fs::write(compiled.dir().join("four"), "new").unwrap();
        fs::remove_file(compiled.dir().join("three")).unwrap();
        let file = fs::File::options().write(true).open(compiled.dir().join("one")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!((compiled.note(), compiled.note()), (3, 0));
        // Files that were read at the start are not read again for the next record.
        let compiled = CompiledFolder::verified(data.path()).unwrap();
        assert_eq!((left(&compiled).len(), compiled.note()), (3, 0));
    }
}
