//! A store's notes about the crons of its project. Owns what is noted of each.
//!
//! Invariant: the notes survive every crash once they are kept. They are not part of a backup: a cron without a note
//! counts from the time at which its project is deployed. It does not know what a cron does.
//!
//! They are a file, and not keys of a room: a cron that calls each stored room belongs to none of them.

use crate::notes::{Noted, merged_by_name};
use crate::{Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The file's name in the store's folder.
pub(super) const FILE: &str = "crons";

/// The notes by the names of the crons.
pub type CronNotes = BTreeMap<String, CronNote>;

/// The note about one cron.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronNote {
    /// The cron's setting, as text. A cron with another one is another cron.
    pub setting: String,
    /// The time up to which no call is missing, in milliseconds since 1970.
    pub done_ms: u64,
    /// How its last calls ended, if there were any.
    pub outcome: Option<CronOutcome>,
}

/// How the calls of one planned time ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronOutcome {
    /// The planned time, in milliseconds since 1970.
    pub at_ms: u64,
    /// When the last call ended.
    pub ended_ms: u64,
    /// The number of rooms that handled the call.
    pub rooms: u64,
    /// The number of rooms that failed too often.
    pub dropped: u64,
    /// The last error.
    pub error: Option<String>,
}

impl Noted for CronNotes {
    fn merged(before: &Self, new: Self, stored: Self) -> Self {
        let mut merged = merged_by_name(before, new, stored.clone());
        for (name, note) in stored {
            // A node that was behind does not set back what another one has done.
            let is_ahead =
                |mine: &CronNote| mine.setting == note.setting && note.done_ms > mine.done_ms;
            if merged.get(&name).is_some_and(is_ahead) {
                merged.insert(name, note);
            }
        }
        merged
    }
}

impl Store {
    /// Returns the notes.
    pub fn cron_notes(&self) -> CronNotes {
        self.crons.known()
    }

    /// Replaces the notes. Blocks until the disk has them.
    ///
    /// # Errors
    /// [`StoreError`]: the notes are lost when the store is closed.
    pub fn keep_cron_notes(&self, notes: CronNotes) -> Result<(), StoreError> {
        self.crons.keep(notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::limits::Limits;

    #[test]
    fn the_notes_about_crons_survive_a_restart_and_a_damaged_file_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(dir.path(), &Limits::default()).unwrap();
        let outcome = Some(CronOutcome { at_ms: 7, rooms: 3, ..CronOutcome::default() });
        let note = CronNote { setting: "{}".to_owned(), done_ms: 7, outcome };
        let notes = CronNotes::from([("prune".to_owned(), note)]);
        let store = open();
        assert!(store.cron_notes().is_empty());
        store.keep_cron_notes(notes.clone()).unwrap();
        // A crash: the store is not closed.
        assert_eq!(
            std::fs::read_dir(dir.path())
                .unwrap()
                .filter(|entry| {
                    entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".new")
                })
                .count(),
            0
        );
        store.close();
        drop(store);
        let store = open();
        assert_eq!(store.cron_notes(), notes);
        store.close();
        drop(store);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(open().cron_notes().is_empty());
    }
}
