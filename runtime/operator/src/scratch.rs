//! Files that live as long as one piece of work. Owns their names and their removal.
//!
//! Invariant: a file is removed when its [`Scratch`] is dropped, and a file left by a crash is removed at the next
//! start. It does not know what is in the files.

use room_store::StoreError;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tokio::sync::OwnedSemaphorePermit;

/// The folder of these files, in a data folder that this process has open.
pub(crate) struct ScratchFolder(PathBuf);

/// A unique name for a file, which need not exist yet.
pub(crate) struct Scratch {
    path: PathBuf,
    _place: Option<OwnedSemaphorePermit>,
}

impl ScratchFolder {
    /// Creates the folder, empty.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn new(data: &Path) -> Result<Self, StoreError> {
        let dir = data.join("scratch");
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir(&dir),
        }
        .map_err(|error| named(&dir, &error))?;
        Ok(Self(dir))
    }

    /// Returns a new file, which keeps the place as long as it lives.
    pub(crate) fn file(&self, place: Option<OwnedSemaphorePermit>) -> Scratch {
        let name = uuid::Uuid::new_v4().simple().to_string();
        Scratch { path: self.0.join(name), _place: place }
    }
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the system's error with the path of the file.
    pub(crate) fn failed(&self, error: &io::Error) -> StoreError {
        named(&self.path, error)
    }

    /// Opens the file.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn open(&self) -> Result<File, StoreError> {
        File::open(&self.path).map_err(|error| self.failed(&error))
    }

    /// Writes the whole file.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn write(
        &self,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let written = File::create(&self.path).map(BufWriter::new).and_then(|mut file| {
            write(&mut file)?;
            file.flush()
        });
        written.map_err(|error| self.failed(&error))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            // The file was never created.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "a file stays until the next start");
            }
            Ok(()) => {}
        }
    }
}

fn named(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Io(format!("{}: {error}", path.display()))
}
