//! The journal of a shared store: one guarded statement for each group of commits. Owns the writing to the database.
//!
//! Invariant: a group is written whole or not at all, and only while the database counts this node's incarnation as alive.
//! After a failure nothing is written before the failed group is known to be over. It does not know who waits for a group.

use super::group::GroupTree;
use super::place::Place;
use super::tree::SharedTree;
use crate::Record;
use crate::apply::GatheredChanges;
use crate::backend::{Appended, Journal, StoreError};
use crate::keys;
use room_core::limits::fixed::DATABASE_KEY_BYTES_MAX;
use room_core::span::Overlay;
use room_database::{Database, DatabaseRow, DatabaseValue, Incarnation};
use std::sync::Arc;

/// Writes groups for one store.
pub(super) struct SharedJournal {
    database: Database,
    place: Arc<Place>,
    tree: Arc<SharedTree>,
    store: i64,
    claim: Option<Claim>,
}

/// This journal's row among the writers of its store.
#[derive(Clone, Copy)]
struct Claim {
    incarnation: Incarnation,
    /// The number of its groups, as the database has it.
    groups: i64,
}

/// Makes this journal the one that writes for an incarnation that is alive. An earlier journal's statement is over, or
/// finds another count and writes nothing.
const CLAIM: &str = "
    INSERT INTO room.writers AS mine (store, incarnation, groups)
    SELECT $1, incarnation, 0 FROM room.nodes WHERE incarnation = $2 AND alive
    ON CONFLICT (store, incarnation) DO UPDATE SET groups = mine.groups + 1
    RETURNING groups";

/// Makes void a statement of this incarnation whose answer never came, unless it is over. Waits for it if it is at work.
const STOP: &str = "
    UPDATE room.writers SET groups = groups + 1 WHERE store = $1 AND incarnation = $2
    RETURNING groups";

/// Writes a group. The node's row is locked so that nobody declares the node dead in between. Each part depends on the
/// one before it.
const APPEND: &str = "
    WITH guard AS MATERIALIZED (
        SELECT incarnation FROM room.nodes WHERE incarnation = $2 AND alive FOR KEY SHARE
    ), counted AS (
        UPDATE room.writers SET groups = groups + 1
        WHERE store = $1 AND incarnation = (SELECT incarnation FROM guard) AND groups = $3
        RETURNING groups
    ), removed AS (
        DELETE FROM room.entries
        WHERE store = $1 AND key = ANY ($4) AND EXISTS (SELECT FROM counted)
    ), written AS (
        INSERT INTO room.entries (store, key, value, shard)
        SELECT $1, new.key, new.value, new.shard
        FROM unnest($5::bytea[], $6::bytea[], $7::smallint[]) AS new (key, value, shard)
        WHERE EXISTS (SELECT FROM counted)
        ON CONFLICT (store, key) DO UPDATE SET value = excluded.value
    )
    SELECT EXISTS (SELECT FROM guard), (SELECT groups FROM counted)";

impl SharedJournal {
    pub(super) fn new(
        database: Database,
        place: Arc<Place>,
        tree: Arc<SharedTree>,
        store: i64,
    ) -> Self {
        Self { database, place, tree, store, claim: None }
    }

    /// Writes a group. Returns false if the node has lost its place, and nothing was written.
    fn write(&mut self, incarnation: Incarnation, records: &[&Record]) -> Result<bool, StoreError> {
        let Some(claim) = self.claimed(incarnation)? else { return Ok(false) };
        let before = GroupTree::before(&self.tree, records)?;
        let mut changes = GatheredChanges::on(&before);
        records.iter().try_for_each(|record| changes.add(record))?;
        let (changes, facts) = changes.finish();
        let rows = ChangedRows::of(&self.place, &changes)?;
        let parameters: [&(dyn DatabaseValue + Sync); 7] = [
            &self.store,
            &incarnation.0,
            &claim.groups,
            &rows.removed,
            &rows.keys,
            &rows.values,
            &rows.shards,
        ];
        let changed = self.database.change(rows.count(), APPEND, &parameters);
        let answer = self.database.block_on(changed)?;
        let (is_alive, groups) =
            answer.first().map_or((false, None), |row| (row.get::<_, bool>(0), row.get(1)));
        let Some(groups) = groups else {
            // Another journal of this incarnation has claimed the store: this one must claim it again.
            return if is_alive { Err(StoreError::Closed) } else { Ok(false) };
        };
        self.claim = Some(Claim { incarnation, groups });
        // The database has the group, so whatever happens here, it is durable.
        if let Err(error) = self.tree.loaded().change(&changes, &facts) {
            tracing::error!(%error, "rooms are read from the database from now on");
            self.tree.loaded().forget_all();
        }
        Ok(true)
    }

