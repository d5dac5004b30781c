//! The database that the nodes of a cluster share. Owns the connections to it, its schema, and this node's right to run
//! rooms.
//!
//! Invariant: no password appears in an error or a log line, and no wait for the database is without an end. It does not
//! know what the tables mean to the crates above, or how a room runs.

mod connect;
mod error;
mod lease;
mod membership;
mod records;
mod schema;
mod settings;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use connect::{Database, DatabaseClient, FrozenDatabase, LoneClient};
pub use error::DatabaseError;
pub use lease::{Incarnation, Lease, SHARDS, ShardSet, shard_of};
pub use membership::{ClusterKey, ClusterNode, Membership, MembershipError, ShardMap, ShardOrder};
pub use records::{
    BlobHash, ClusterRecords, ProjectRecord, RecordChange, RecordError, RecordMark, RecordState,
};
pub use settings::{DatabaseSettings, DatabaseUrlError};
pub use tokio_postgres::Row as DatabaseRow;
pub use tokio_postgres::types::ToSql as DatabaseValue;
