//! The notes of a store that several nodes share. Owns their rows in the database.
//!
//! Invariant: a note changes only from the version that its writer has read. It does not know what is noted.

use crate::backend::StoreError;
use crate::blocking;
use room_database::Database;

/// The row of one kind of notes.
#[derive(Clone, Debug)]
pub(crate) struct NoteRow {
    database: Database,
    store: i64,
    name: &'static str,
}

impl NoteRow {
    pub(super) fn new(database: &Database, store: i64, name: &'static str) -> Self {
        Self { database: database.clone(), store, name }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the version and the content; version 0 and nothing if nothing was noted yet. Blocks.
    pub(crate) fn read(&self) -> Result<(i64, Vec<u8>), StoreError> {
        let rows = blocking(|| {
            self.database.block_on(self.database.query(
                "SELECT version, content FROM room.notes WHERE store = $1 AND name = $2",
                &[&self.store, &self.name],
            ))
        })?;
        Ok(rows.first().map_or_else(Default::default, |row| (row.get(0), row.get(1))))
    }

    /// Replaces the content of this version. Returns false if it has another version by now. Blocks.
    pub(crate) fn replace(&self, version: i64, content: &[u8]) -> Result<bool, StoreError> {
        let rows = blocking(|| {
            self.database.block_on(self.database.query(
                "INSERT INTO room.notes AS note (store, name, version, content)
                VALUES ($1, $2, $3::bigint + 1, $4)
                ON CONFLICT (store, name) DO UPDATE
                    SET version = excluded.version, content = excluded.content
                    WHERE note.version = $3::bigint
                RETURNING version",
                &[&self.store, &self.name, &version, &content],
            ))
        })?;
        Ok(!rows.is_empty())
    }
}
