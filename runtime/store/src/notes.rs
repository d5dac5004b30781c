//! Small files of notes in a store's folder, beside the rooms' data. Owns that each changes as a whole.
//!
//! Invariant: after a crash a file has the notes before the change or after it. A file that is lost or damaged counts as
//! empty, so nothing may depend on it but what its owner can do without. It does not know what is noted.

use crate::{StoreError, blocking, files};
use room_core::lock::lock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A file and its contents. A store in memory has no file.
#[derive(Debug, Default)]
pub(super) struct NoteFile<T> {
    path: Option<PathBuf>,
    known: Mutex<T>,
}

impl<T: Clone + Default + Serialize + DeserializeOwned> NoteFile<T> {
    /// Reads a file of a store's folder.
    pub(super) fn read(dir: &Path, name: &str) -> Self {
        let path = dir.join(name);
        let known = match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).unwrap_or_else(|error| {
                tracing::warn!(%error, "{} is not a file of this store; it is written again", path.display());
                T::default()
            }),
            Err(_) => T::default(),
        };
        Self { path: Some(path), known: Mutex::new(known) }
    }

    /// Returns the notes.
    pub(super) fn known(&self) -> T {
        lock(&self.known).clone()
    }

    /// Replaces the notes. Blocks until the disk has them.
    ///
    /// # Errors
    /// [`StoreError`]: the notes are lost when the store is closed.
    pub(super) fn keep(&self, notes: T) -> Result<(), StoreError> {
        let json = serde_json::to_vec(&notes).map_err(|error| StoreError::Io(error.to_string()))?;
        blocking(|| {
            // Held while the file is written, so that the file never has older notes than memory.
            let mut known = lock(&self.known);
            *known = notes;
            self.path.as_ref().map_or(Ok(()), |path| files::replace(path, &json))
        })
    }
}
