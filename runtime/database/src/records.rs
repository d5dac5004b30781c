//! The records of a cluster: its projects, its operators' tokens, and their audit log. Owns the statements for them.
//!
//! Invariant: a change of a project is one transaction, and at most one is under way in the cluster. Each change of a
//! project or of the tokens adds 1 to the cluster's change number. It does not know what the records mean, and what it
//! gets as sealed bytes it cannot read.

mod blobs;
mod change;

pub use blobs::BlobHash;
pub use change::{RecordChange, RecordError};

use crate::{Database, DatabaseError, DatabaseSettings};
use room_core::limits::Limits;
use room_core::limits::fixed::{
    CLUSTER_AUDIT_LINES_MAX, PURGED_ROWS_MAX, RECORD_CHANGES_MAX, RECORD_CONNECTIONS_MAX,
};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_postgres::Row;

/// The records of a cluster. Cheap to clone; clones share their connections, which are not those of rooms: a change that
/// takes long keeps no room from committing.
#[derive(Clone)]
pub struct ClusterRecords {
    database: Database,
    changes: Arc<Semaphore>,
}

/// One state of a project's records. Two states with equal marks are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMark {
    /// The project's number. A project that was deleted and deployed again has another one.
    pub project: i64,
    /// The cluster's change number at the project's last change.
    pub change: i64,
}

/// Whether a project is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// The nodes serve it.
    Served,
    /// Its deletion has begun.
    Deleted,
}

/// The records of one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectRecord {
    /// Which state of the records this is.
    pub mark: RecordMark,
    /// Whether it is served.
    pub state: RecordState,
    /// Its versions, as their writer wrote them.
    pub versions: String,
    /// Its variables, sealed.
    pub variables: Vec<u8>,
}

impl ClusterRecords {
    /// Connects to the records of a cluster.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// As [`Database::open`].
    pub async fn open(settings: &DatabaseSettings, limits: &Limits) -> Result<Self, DatabaseError> {
        let limits =
            Limits { database_connections_max: RECORD_CONNECTIONS_MAX as u64, ..limits.clone() };
        let database = Database::open_verified(settings, &limits).await?;
        Ok(Self { database, changes: Arc::new(Semaphore::new(RECORD_CHANGES_MAX)) })
    }

    /// Waits on a thread that may block and runs no tasks.
    pub fn block_on<T>(&self, asked: impl Future<Output = T>) -> T {
        self.database.block_on(asked)
    }

    /// Returns the cluster's change number.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// Nothing is held while it waits. The same holds for all methods here that only read.
    pub async fn change(&self) -> Result<i64, DatabaseError> {
        let client = self.database.client().await?;
        let asked = async {
            let statement = client.prepare_cached("SELECT change FROM room.changes").await?;
            Ok(client.query_one(&statement, &[]).await?.get(0))
        };
        self.database.within(asked).await
    }

