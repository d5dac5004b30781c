//! Small files of notes beside the rooms' data. Owns that each changes as a whole.
//!
//! Invariant: after a crash a file has the notes before the change or after it. A file that is lost or damaged counts as
//! empty, so nothing may depend on it but what its owner can do without. Of several nodes that change notes at the same
//! time, none undoes what another one noted. It does not know what is noted.

use crate::shared::NoteRow;
use crate::{StoreError, blocking, files};
use room_core::limits::fixed::NOTE_TRIES_MAX;
use room_core::lock::lock;
use room_database::DatabaseError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Notes of one kind.
pub(super) trait Noted: Clone + Default + Serialize + DeserializeOwned {
    /// Merges two changes of `before`: `new` is what this node made of it, and `stored` what other nodes have stored since.
    /// Where they changed nothing, the result is `new`.
    fn merged(before: &Self, new: Self, stored: Self) -> Self;
}

/// A file and its contents.
#[derive(Debug, Default)]
pub(super) struct NoteFile<T> {
    place: NotePlace,
    /// As they were read or kept last.
    known: Mutex<T>,
}

/// Where notes are kept.
#[derive(Debug, Default)]
enum NotePlace {
    /// In memory alone.
    #[default]
    Memory,
    /// In a file of the store's folder.
    File(PathBuf),
    /// In a database, where other nodes change them, too.
    Row(NoteRow),
}

impl<T: Noted> NoteFile<T> {
    /// Reads a file of a store's folder.
    pub(super) fn read(dir: &Path, name: &str) -> Self {
        let path = dir.join(name);
        let known = match std::fs::read(&path) {
            Ok(json) => parsed(&json, &path.display().to_string()),
            Err(_) => T::default(),
        };
        Self { place: NotePlace::File(path), known: Mutex::new(known) }
    }

    /// Returns the notes of a database's row.
    pub(super) fn shared(row: NoteRow) -> Self {
        Self { place: NotePlace::Row(row), known: Mutex::default() }
    }

    /// Returns the notes. If a database cannot be read, they are those that were read last.
    pub(super) fn known(&self) -> T {
        let mut known = lock(&self.known);
        if let NotePlace::Row(row) = &self.place {
            match row.read() {
                Ok((_, json)) => *known = parsed(&json, row.name()),
                Err(error) => {
                    tracing::warn!(%error, "the notes `{}` are not the newest", row.name())
                }
            }
        }
        known.clone()
    }

    /// Replaces the notes. Blocks until the disk has them.
    ///
    /// # Errors
    /// [`StoreError`]: the notes are lost when the store is closed.
    pub(super) fn keep(&self, notes: T) -> Result<(), StoreError> {
        // Held while they are written, so that nothing has older notes than memory.
        let mut known = lock(&self.known);
        match &self.place {
            NotePlace::Memory => *known = notes,
            NotePlace::File(path) => {
                let json = encoded(&notes)?;
                *known = notes;
                blocking(|| files::replace(path, &json))?;
            }
            NotePlace::Row(row) => *known = merge(row, &*known, &notes)?,
        }
        Ok(())
    }
}

/// Merges notes that this node made of `before` into a row, and returns the row's notes after that.
fn merge<T: Noted>(row: &NoteRow, before: &T, notes: &T) -> Result<T, StoreError> {
    for _ in 0..NOTE_TRIES_MAX {
        let (version, json) = row.read()?;
        let merged = T::merged(before, notes.clone(), parsed(&json, row.name()));
        if row.replace(version, &encoded(&merged)?)? {
            return Ok(merged);
        }
    }
    // The code of PostgreSQL for changes that exclude each other.
    let code = "40001".to_owned();
    let text = format!("other nodes change the notes `{}` all the time; try again", row.name());
    Err(DatabaseError::Refused { code, text }.into())
}

/// Merges notes by name: what differs from `before` is new, and the rest is as it is stored.
pub(super) fn merged_by_name<V: Clone + PartialEq>(
    before: &BTreeMap<String, V>,
    new: BTreeMap<String, V>,
    stored: BTreeMap<String, V>,
) -> BTreeMap<String, V> {
    let mut merged = stored;
    merged.retain(|name, _| new.contains_key(name) || !before.contains_key(name));
    for (name, note) in new {
        if before.get(&name) != Some(&note) {
            merged.insert(name, note);
        }
    }
    merged
}

fn parsed<T: Noted>(json: &[u8], name: &str) -> T {
    if json.is_empty() {
        return T::default();
    }
    serde_json::from_slice(json).unwrap_or_else(|error| {
        tracing::warn!(%error, "{name} has no notes of this store; it is written again");
        T::default()
    })
}

fn encoded<T: Noted>(notes: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(notes).map_err(|error| StoreError::Io(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(entries: &[(&str, u32)]) -> BTreeMap<String, u32> {
        entries.iter().map(|(name, note)| ((*name).to_owned(), *note)).collect()
    }

    #[test]
    fn notes_of_two_nodes_are_merged_by_name() {
        let before = notes(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
        let new = notes(&[("a", 2), ("b", 1), ("d", 1), ("mine", 1)]);
        let stored = notes(&[("a", 1), ("b", 3), ("c", 1), ("theirs", 1)]);
        let merged = merged_by_name(&before, new.clone(), stored);
        assert_eq!(merged, notes(&[("a", 2), ("b", 3), ("mine", 1), ("theirs", 1)]));
        assert_eq!(merged_by_name(&before, new.clone(), before.clone()), new);
    }
}
