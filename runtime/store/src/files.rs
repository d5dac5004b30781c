//! The store's access to the file system. Owns that a change of a folder is on disk when it returns.
//!
//! Invariant: an error names its file. It does not know what is in the files.

use crate::StoreError;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Calls `act`, and names the file in its error.
pub(super) fn at<T>(path: &Path, act: impl FnOnce() -> io::Result<T>) -> Result<T, StoreError> {
    act().map_err(|error| StoreError::Io(format!("{}: {error}", path.display())))
}

/// Lists the names in a folder, in no particular order. A missing folder has none.
pub(super) fn list(dir: &Path) -> Result<Vec<String>, StoreError> {
    at(dir, || match fs::read_dir(dir) {
        Ok(entries) => {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    })
}

/// Returns the length of a file, in bytes.
pub(super) fn length(path: &Path) -> Result<u64, StoreError> {
    at(path, || Ok(path.metadata()?.len()))
}

/// Makes the creations, renames and removals in a folder survive a crash.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    at(dir, || File::open(dir)?.sync_all())
}

/// Replaces a small file as a whole: after a crash the file is the old one or the new one.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    at(&new, || {
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()
    })?;
    put_in_place(&new, path)
}

/// Gives a file that is whole and on disk its final name.
pub(super) fn put_in_place(new: &Path, path: &Path) -> Result<(), StoreError> {
    at(path, || fs::rename(new, path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Removes a file or a folder with everything in it, if it exists.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => at(path, || Err(error)),
        _ => Ok(()),
    }
}
