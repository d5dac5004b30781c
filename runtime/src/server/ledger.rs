//! The small files of a folder, such as versions, variables and tokens. Owns the detection of damaged files.
//!
//! Invariant: a file that was altered, cut, exchanged with another one or replaced by an older copy is refused with its
//! name. So is a removed file, unless the caller reads it by [`Ledger::read_or_lost`]. Each file has a checksum, names
//! its owner, and counts its changes. The counts are also in a file of their own, `changes.json`. Without that file the
//! ledger only cannot notice a removed file or an older copy. It does not know what the files are for.

use super::file::{self, FileError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file of the counts.
const COUNTS: &str = "changes.json";
/// A file is JSON: the checksum, and then the bytes that the checksum is of.
const BEGIN: &[u8] = b"{\"check\":\"";
const MIDDLE: &[u8] = b"\",\"kept\":";
const END: &[u8] = b"}\n";
/// Digits of a checksum.
const CHECK_DIGITS: usize = 64;

/// The content of a file, and its owner.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    owner: String,
    file: String,
    /// The number of this change, counted from 1; 0 if an older server wrote the file.
    change: u64,
    content: T,
}

/// The number of times a file was changed. The two differ only while the file is written, and after a crash during
/// that time.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct FileCounts {
    begun: u64,
    done: u64,
}

/// The files of a folder.
#[derive(Clone)]
pub(super) struct Ledger {
    dir: PathBuf,
    owner: String,
    counts: BTreeMap<String, FileCounts>,
}

impl Ledger {
    /// Opens the files of a folder that belongs to this owner, whose name is in each file. Damaged counts restart from
    /// zero, with a warning in the log.
    pub(super) fn open(dir: &Path, owner: &str) -> Self {
        let path = dir.join(COUNTS);
        let counts = unseal::<BTreeMap<String, FileCounts>>(&path, owner, COUNTS);
        let counts = counts.unwrap_or_else(|error| {
            tracing::warn!(%error, "the counts of changes are rebuilt; older copies are not found until then");
            None
        });
        let counts = counts.map(|sealed| sealed.content).unwrap_or_default();
        Self { dir: dir.to_owned(), owner: owner.to_owned(), counts }
    }

    /// Returns the content of a file, or `None` if it was never written.
    ///
    /// # Errors
    /// [`FileError`]: the file is damaged, another owner's, or an older copy, or it was removed.
    pub(super) fn read<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, FileError> {
        let found = self.read_or_lost(name)?;
        let done = self.counts.get(name).map_or(0, |counts| counts.done);
        if found.is_none() && done > 0 {
            return Err(self.not_the_newest(name, "it was removed", "without it"));
        }
        Ok(found)
    }

    /// As [`Ledger::read`], but a removed file counts as never written.
    ///
    /// # Errors
    /// [`FileError`]: the file is damaged, another owner's, or an older copy.
    pub(super) fn read_or_lost<T: DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, FileError> {
        let Some(found) = unseal::<T>(&self.dir.join(name), &self.owner, name)? else {
            return Ok(None);
        };
        let counts = self.counts.entry(name.to_owned()).or_default();
        if found.change < counts.done {
            let what = format!(
                "it is an older copy, of change {}, and change {} was made after that",
                found.change, counts.done
            );
            return Err(self.not_the_newest(name, &what, "with this copy"));
        }
        counts.begun = counts.begun.max(found.change);
        Ok(Some(found.content))
    }

    fn not_the_newest(&self, name: &str, what: &str, how: &str) -> FileError {
        let counts = self.dir.join(COUNTS);
        let text = format!(
            "{what}. Put the newest one back, or remove {} to go on {how}, and start again",
            counts.display()
        );
        FileError::damaged(&self.dir.join(name), &text)
    }

    /// Replaces a file.
    ///
    /// # Errors
    /// [`FileError`]: the file is unchanged.
    pub(super) fn write(&mut self, name: &str, content: &impl Serialize) -> Result<(), FileError> {
        let counts = self.counts.get(name).copied().unwrap_or_default();
        let change = counts.begun.max(counts.done) + 1;
        self.count(name, FileCounts { begun: change, ..counts })?;
        seal(&self.dir.join(name), &self.owner, name, (change, content))?;
        // The file is replaced. So if this fails, at worst a later older copy is taken for the newest.
        if let Err(error) = self.count(name, FileCounts { begun: change, done: change }) {
            tracing::warn!(%error, "a change is not counted");
        }
        Ok(())
    }

    /// Returns the bytes of a file that is not counted: an older copy of it is accepted like the newest.
    ///
    /// # Errors
    /// [`FileError`]: the content cannot be written as JSON.
    pub(super) fn sealed(
        owner: &str,
        name: &str,
        content: &impl Serialize,
    ) -> Result<Vec<u8>, FileError> {
        bytes(Path::new(name), owner, name, (0, content))
    }

    fn count(&mut self, name: &str, counts: FileCounts) -> Result<(), FileError> {
        self.counts.insert(name.to_owned(), counts);
        seal(&self.dir.join(COUNTS), &self.owner, COUNTS, (0, &self.counts))
    }
}

fn seal<T: Serialize>(
    path: &Path,
    owner: &str,
    file: &str,
    what: (u64, T),
) -> Result<(), FileError> {
    super::file::replace(path, &bytes(path, owner, file, what)?)
}

