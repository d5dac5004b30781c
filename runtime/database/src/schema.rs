//! The tables of a cluster. Owns the schema's versions, and how a database gets to the newest one.
//!
//! Invariant: a migration is applied once, whole, by one node, while the others wait. A schema of a later version is
//! refused and not changed. It does not know what the tables mean.

use crate::DatabaseError;
use tokio_postgres::Client;

/// The migrations, in order. The version of a schema is how many of them it has.
const MIGRATIONS: [&str; 1] = [include_str!("schema/001.sql")];
/// The number of the advisory lock that a node holds while it migrates: the letters `room`.
const LOCK: i64 = 0x726f_6f6d;

/// Brings the schema to the newest version.
///
/// # Errors
/// [`DatabaseError`]; nothing was changed.
pub(super) async fn migrate(client: &mut Client) -> Result<(), DatabaseError> {
    let wanted = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    let change = client.transaction().await?;
    change.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let exists = change
        .query_one("SELECT to_regclass('room.versions') IS NOT NULL", &[])
        .await?
        .get::<_, bool>(0);
    let found: i32 = match exists {
        true => change
            .query_one("SELECT coalesce(max(version), 0) FROM room.versions", &[])
            .await?
            .get(0),
        false => 0,
    };
    if found > wanted {
        return Err(DatabaseError::NewerSchema { found, wanted });
    }
    for (version, migration) in
        (1..=wanted).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0))
    {
        change.batch_execute(migration).await?;
        change.execute("INSERT INTO room.versions (version) VALUES ($1)", &[&version]).await?;
        tracing::info!(version, "the database's schema was brought up to date");
    }
    Ok(change.commit().await?)
}