    /// Returns this journal's claim for an incarnation; `None` if that is not alive.
    fn claimed(&mut self, incarnation: Incarnation) -> Result<Option<Claim>, StoreError> {
        if self.claim.is_none_or(|claim| claim.incarnation != incarnation) {
            let answer = self.ask(CLAIM, &[&self.store, &incarnation.0])?;
            self.claim = answer.first().map(|row| Claim { incarnation, groups: row.get(0) });
        }
        Ok(self.claim)
    }

    fn ask(
        &self,
        statement: &str,
        parameters: &[&(dyn DatabaseValue + Sync)],
    ) -> Result<Vec<DatabaseRow>, StoreError> {
        Ok(self.database.block_on(self.database.query(statement, parameters))?)
    }
}

impl Journal for SharedJournal {
    fn append(
        &mut self,
        records: &mut dyn Iterator<Item = &Record>,
    ) -> Result<Vec<Appended>, StoreError> {
        let (right, mut accepted, mut appended) = (self.place.right(), Vec::new(), Vec::new());
        for record in records {
            let refused = right.refusal(record).or_else(|| too_long(record));
            if refused.is_none() {
                accepted.push(record);
            }
            appended.push(refused.map_or(Appended::Durable, Appended::Refused));
        }
        if accepted.is_empty() {
            return Ok(appended);
        }
        match self.write(right.incarnation(), &accepted) {
            Ok(true) => Ok(appended),
            Ok(false) => {
                self.place.lose(right.incarnation());
                self.tree.loaded().forget_all();
                Ok(appended.iter().map(|_| Appended::Refused(StoreError::Displaced)).collect())
            }
            Err(error) => {
                self.tree.loaded().forget(accepted.iter().map(|record| &record.room));
                Err(error)
            }
        }
    }

    /// Stops the group whose outcome is unknown. If it happened although it was reported lost, its rooms are read again
    /// when they start.
    fn resume(&mut self) -> Result<(), StoreError> {
        let incarnation = match self.claim {
            Some(claim) => claim.incarnation,
            None => self.place.right().incarnation(),
        };
        let answer = self.ask(STOP, &[&self.store, &incarnation.0])?;
        // Without a row, the incarnation is gone, and its statements write nothing.
        self.claim = answer.first().map(|row| Claim { incarnation, groups: row.get(0) });
        Ok(())
    }
}

/// Returns the error of a record with a key that the database cannot index. The other rooms' records are written.
fn too_long(record: &Record) -> Option<StoreError> {
    let longest = record.change.keys.keys().map(Vec::len).max().unwrap_or_default();
    let bytes = keys::guest_prefix(&record.room).len() + longest;
    let sentence = || {
        format!(
            "a key with its room's name has {bytes} bytes, and the database takes {DATABASE_KEY_BYTES_MAX}; use shorter keys or room names"
        )
    };
    (bytes > DATABASE_KEY_BYTES_MAX).then(|| StoreError::Io(sentence()))
}

/// The changes of a group, as the statement takes them.
#[derive(Default)]
struct ChangedRows<'a> {
    removed: Vec<&'a [u8]>,
    keys: Vec<&'a [u8]>,
    values: Vec<&'a [u8]>,
    shards: Vec<i16>,
}

impl<'a> ChangedRows<'a> {
    fn of(place: &Place, changes: &'a Overlay) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        for (key, value) in changes {
            match value {
                None => rows.removed.push(key),
                Some(value) => {
                    rows.keys.push(key);
                    rows.values.push(value);
                    rows.shards.push(place.shard_in_row(&keys::room_of(key)?));
                }
            }
        }
        Ok(rows)
    }

    fn count(&self) -> usize {
        self.removed.len() + self.keys.len()
    }
}
