//! What goes wrong between a node and its database. Owns the sentences that say so.
//!
//! Invariant: no sentence contains a password or a connection string. It does not know what was asked of the database.

use tokio_postgres::error::SqlState;

/// Why the database did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// No connection can be had, or the connection broke.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The database refused the statement. `code` is its five-character SQLSTATE.
    #[error("the database refused ({code}): {text}")]
    Refused {
        /// The SQLSTATE, as in appendix A of PostgreSQL's manual.
        code: String,
        /// The database's words.
        text: String,
    },
    /// The database did not answer in time. What was asked may have happened.
    #[error("the database did not answer within {0} ms")]
    TimedOut(u64),
    /// The schema was made by a later version of this program.
    #[error(
        "the database has schema {found}, and this version of room reads up to {wanted}: start the newer version, or use another database"
    )]
    NewerSchema {
        /// The version of the database's schema.
        found: i32,
        /// The latest version that this program knows.
        wanted: i32,
    },
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // The server is stopping, or takes no further connections.
            Some(refusal) if is_away(refusal.code()) => {
                Self::Unreachable(refusal.message().to_owned())
            }
            Some(refusal) => Self::Refused {
                code: refusal.code().code().to_owned(),
                text: refusal.message().to_owned(),
            },
            None => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                Self::Unreachable(source.unwrap_or_else(|| error.to_string()))
            }
        }
    }
}

fn is_away(code: &SqlState) -> bool {
    // Class 08: connection exceptions; class 57: operator intervention; 53300: too many connections.
    let code = code.code();
    code.starts_with("08")
        || code.starts_with("57P")
        || code == SqlState::TOO_MANY_CONNECTIONS.code()
}
