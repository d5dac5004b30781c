//! Small files that are replaced as a whole. Owns that after a crash a file has either its old or its new content.
//!
//! Invariant: a private file is never readable by others, not even for a moment. It does not know what is in the files.

use room_core::clock::changed;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error with a file or a folder.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Returns the system's error with the path of the file.
    pub(super) fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }

    /// Returns an error for invalid content, with a text that says what is wrong and how to continue.
    pub(super) fn damaged(path: &Path, text: &str) -> Self {
        Self::new(path, io::Error::new(io::ErrorKind::InvalidData, text))
    }

    /// Returns true if the content of the file is at fault, and not the disk or a permission.
    pub fn is_damage(&self) -> bool {
        self.source.kind() == io::ErrorKind::InvalidData
    }

    /// Returns true if the disk is full.
    pub(super) fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Returns the length of a file, and when it was changed last.
pub(super) fn state(file: &Path) -> io::Result<(u64, Duration)> {
    let facts = fs::metadata(file)?;
    Ok((facts.len(), changed(&facts)))
}

/// Returns the bytes of a file, or `None` if it does not exist.
///
/// # Errors
/// [`FileError`]: it cannot be read.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new(path, error)),
    }
}

/// Refuses a file that a newer server wrote.
///
/// # Errors
/// [`FileError`].
pub(super) fn check_format(path: &Path, found: u32, known: u32) -> Result<(), FileError> {
    if found == known {
        return Ok(());
    }
    let text = format!("it is of version {found}, and this server knows version {known}");
    Err(FileError::damaged(path, &text))
}

/// Replaces a file. Only the user of this process can read it.
///
/// # Errors
/// [`FileError`]: the file is unchanged.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let new = path.with_extension("new");
    let written = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // A file left by a crash may be readable by others, so it is not reused.
            _ => {}
        }
        let mut file = private(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), sync_folder)
    };
    written().map_err(|error| FileError::new(path, error))
}

/// Makes the creations and renames in a folder survive a crash.
pub(super) fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Creates a file that no other user can read.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
