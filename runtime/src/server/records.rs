//! The records of a server that is a node of a cluster. Owns the forms in which they are in the database: what is JSON,
//! and what is sealed.
//!
//! Invariant: variables, and with them all secrets, are sealed in the database. A node whose key is not the cluster's
//! reads and writes nothing. It does not know how projects are served.

use super::file::FileError;
use super::vault::{Vault, VaultError};
use room_core::id::NodeId;
use room_database::{ClusterRecords, DatabaseError, RecordError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;

/// The purpose for which the cluster's seal is sealed, and its content.
const SEAL: &str = "seal";

/// Why records were not read or not changed. They are as before.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// A file of the data folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// The records in the cluster's database.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What is in the database cannot be read.
    #[error("{what} in the cluster's database cannot be read: {why}")]
    Unreadable {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
    /// The node's key is not the cluster's.
    #[error(
        "this node has another cluster key than the cluster's first node: give all nodes the same by --cluster-key or \
         ROOM_CLUSTER_KEY; what was stored with a key that is lost cannot be read, and the cluster needs a new database"
    )]
    OtherKey,
}

impl From<DatabaseError> for KeepError {
    fn from(error: DatabaseError) -> Self {
        Self::Record(error.into())
    }
}

impl KeepError {
    /// Returns true if the disk is full.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::File(error) if error.is_full())
    }
}

/// The records of a cluster, as its nodes read and write them. Cheap to clone.
#[derive(Clone)]
pub(super) struct RecordHome {
    records: ClusterRecords,
    vault: Arc<Vault>,
    node: NodeId,
}

impl RecordHome {
    /// Returns the records, if the node's key is the cluster's. The first node's key becomes the cluster's.
    ///
    /// # Errors
    /// [`KeepError::OtherKey`], and those of the database.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the node's key may be the cluster's.
    pub(super) async fn open(
        records: ClusterRecords,
        vault: Vault,
        node: NodeId,
    ) -> Result<Self, KeepError> {
        let own = vault.seal(SEAL, SEAL.as_bytes()).map_err(|error| unreadable(SEAL, error))?;
        let kept = records.seal(&own).await?;
        vault.open(SEAL, &kept).map_err(|_| KeepError::OtherKey)?;
        Ok(Self { records, vault: Arc::new(vault), node })
    }

    /// Returns the statements.
    pub(super) fn records(&self) -> &ClusterRecords {
        &self.records
    }

    /// Returns the name of this node.
    pub(super) fn node(&self) -> &NodeId {
        &self.node
    }

    /// Returns the sealed JSON of a value that belongs to a project.
    ///
    /// # Errors
    /// [`KeepError::Unreadable`].
    pub(super) fn sealed(
        &self,
        project: &str,
        value: &impl Serialize,
    ) -> Result<Vec<u8>, KeepError> {
        let what = format!("the variables of {project}");
        let bytes = serde_json::to_vec(value).map_err(|error| unreadable(&what, error))?;
        self.vault.seal(&purpose(project), &bytes).map_err(|error| unreadable(&what, error))
    }

    /// Returns the value in sealed JSON that belongs to a project.
    ///
    /// # Errors
    /// [`KeepError::Unreadable`].
    pub(super) fn opened<T: DeserializeOwned>(
        &self,
        project: &str,
        sealed: &[u8],
    ) -> Result<T, KeepError> {
        let what = format!("the variables of {project}");
        let opened = self.vault.open(&purpose(project), sealed);
        let bytes = opened.map_err(|error: VaultError| unreadable(&what, error))?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(&what, error))
    }
}

/// Returns the value of JSON from the database.
///
/// # Errors
/// [`KeepError::Unreadable`], with the name of `what` it is.
pub(super) fn read<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, KeepError> {
    serde_json::from_str(text).map_err(|error| unreadable(what, error))
}

/// Returns a value as JSON for the database.
///
/// # Errors
/// [`KeepError::Unreadable`], with the name of `what` it is.
pub(super) fn text(what: &str, value: &impl Serialize) -> Result<String, KeepError> {
    serde_json::to_string(value).map_err(|error| unreadable(what, error))
}

/// Refuses a format that a newer version of the program wrote.
///
/// # Errors
/// [`KeepError`].
pub(super) fn check_format(what: &str, found: u32, known: u32) -> Result<(), KeepError> {
    Ok(super::file::check_format(Path::new(what), found, known)?)
}

fn unreadable(what: &str, why: impl ToString) -> KeepError {
    KeepError::Unreadable { what: what.to_owned(), why: why.to_string() }
}

fn purpose(project: &str) -> String {
    format!("variables of {project}")
}
