//! One change of a project's records. Owns the transaction that holds the right to it.
//!
//! Invariant: the right ends with the transaction, so a node that dies in a change leaves no trace and no lock. A change
//! that is dropped is rolled back, and its connection is closed. It does not know what the change is.

use super::{BlobHash, ProjectRecord, RecordMark, mark_of, record_of};
use crate::{Database, DatabaseClient, DatabaseError};
use deadpool_postgres::Object;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::error::SqlState;

/// Why a project's records were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Another node changes the project.
    #[error("another node of the cluster is changing this project; try again")]
    Busy,
    /// This node has begun as many changes as it may.
    #[error("this node makes other changes in the database already; try again")]
    Full,
    /// The database lacks blobs that the records name.
    #[error(
        "the database does not have all files of the release any more; deploy again, which uploads them"
    )]
    BlobsMissing,
    /// The database did not do it. It may have happened if it did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// The right to change a project's records, and what they are. At most one exists for a project in the whole cluster.
#[must_use]
pub struct RecordChange {
    database: Database,
    /// In a transaction; `None` once that has ended.
    client: Option<DatabaseClient>,
    name: String,
    found: Option<ProjectRecord>,
    _place: OwnedSemaphorePermit,
}

impl RecordChange {
    pub(super) async fn begin(
        (database, client): (Database, DatabaseClient),
        name: &str,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, RecordError> {
        let mut change = Self {
            database: database.clone(),
            client: Some(client),
            name: name.to_owned(),
            found: None,
            _place: place,
        };
        let begun = async {
            let client = change.client()?;
            client.batch_execute("BEGIN; SET LOCAL lock_timeout = '100ms'").await?;
            // The row of a first deployment, which no other node sees before the commit. It makes them wait at this index.
            let text = "INSERT INTO room.projects (name, change, versions, variables) VALUES ($1, 0, '', '') \
                        ON CONFLICT (name) DO NOTHING";
            client.execute(text, &[&change.name]).await?;
            let text = "SELECT project, change, deleted, versions, variables FROM room.projects WHERE name = $1 \
                        FOR UPDATE NOWAIT";
            let row = client.query_one(text, &[&change.name]).await?;
            client.batch_execute("SET LOCAL lock_timeout = DEFAULT").await?;
            Ok(Some(record_of(&row)).filter(|record| record.mark.change > 0))
        };
        change.found = database.within(begun).await.map_err(|error| match &error {
            DatabaseError::Refused { code, .. } if code == SqlState::LOCK_NOT_AVAILABLE.code() => {
                RecordError::Busy
            }
            _ => error.into(),
        })?;
        Ok(change)
    }

    /// Returns the records as they are; `None` if there is no such project.
    pub fn found(&self) -> Option<&ProjectRecord> {
        self.found.as_ref()
    }

    /// Writes the project's records, which need these blobs from now on.
    ///
    /// # Errors
    /// [`RecordError`]: nothing has changed, unless the database did not answer.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the records may be written.
    pub async fn write(
        mut self,
        versions: &str,
        variables: &[u8],
        blobs: &[BlobHash],
    ) -> Result<RecordMark, RecordError> {
        let hashes: Vec<&[u8]> = blobs.iter().map(<[u8; 32]>::as_slice).collect();
        let client = self.client()?;
        let write = async {
            // In order, so that two changes with the same blobs do not wait for each other.
            let text = "SELECT hash FROM room.blobs WHERE hash = ANY($1) ORDER BY hash FOR UPDATE";
            let locked = client.query(text, &[&hashes]).await?.len();
            if locked < hashes.len() {
                return Ok(None);
            }
            let text = "UPDATE room.blobs SET used = clock_timestamp() WHERE hash = ANY($1)";
            client.execute(text, &[&hashes]).await?;
            let text = "WITH next AS (UPDATE room.changes SET change = change + 1 RETURNING change) \
                        UPDATE room.projects p SET change = next.change, versions = $2, variables = $3 \
                        FROM next WHERE p.name = $1 RETURNING p.project, p.change";
            let row = client.query_one(text, &[&self.name, &versions, &variables]).await?;
            client.batch_execute("COMMIT").await?;
            Ok(Some(mark_of(&row)))
        };
        let written = self.database.within(write).await?;
        let mark = written.ok_or(RecordError::BlobsMissing)?;
        self.keep_connection();
        Ok(mark)
    }

    /// Records that the project's deletion has begun. From then on no node serves it.
    ///
    /// # Errors
    /// [`RecordError`]: it is not recorded, unless the database did not answer.
    ///
    /// # Cancel safety
    /// If dropped before it returns, it may be recorded.
    pub async fn delete(mut self) -> Result<(), RecordError> {
        let client = self.client()?;
        let delete = async {
            let text = "WITH next AS (UPDATE room.changes SET change = change + 1 RETURNING change) \
                        UPDATE room.projects p SET change = next.change, deleted = true FROM next WHERE p.name = $1";
            client.execute(text, &[&self.name]).await?;
            Ok(client.batch_execute("COMMIT").await?)
        };
        self.database.within(delete).await?;
        self.keep_connection();
        Ok(())
    }

    /// Ends without a change.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the change has ended, too.
    pub async fn leave(mut self) {
        let Ok(client) = self.client() else { return };
        let end = async { Ok(client.batch_execute("ROLLBACK").await?) };
        if self.database.within(end).await.is_ok() {
            self.keep_connection();
        }
    }

    fn client(&self) -> Result<&DatabaseClient, DatabaseError> {
        let ended = || DatabaseError::Unreachable("the change has ended".to_owned());
        self.client.as_ref().ok_or_else(ended)
    }

    /// Returns the connection to the pool: its transaction has ended.
    fn keep_connection(&mut self) {
        self.client = None;
    }
}

impl Drop for RecordChange {
    fn drop(&mut self) {
        // A connection that is closed within a transaction is rolled back.
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}
