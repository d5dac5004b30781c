//! Files that live as long as one piece of work. Owns their names and their end.
//!
//! Invariant: a file is gone when nobody holds it, and what a crash left is gone at the next start. It
//! does not know what is in them.

use crate::store::StoreError;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tokio::sync::OwnedSemaphorePermit;

/// The folder of these files, in a data folder that this process has open.
pub(crate) struct ScratchFolder(PathBuf);

/// A name that nobody else has, for a file that may be made.
pub(crate) struct Scratch {
    path: PathBuf,
    _place: Option<OwnedSemaphorePermit>,
}

impl ScratchFolder {
    /// Makes the folder, empty.
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

    /// A file of its own, which keeps a place for as long.
    pub(crate) fn file(&self, place: Option<OwnedSemaphorePermit>) -> Scratch {
        let name = uuid::Uuid::new_v4().simple().to_string();
        Scratch { path: self.0.join(name), _place: place }
    }
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An error of the system about it.
    pub(crate) fn failed(&self, error: &io::Error) -> StoreError {
        named(&self.path, error)
    }

    /// Opens what is there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn open(&self) -> Result<File, StoreError> {
        File::open(&self.path).map_err(|error| self.failed(&error))
    }

    /// Writes it from the start to the end.
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
            // It was never made.
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