fn bytes<T: Serialize>(
    path: &Path,
    owner: &str,
    file: &str,
    (change, content): (u64, T),
) -> Result<Vec<u8>, FileError> {
    let (owner, file) = (owner.to_owned(), file.to_owned());
    let body = serde_json::to_vec_pretty(&Sealed { owner, file, change, content });
    let body = body.map_err(|error| FileError::new(path, error.into()))?;
    let check = blake3::hash(&body).to_hex();
    Ok([BEGIN, check.as_bytes(), MIDDLE, &body, END].concat())
}

fn unseal<T: DeserializeOwned>(
    path: &Path,
    owner: &str,
    name: &str,
) -> Result<Option<Sealed<T>>, FileError> {
    let Some(bytes) = file::read(path)? else { return Ok(None) };
    let damaged = |why: &str| {
        let text = format!("the file is damaged: {why}. Put back a copy of the newest one");
        FileError::damaged(path, &text)
    };
    let Some(rest) = bytes.strip_prefix(BEGIN) else {
        // Older servers wrote the content alone.
        let content =
            serde_json::from_slice(&bytes).map_err(|error| damaged(&error.to_string()))?;
        let (owner, file) = (owner.to_owned(), name.to_owned());
        return Ok(Some(Sealed { owner, file, change: 0, content }));
    };
    let body = rest.split_at_checked(CHECK_DIGITS).and_then(|(check, rest)| {
        let body = rest.strip_prefix(MIDDLE)?.strip_suffix(END)?;
        (blake3::hash(body).to_hex().as_bytes() == check).then_some(body)
    });
    let body = body.ok_or_else(|| damaged("its content does not match its check sum"))?;
    let sealed: Sealed<T> =
        serde_json::from_slice(body).map_err(|error| damaged(&error.to_string()))?;
    if sealed.owner != owner || sealed.file != name {
        return Err(damaged(&format!("it is the {} of {:?}", sealed.file, sealed.owner)));
    }
    Ok(Some(sealed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn written(dir: &Path, owner: &str, content: &[&str]) {
        let mut ledger = Ledger::open(dir, owner);
        for content in content {
            ledger.write("a.json", content).unwrap();
        }
    }

    fn read(dir: &Path, owner: &str) -> Result<Option<String>, String> {
        Ledger::open(dir, owner).read("a.json").map_err(|error| error.to_string())
    }

    #[test]
    fn a_flipped_byte_is_found_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), "chat", &["kept"]);
        let path = dir.path().join("a.json");
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let error = read(dir.path(), "chat").unwrap_err();
            assert!(error.contains("a.json: the file is damaged"), "{at}: {error}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(read(dir.path(), "chat").is_err(), "cut at {at}");
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(read(dir.path(), "chat"), Ok(Some("kept".to_owned())));
    }

    #[test]
    fn an_older_copy_a_missing_file_and_a_foreign_file_are_named() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), "chat", &["first"]);
        let path = dir.path().join("a.json");
        let older = fs::read(&path).unwrap();
        written(dir.path(), "chat", &["second"]);
        let newest = fs::read(&path).unwrap();
        fs::write(&path, &older).unwrap();
        let error = read(dir.path(), "chat").unwrap_err();
        assert!(error.contains("older copy, of change 1") && error.contains(COUNTS), "{error}");
        fs::remove_file(&path).unwrap();
        assert!(read(dir.path(), "chat").unwrap_err().contains("it was removed"));
        assert!(
            Ledger::open(dir.path(), "chat").read_or_lost::<String>("a.json").unwrap().is_none()
        );
        fs::write(&path, &newest).unwrap();
        let error = read(dir.path(), "game").unwrap_err();
        assert!(error.contains("it is the a.json of \"chat\""), "{error}");
        // Without the counts, the ledger accepts the present file, and detects older copies after that.
        fs::write(&path, &older).unwrap();
        fs::remove_file(dir.path().join(COUNTS)).unwrap();
        assert_eq!(read(dir.path(), "chat"), Ok(Some("first".to_owned())));
        let mut ledger = Ledger::open(dir.path(), "chat");
        ledger.read::<String>("a.json").unwrap();
        ledger.write("a.json", &"third").unwrap();
        fs::write(&path, &older).unwrap();
        assert!(read(dir.path(), "chat").is_err());
    }

    #[test]
    fn damaged_counts_are_rebuilt() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), "chat", &["first", "second"]);
        for damage in ["", "{", "{\"check\":\"\"}"] {
            fs::write(dir.path().join(COUNTS), damage).unwrap();
            assert_eq!(read(dir.path(), "chat"), Ok(Some("second".to_owned())));
        }
    }

    #[test]
    fn a_crash_between_the_count_and_the_file_leaves_the_file_readable() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), "chat", &["first"]);
        let mut ledger = Ledger::open(dir.path(), "chat");
        ledger.count("a.json", FileCounts { begun: 2, done: 1 }).unwrap();
        assert_eq!(read(dir.path(), "chat"), Ok(Some("first".to_owned())));
        written(dir.path(), "chat", &["second"]);
        assert_eq!(read(dir.path(), "chat"), Ok(Some("second".to_owned())));
    }
}