    /// Returns the names of the projects, sorted, with the states of their records.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn projects(&self) -> Result<Vec<(String, RecordMark, RecordState)>, DatabaseError> {
        let text = "SELECT project, change, deleted, name FROM room.projects ORDER BY name";
        let rows = self.database.query(text, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(3), mark_of(row), state_of(row))).collect())
    }

    /// Returns the records of the project of this name.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn project(&self, name: &str) -> Result<Option<ProjectRecord>, DatabaseError> {
        let text = "SELECT project, change, deleted, versions, variables FROM room.projects WHERE name = $1";
        Ok(self.database.query(text, &[&name]).await?.first().map(record_of))
    }

    /// Begins a change of the project of this name, which need not exist. Until it ends, no other node changes the project.
    ///
    /// # Errors
    /// [`RecordError`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, nothing has begun.
    pub async fn begin(&self, name: &str) -> Result<RecordChange, RecordError> {
        let place = self.changes.clone().try_acquire_owned().map_err(|_| RecordError::Full)?;
        let client = self.database.client().await?;
        RecordChange::begin((self.database.clone(), client), name, place).await
    }

    /// Removes what the rooms of a project have stored, in bounded steps, and then the project with this number. Its
    /// deletion must have begun. If this fails, another call goes on where it ended.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, another call goes on.
    pub async fn purge(&self, name: &str, project: i64) -> Result<(), DatabaseError> {
        let client = self.database.client().await?;
        let page = i64::try_from(PURGED_ROWS_MAX).unwrap_or(i64::MAX);
        // Another node may purge the project at the same time, and an operator may then deploy a new one of this name. A
        // statement that sees the rows of the new one also sees that this one is gone.
        let text = "DELETE FROM room.entries WHERE (store, key) IN (\
                        SELECT e.store, e.key FROM room.entries e JOIN room.stores s ON s.store = e.store \
                        JOIN room.projects p ON p.name = s.project \
                        WHERE s.project = $1 AND p.project = $3 AND p.deleted LIMIT $2)";
        let step = async || Ok(client.execute(text, &[&name, &page, &project]).await?);
        while self.database.within(step()).await? > 0 {}
        let end = async {
            let text = "DELETE FROM room.stores USING room.projects p WHERE stores.project = $1 \
                            AND p.name = $1 AND p.project = $2 AND p.deleted";
            client.execute(text, &[&name, &project]).await?;
            let text = "DELETE FROM room.projects WHERE name = $1 AND project = $2 AND deleted";
            client.execute(text, &[&name, &project]).await?;
            Ok(())
        };
        self.database.within(end).await
    }

    /// Removes what a first deployment that failed has stored. A project that exists is left as it is.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, it may stay.
    pub async fn forget(&self, name: &str) -> Result<(), DatabaseError> {
        let text = "DELETE FROM room.stores WHERE project = $1 \
                    AND NOT EXISTS (SELECT FROM room.projects WHERE name = $1)";
        self.database.query(text, &[&name]).await.map(drop)
    }

    /// Returns all tokens as they were added, the oldest first.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn tokens(&self) -> Result<Vec<String>, DatabaseError> {
        let text = "SELECT token FROM room.tokens ORDER BY number";
        let rows = self.database.query(text, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Adds a token, if there are fewer than `max`. Returns whether it was added.
    ///
    /// # Errors
    /// [`DatabaseError`]: it may have been added if the database did not answer.
    ///
    /// # Cancel safety
    /// If dropped before it returns, it may have been added.
    pub async fn add_token(
        &self,
        (id, token): (&str, &str),
        max: usize,
    ) -> Result<bool, DatabaseError> {
        let mut client = self.database.client().await?;
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let asked = async {
            let change = client.transaction().await?;
            // The lock on this row lets one node at a time count and add.
            change.execute("UPDATE room.changes SET change = change + 1", &[]).await?;
            let text = "INSERT INTO room.tokens (id, token) \
                        SELECT $1, $2 WHERE (SELECT count(*) FROM room.tokens) < $3";
            let added = change.execute(text, &[&id, &token, &max]).await?;
            change.commit().await?;
            Ok(added > 0)
        };
        self.database.within(asked).await
    }

    /// Removes a token. Returns whether it existed.
    ///
    /// # Errors
    /// As [`ClusterRecords::add_token`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, it may have been removed.
    pub async fn remove_token(&self, id: &str) -> Result<bool, DatabaseError> {
        let mut client = self.database.client().await?;
        let asked = async {
            let change = client.transaction().await?;
            change.execute("UPDATE room.changes SET change = change + 1", &[]).await?;
            let removed = change.execute("DELETE FROM room.tokens WHERE id = $1", &[&id]).await?;
            change.commit().await?;
            Ok(removed > 0)
        };
        self.database.within(asked).await
    }

    /// Appends a line to the cluster's audit log, and drops the oldest one if there are too many.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, the line may be missing.
    pub async fn note(&self, node: &str, line: &str) -> Result<(), DatabaseError> {
        let max = i64::try_from(CLUSTER_AUDIT_LINES_MAX).unwrap_or(i64::MAX);
        let text = "WITH new AS (INSERT INTO room.audit (node, line) VALUES ($1, $2) RETURNING number) \
                    DELETE FROM room.audit WHERE number <= (SELECT number FROM new) - $3";
        self.database.query(text, &[&node, &line, &max]).await.map(drop)
    }

    /// Stores a seal if the cluster has none, and returns the one that it has.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, the seal may be stored.
    pub async fn seal(&self, new: &[u8]) -> Result<Vec<u8>, DatabaseError> {
        let client = self.database.client().await?;
        let asked = async {
            let text = "INSERT INTO room.seals (seal) VALUES ($1) ON CONFLICT DO NOTHING";
            client.execute(text, &[&new]).await?;
            Ok(client.query_one("SELECT seal FROM room.seals", &[]).await?.get(0))
        };
        self.database.within(asked).await
    }
}

/// Returns the mark in a row that starts with `project, change`.
fn mark_of(row: &Row) -> RecordMark {
    RecordMark { project: row.get(0), change: row.get(1) }
}

/// Returns the state in a row whose third column is `deleted`.
fn state_of(row: &Row) -> RecordState {
    match row.get(2) {
        true => RecordState::Deleted,
        false => RecordState::Served,
    }
}

/// Returns the records in a row of `project, change, deleted, versions, variables`.
fn record_of(row: &Row) -> ProjectRecord {
    ProjectRecord {
        mark: mark_of(row),
        state: state_of(row),
        versions: row.get(3),
        variables: row.get(4),
    }
}

#[cfg(test)]
mod tests;
