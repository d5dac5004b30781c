//! Who changed what on the server, and when. Owns the file of it.
//!
//! Invariant: each change is a line of JSON, written before its answer; no secret is in it. It does not
//! know what the changes are.

use super::file::FileError;
use super::tokens::TokenRecord;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes of the file at which it becomes the old one.
const BYTES_MAX: u64 = 16 << 20;

/// The list of changes: `audit.log`, and `audit.log.old` before it.
pub(super) struct Audit {
    path: PathBuf,
    file: Mutex<File>,
}

/// One change that was asked for.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    /// In milliseconds since 1970.
    pub(super) at_ms: u64,
    /// The token's id; none if it was no token.
    pub(super) token: Option<&'a str>,
    /// The token's name.
    pub(super) name: Option<&'a str>,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) status: u16,
}

impl<'a> Entry<'a> {
    /// A change that somebody asked for, or tried to.
    pub(super) fn new(
        at_ms: u64,
        who: Option<&'a TokenRecord>,
        asked: (&'a str, &'a str),
        status: u16,
    ) -> Self {
        let (method, path) = asked;
        let (token, name) = (who.map(|who| who.id.as_str()), who.map(|who| who.name.as_str()));
        Self { at_ms, token, name, method, path, status }
    }
}

impl Audit {
    /// Goes on with the list in a data folder.
    ///
    /// # Errors
    /// [`FileError`].
    pub(super) fn open(data: &Path) -> Result<Self, FileError> {
        let path = data.join("audit.log");
        let file = append_to(&path)?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// Adds a line. What cannot be written is in the server's log at least.
    pub(super) fn note(&self, entry: &Entry<'_>) {
        let line = serde_json::to_string(entry).unwrap_or_default();
        tracing::info!(target: "room::audit", "{line}");
        if let Err(error) = self.write(&line) {
            tracing::error!(%error, "the list of changes cannot be written");
        }
    }

    fn write(&self, line: &str) -> Result<(), FileError> {
        // A line is written in one call, so what a panicking holder left is whole.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |error| FileError::new(&self.path, error);
        if file.metadata().map_err(named)?.len() > BYTES_MAX {
            std::fs::rename(&self.path, self.path.with_extension("log.old")).map_err(named)?;
            *file = append_to(&self.path)?;
        }
        file.write_all(format!("{line}\n").as_bytes()).map_err(named)
    }
}

fn append_to(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| FileError::new(path, error))
}
