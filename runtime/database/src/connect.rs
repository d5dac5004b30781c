//! Connections to the database. Owns the pool.
//!
//! Invariant: there are at most `database_connections_max` connections, and a caller waits for one, for an answer and for
//! a new connection for a bounded time. It does not know what the connections are used for.

use crate::{DatabaseError, DatabaseSettings, schema};
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use room_core::limits::{Limits, ms, size};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connection to the database, which returns to the pool when it is dropped. Statements that are prepared with
/// `prepare_cached` stay prepared with it.
pub type DatabaseClient = Object;

/// The database that the nodes of a cluster share. Cheap to clone; clones have one pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    patience: Duration,
    runtime: Handle,
}

impl Database {
    /// Connects, and brings the schema up to date.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, the schema is as it was, or whole.
    pub async fn open(settings: &DatabaseSettings, limits: &Limits) -> Result<Self, DatabaseError> {
        let patience = ms(limits.database_answer_ms_max);
        let mut config = settings.config().clone();
        config.connect_timeout(ms(limits.database_connect_ms_max));
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match settings.may_use_tls() {
            true => Manager::from_config(config, MakeRustlsConnect::new(trust()), manager),
            false => Manager::from_config(config, NoTls, manager),
        };
        let pool = Pool::builder(manager)
            .max_size(size(limits.database_connections_max))
            .wait_timeout(Some(patience))
            .create_timeout(Some(ms(limits.database_connect_ms_max)))
            .recycle_timeout(Some(patience))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| DatabaseError::Unreachable(error.to_string()))?;
        let database = Self { pool, patience, runtime: Handle::current() };
        let mut client = database.client().await?;
        schema::migrate(&mut client).await?;
        Ok(database)
    }

    /// Returns a connection, as soon as one is free.
    ///
    /// # Errors
    /// [`DatabaseError::Unreachable`], [`DatabaseError::TimedOut`].
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub async fn client(&self) -> Result<DatabaseClient, DatabaseError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(_) => self.timed_out(),
            PoolError::Backend(error) => error.into(),
            error => DatabaseError::Unreachable(error.to_string()),
        })
    }

    /// Waits for what the database does, for as long as an answer may take.
    ///
    /// # Errors
    /// [`DatabaseError`]. After [`DatabaseError::TimedOut`] it may have happened.
    ///
    /// # Cancel safety
    /// If dropped before it returns, it may have happened.
    pub async fn within<T>(
        &self,
        asked: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        tokio::time::timeout(self.patience, asked).await.unwrap_or_else(|_| Err(self.timed_out()))
    }

    /// Waits on a thread that may block and runs no tasks.
    pub fn block_on<T>(&self, asked: impl Future<Output = T>) -> T {
        self.runtime.block_on(asked)
    }

    fn timed_out(&self) -> DatabaseError {
        DatabaseError::TimedOut(u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Returns a client's TLS with the system's certificates.
fn trust() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestPostgres;

    #[tokio::test(flavor = "multi_thread")]
    async fn many_nodes_that_start_at_once_make_the_schema_once() {
        let (server, limits) = (TestPostgres::start(""), Limits::default());
        let settings = server.settings();
        let opening = || {
            let (settings, limits) = (settings.clone(), limits.clone());
            tokio::spawn(async move { Database::open(&settings, &limits).await })
        };
        let openings: Vec<_> = (0..8).map(|_| opening()).collect();
        for opened in openings {
            let client = opened.await.unwrap().unwrap().client().await.unwrap();
            let row = client.query_one("SELECT count(*) FROM room.shards", &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), 1_024);
        }
        let database = settings.config().get_dbname().unwrap();
        assert_eq!(server.sql(database, "SELECT count(*) FROM room.versions"), "1");
        server.sql(database, "INSERT INTO room.versions (version) VALUES (9)");
        let refused = Database::open(&settings, &limits).await.err();
        assert_eq!(refused, Some(DatabaseError::NewerSchema { found: 9, wanted: 1 }));
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_named_as_that() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("postgres://ada:s3cret@{free}/rooms?sslmode=disable");
        let settings = DatabaseSettings::parse(&url, None).unwrap();
        let error = Database::open(&settings, &Limits::default()).await.err().unwrap();
        assert!(matches!(error, DatabaseError::Unreachable(_)), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
