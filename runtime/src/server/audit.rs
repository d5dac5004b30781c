//! Who changed what on the server, and when. Owns the file of the audit log. In a cluster, each line is also in the log that
//! all nodes share in the database.
//!
//! Invariant: each change is two lines of JSON with one id: the request before the change starts, and its result before
//! it is answered. A refused request is one line. No secret is in the file. It does not know what the changes are.

use super::file::FileError;
use super::records::RecordHome;
use super::tokens::TokenRecord;
use room_core::limits::fixed::AUDIT_BYTES_MAX;
use room_core::lock::lock;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use uuid::Uuid;

/// The audit log: `audit.log`, and `audit.log.old` with the older lines.
pub(super) struct Audit {
    path: PathBuf,
    file: Mutex<File>,
    home: Option<RecordHome>,
}

/// The phase of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ChangePhase {
    /// The change starts now. If no [`ChangePhase::Done`] follows, a crash cut it off.
    Begun,
    /// The change has ended.
    Done,
    /// The request was refused.
    Refused,
}

/// A line of the audit log.
#[derive(Clone, Serialize)]
pub(super) struct AuditEntry {
    /// The time in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// The id of the change.
    pub(super) id: String,
    pub(super) phase: ChangePhase,
    /// The token's id; `None` if the request had no valid token.
    pub(super) token: Option<String>,
    /// The token's name.
    pub(super) name: Option<String>,
    pub(super) method: String,
    pub(super) path: String,
    /// The status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
}

impl AuditEntry {
    /// Starts the entry of a change that a request asks for.
    pub(super) fn new(who: Option<&TokenRecord>, method: &str, path: &str) -> Self {
        Self {
            at_ms: 0,
            id: Uuid::new_v4().simple().to_string(),
            phase: ChangePhase::Begun,
            token: who.map(|who| who.id.clone()),
            name: who.map(|who| who.name.clone()),
            method: method.to_owned(),
            path: path.to_owned(),
            status: None,
        }
    }
}

impl Audit {
    /// Opens the audit log of a data folder, to append to it.
    ///
    /// # Errors
    /// [`FileError`].
    pub(super) fn open(data: &Path) -> Result<Self, FileError> {
        let path = data.join("audit.log");
        let mut file = append_to(&path)?;
        if !ends_a_line(&path).map_err(|error| FileError::new(&path, error))? {
            tracing::warn!(
                "{} breaks off within a line; the next one is begun below it",
                path.display()
            );
            file.write_all(b"\n").map_err(|error| FileError::new(&path, error))?;
        }
        Ok(Self { path, file: Mutex::new(file), home: None })
    }

    /// Makes the lines appear in the log of a cluster, too.
    pub(super) fn in_cluster(self, home: Option<RecordHome>) -> Self {
        Self { home, ..self }
    }

    /// Appends a line. The server's own log has the line in any case. Blocks until the system has the line, and until a
    /// cluster's database has it or fails.
    pub(super) fn note(&self, entry: &AuditEntry) {
        let line = serde_json::to_string(entry).unwrap_or_default();
        tracing::info!(target: "room::audit", "{line}");
        if let Err(error) = self.write(&line) {
            tracing::error!(%error, "the list of changes cannot be written");
        }
        if let Some(home) = &self.home {
            let noting = home.records().note(home.node().as_str(), &line);
            if let Err(error) = home.records().block_on(noting) {
                tracing::error!(%error, "the cluster's list of changes cannot be written; this node's own has the line");
            }
        }
    }

    fn write(&self, line: &str) -> Result<(), FileError> {
        let mut file = lock(&self.file);
        let named = |error| FileError::new(&self.path, error);
        if file.metadata().map_err(named)?.len() > AUDIT_BYTES_MAX {
            std::fs::rename(&self.path, self.path.with_extension("log.old")).map_err(named)?;
            *file = append_to(&self.path)?;
        }
        file.write_all(format!("{line}\n").as_bytes()).map_err(named)
    }
}

/// Returns true if a file is empty or ends with a whole line.
fn ends_a_line(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn append_to(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| FileError::new(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_line_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        std::fs::write(&path, "{\"at_ms\":1,\"na").unwrap();
        Audit::open(dir.path()).unwrap().note(&AuditEntry::new(None, "PUT", "/a"));
        Audit::open(dir.path()).unwrap().note(&AuditEntry::new(None, "PUT", "/b"));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 2, "{text}");
        for line in lines {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["phase"], "begun");
        }
    }
}
