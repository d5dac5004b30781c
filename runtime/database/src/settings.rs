//! Where the database is, and how to sign in. Owns the reading of its URL.
//!
//! Invariant: the password is never shown. It does not know how a connection is made.

use std::fmt;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// Where the database is, and how to sign in.
#[derive(Clone)]
pub struct DatabaseSettings {
    config: Config,
}

/// Why a text is not a valid URL of a database, as a sentence that says what to write instead. It repeats no part of the
/// text, which may contain a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DatabaseUrlError(String);

impl DatabaseSettings {
    /// Reads a URL such as `postgres://room@db.example:5432/room?sslmode=require`. `password` is used if the URL has none.
    ///
    /// # Errors
    /// [`DatabaseUrlError`].
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, DatabaseUrlError> {
        let has_scheme =
            ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        let example = "write postgres://USER@HOST:PORT/DATABASE?sslmode=require";
        if !has_scheme {
            return Err(DatabaseUrlError(format!(
                "the database's URL has another scheme: {example}"
            )));
        }
        let parsed: Result<Config, _> = url.parse();
        let mut config = parsed
            .map_err(|_| DatabaseUrlError(format!("the database's URL is invalid: {example}")))?;
        if config.get_hosts().is_empty() {
            return Err(DatabaseUrlError(format!("the database's URL names no host: {example}")));
        }
        if config.get_password().is_none()
            && let Some(password) = password
        {
            config.password(password);
        }
        config.application_name("room");
        Ok(Self { config })
    }

    /// Returns the settings for the driver.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns true if a connection may use TLS.
    pub(super) fn may_use_tls(&self) -> bool {
        self.config.get_ssl_mode() != SslMode::Disable
    }
}

impl fmt::Debug for DatabaseSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = (self.config.get_hosts(), self.config.get_ports());
        out.debug_struct("DatabaseSettings")
            .field("hosts", &hosts)
            .field("user", &self.config.get_user())
            .field("database", &self.config.get_dbname())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_its_password_is_never_shown() {
        let url = "postgres://ada:s3cret@db.example:6432/rooms?sslmode=require";
        let settings = DatabaseSettings::parse(url, None).unwrap();
        let shown = format!("{settings:?}");
        assert!(shown.contains("db.example") && shown.contains("rooms"), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
        for bad in ["", "db.example", "mysql://db", "postgres://", "postgres://h:p0rt/x"] {
            let error = DatabaseSettings::parse(bad, None).unwrap_err().to_string();
            assert!(error.contains("write postgres://USER@HOST"), "{error}");
        }
    }
}
