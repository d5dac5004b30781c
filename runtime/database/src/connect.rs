//! Connections to the database. Owns the pool.
//!
//! Invariant: there are at most `database_connections_max` connections, and a caller waits for one, for an answer and for
//! a new connection for a bounded time. It does not know what the connections are used for.

use crate::{DatabaseError, DatabaseSettings, schema};
use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use room_core::limits::fixed::DATABASE_ROW_US_MAX;
use room_core::limits::{Limits, ms, size};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connection to the database, which returns to the pool when it is dropped. Statements that are prepared with
/// `prepare_cached` stay prepared with it.
pub type DatabaseClient = Object;

/// A connection to the database beside the pool, which is closed when it is dropped.
pub type LoneClient = ClientWrapper;

/// The database that the nodes of a cluster share. Cheap to clone; clones have one pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    /// The way to connections beside the pool.
    beside: Pool,
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
        Self::open_with(settings, limits, RecyclingMethod::Fast).await
    }

    /// As [`Database::open`], but a connection that is taken out of the pool again is asked for a sign of life before: one
    /// whose last answer did not come is closed then.
    pub(crate) async fn open_verified(
        settings: &DatabaseSettings,
        limits: &Limits,
    ) -> Result<Self, DatabaseError> {
        Self::open_with(settings, limits, RecyclingMethod::Verified).await
    }

    async fn open_with(
        settings: &DatabaseSettings,
        limits: &Limits,
        recycling: RecyclingMethod,
    ) -> Result<Self, DatabaseError> {
        let connections_max = size(limits.database_connections_max);
        let database = Self {
            pool: pool(settings, limits, connections_max, recycling)?,
            // Each connection leaves it as soon as it is open.
            beside: pool(settings, limits, 1, RecyclingMethod::Fast)?,
            patience: ms(limits.database_answer_ms_max),
            runtime: Handle::current(),
        };
        let mut client = database.client().await?;
        schema::migrate(&mut client).await?;
        drop(client);
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
        self.pool.get().await.map_err(|error| self.not_had(error))
    }

    /// Opens a connection beside the pool, for a use that must not wait for others.
    ///
    /// # Errors
    /// [`DatabaseError::Unreachable`], [`DatabaseError::TimedOut`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, the connection is closed.
    pub async fn beside(&self) -> Result<LoneClient, DatabaseError> {
        let opened = self.beside.get().await.map_err(|error| self.not_had(error))?;
        Ok(Object::take(opened))
    }

    /// Runs one statement, and returns its rows. The statement stays prepared.
    ///
    /// # Errors
    /// [`DatabaseError`]. After [`DatabaseError::TimedOut`] and [`DatabaseError::Unreachable`] it may have happened, or
    /// may still happen.
    ///
    /// # Cancel safety
    /// If dropped before it returns, it may have happened, or may still happen.
    pub async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        let asked = Asked(Some(self.client().await?));
        let answer = self.within(ask(asked.client(), statement, parameters)).await;
        // A connection whose answer is still to come answers nobody else.
        if !matches!(answer, Err(DatabaseError::TimedOut(_))) {
            asked.give_back();
        }
        answer
    }

    /// As [`Database::query`], for a statement that changes this many rows. The more they are, the longer it may take.
    ///
    /// # Errors
    /// As [`Database::query`].
    ///
    /// # Cancel safety
    /// As [`Database::query`].
    pub async fn change(
        &self,
        rows: usize,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        if rows <= FEW_ROWS {
            return self.query(statement, parameters).await;
        }
        let per_row = Duration::from_micros(DATABASE_ROW_US_MAX);
        let own = per_row.saturating_mul(u32::try_from(rows).unwrap_or(u32::MAX));
        let patient = Self { patience: self.patience.saturating_add(own), ..self.clone() };
        // Its statements may take longer from now on, so it is closed at the end.
        let asked = Asked(Some(self.client().await?));
        let longer = format!("SET statement_timeout = {}", patient.patience.as_millis());
        let changed = async {
            asked.client().batch_execute(&longer).await?;
            ask(asked.client(), statement, parameters).await
        };
        patient.within(changed).await
    }

    /// Returns a view of the database as of now, which no later change changes. It takes a connection from the pool, and
    /// closes it when it is dropped.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub async fn frozen(&self) -> Result<FrozenDatabase, DatabaseError> {
        let asked = Asked(Some(self.client().await?));
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        self.within(async { Ok(asked.client().batch_execute(begin).await?) }).await?;
        let frozen = FrozenDatabase { database: self.clone(), asked };
        // The view is that of the moment of the transaction's first statement.
        frozen.query("SELECT 1", &[]).await?;
        Ok(frozen)
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

    /// Warns the operator of a server that acknowledges what a crash undoes.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn warn_of_losses(&self) -> Result<(), DatabaseError> {
        let asked = "SELECT name FROM unnest(ARRAY['fsync', 'synchronous_commit']) AS name
            WHERE current_setting(name, true) = 'off'";
        for row in self.query(asked, &[]).await? {
            let setting: &str = row.get(0);
            tracing::warn!(
                setting,
                "the database may lose acknowledged turns in a crash; switch this setting of PostgreSQL on"
            );
        }
        Ok(())
    }

    fn not_had(&self, error: PoolError) -> DatabaseError {
        match error {
            PoolError::Timeout(_) => self.timed_out(),
            PoolError::Backend(error) => error.into(),
            error => DatabaseError::Unreachable(error.to_string()),
        }
    }

    fn timed_out(&self) -> DatabaseError {
        DatabaseError::TimedOut(u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Database")
    }
}

