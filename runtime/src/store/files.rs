//! What the store asks of the file system. Owns that a change of a folder is on disk when it returns.
//!
//! Invariant: an error names the file it is about. It does not know what is in the files.

use super::StoreError;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Does something with a file, and names the file in the error.
pub(super) fn at<T>(path: &Path, act: impl FnOnce() -> io::Result<T>) -> Result<T, StoreError> {
    act().map_err(|error| StoreError::Io(format!("{}: {error}", path.display())))
}

/// The names in a folder, in no order. One that is not there has none.
pub(super) fn list(dir: &Path) -> Result<Vec<String>, StoreError> {
    at(dir, || match fs::read_dir(dir) {
        Ok(entries) => {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    })
}

/// The length of a file, in bytes.
pub(super) fn length(path: &Path) -> Result<u64, StoreError> {
    at(path, || Ok(path.metadata()?.len()))
}

/// Makes what was created, renamed and removed in a folder survive a crash.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    at(dir, || File::open(dir)?.sync_all())
}

/// Replaces a small file as a whole: after a crash it is the old one or the new one.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    at(&new, || {
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()
    })?;
    put_in_place(&new, path)
}

/// Gives a file that is whole and on disk the name under which it is looked for.
pub(super) fn put_in_place(new: &Path, path: &Path) -> Result<(), StoreError> {
    at(path, || fs::rename(new, path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Removes a file or a folder with all that is in it, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => at(path, || Err(error)),
        _ => Ok(()),
    }
}
