//! Whole projects into a cluster's database. Owns the restoring of backups there.
//!
//! Invariant: a backup is in the database whole or not at all, and never over rooms that are there. It does not know which
//! nodes serve the project; the caller makes sure that none does.

use super::OPEN;
use crate::backend::{StoreError, Tree};
use crate::folder::{self, StoreFolder};
use crate::{Store, blocking, keys};
use hashbrown::HashSet;
use room_core::limits::{Limits, size};
use room_core::span::Span;
use room_database::{Database, DatabaseError, shard_of};
use std::path::Path;

/// Rows to be written, up to a number of bytes.
#[derive(Default)]
struct RestoredRows {
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    shards: Vec<i16>,
    bytes: usize,
}

impl Store {
    /// Makes a project's store in a cluster's database from a backup of any kind of store. `scratch` is a folder that is
    /// empty or does not exist yet; the caller removes it afterwards. The store is another one, with an id of its own.
    /// Blocks; the caller is on a thread as for [`Store::shared`].
    ///
    /// # Errors
    /// [`StoreError`]: the backup is damaged or of another version, the project has rooms in the database, or the database
    /// failed. The database is unchanged.
    pub fn restore_shared(
        backup: &Path,
        scratch: &Path,
        (database, project): (&Database, &str),
        limits: &Limits,
    ) -> Result<(), StoreError> {
        folder::restore(backup, scratch)?;
        let opened = StoreFolder::open(scratch, limits)?;
        let piece = size(limits.database_page_bytes_max);
        blocking(|| database.block_on(write_all(&*opened.tree, database, project, piece)))
    }
}

/// Writes a tree into the database, in one transaction.
async fn write_all(
    tree: &dyn Tree,
    database: &Database,
    project: &str,
    piece: usize,
) -> Result<(), StoreError> {
    let mut client = database.client().await?;
    let change = client.transaction().await.map_err(DatabaseError::from)?;
    let id = folder::new_id().to_be_bytes();
    let made = async { Ok(change.query_one(OPEN, &[&project, &id.as_slice()]).await?) };
    let store: i64 = database.within(made).await?.get(0);
    let named = async {
        let asked = "UPDATE room.stores SET id = $2 WHERE store = $1
            RETURNING EXISTS (SELECT FROM room.entries WHERE store = $1)";
        Ok(change.query_one(asked, &[&store, &id.as_slice()]).await?)
    };
    if database.within(named).await?.get(0) {
        return Err(StoreError::Io(format!(
            "the project `{project}` has rooms in the database; delete the project, or restore under another name"
        )));
    }
    let insert = "INSERT INTO room.entries (store, key, value, shard)
        SELECT $1, * FROM unnest($2::bytea[], $3::bytea[], $4::smallint[])";
    let mut entries = tree.scan(&Span::ALL, HashSet::new());
    loop {
        let rows = RestoredRows::next(&mut entries, project, piece)?;
        if rows.keys.is_empty() {
            break;
        }
        let written = async {
            Ok(change.execute(insert, &[&store, &rows.keys, &rows.values, &rows.shards]).await?)
        };
        database.within(written).await?;
    }
    database.within(async { Ok(change.commit().await?) }).await?;
    Ok(())
}

impl RestoredRows {
    /// Takes the next entries of a tree, except those of the tree itself.
    fn next(
        entries: &mut room_core::span::Entries<'_, StoreError>,
        project: &str,
        piece: usize,
    ) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        while rows.bytes < piece
            && let Some(entry) = entries.next()
        {
            let (key, value) = entry?;
            if key == keys::applied() || key == keys::store() {
                continue;
            }
            let shard = i16::try_from(shard_of(project, &keys::room_of(&key)?));
            rows.shards.push(shard.expect("a cluster has far fewer shards"));
            rows.bytes += key.len() + value.len();
            rows.keys.push(key);
            rows.values.push(value.into());
        }
        Ok(rows)
    }
}