/// A change of so many rows takes no longer than another statement.
const FEW_ROWS: usize = 10_000;

/// How long a connection is quiet before either end asks for a sign of life.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Makes a pool without a connection.
fn pool(
    settings: &DatabaseSettings,
    limits: &Limits,
    connections_max: usize,
    recycling_method: RecyclingMethod,
) -> Result<Pool, DatabaseError> {
    let patience = Some(ms(limits.database_answer_ms_max));
    let mut config = settings.config().clone();
    config.connect_timeout(ms(limits.database_connect_ms_max));
    // A server that vanished is noticed on each connection, also on one that waits in the pool.
    config.tcp_user_timeout(ms(limits.database_answer_ms_max));
    config.keepalives_idle(KEEPALIVE);
    // The server gives up what nobody waits for any longer, and what a node has held that vanished, and with it the locks.
    let given = config.get_options().unwrap_or_default();
    let (answer_ms, idle_s) = (limits.database_answer_ms_max, KEEPALIVE.as_secs());
    let options = format!(
        "{given} -c statement_timeout={answer_ms} -c tcp_keepalives_idle={idle_s} \
         -c tcp_keepalives_interval={idle_s} -c tcp_keepalives_count=3"
    );
    config.options(options.trim_start());
    let manager = ManagerConfig { recycling_method };
    let manager = match settings.may_use_tls() {
        true => Manager::from_config(config, MakeRustlsConnect::new(trust()), manager),
        false => Manager::from_config(config, NoTls, manager),
    };
    Pool::builder(manager)
        .max_size(connections_max)
        .wait_timeout(patience)
        .create_timeout(Some(ms(limits.database_connect_ms_max)))
        .recycle_timeout(Some(ms(limits.database_connect_ms_max)))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| DatabaseError::Unreachable(error.to_string()))
}

/// A view of the database as of one moment.
pub struct FrozenDatabase {
    database: Database,
    asked: Asked,
}

impl FrozenDatabase {
    /// As [`Database::query`], for a statement that reads.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.database.within(ask(self.asked.client(), statement, parameters)).await
    }

    /// As [`Database::block_on`].
    pub fn block_on<T>(&self, asked: impl Future<Output = T>) -> T {
        self.database.block_on(asked)
    }
}

/// A connection that is not as it was. It is closed when this is dropped.
struct Asked(Option<DatabaseClient>);

impl Asked {
    fn client(&self) -> &ClientWrapper {
        self.0.as_ref().expect("it is given back at the end")
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

/// Runs one statement on a connection, on which it stays prepared.
pub(crate) async fn ask(
    client: &ClientWrapper,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, DatabaseError> {
    let prepared = client.prepare_cached(statement).await?;
    Ok(client.query(&prepared, parameters).await?)
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

    #[tokio::test(flavor = "multi_thread")]
    async fn a_change_of_many_rows_may_take_longer_and_no_other_statement_does() {
        let limits = Limits { database_connections_max: 1, ..Limits::default() };
        let server = tokio::task::block_in_place(TestPostgres::shared);
        let database = Database::open(&server.settings(), &limits).await.unwrap();
        let asked = "SELECT current_setting('statement_timeout')";
        for (rows, time) in [(FEW_ROWS, "5s"), (100_000, "25s"), (1, "5s")] {
            let answer = database.change(rows, asked, &[]).await.unwrap();
            assert_eq!(answer[0].get::<_, &str>(0), time, "{rows}");
        }
        assert_eq!(database.query(asked, &[]).await.unwrap()[0].get::<_, &str>(0), "5s");
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
