//! Why an operator's request about rooms failed, and how the server answers it. Owns the status of each failure.
//!
//! Invariant: an operator reads the whole text. A failure that also keeps clients from a room has the status of the
//! door's table. It does not know which request failed.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use room_core::config::Audience;
use room_core::id::{NameError, RoomId};
use room_core::logs::TooMany;
use room_door::DoorError;
use room_rooms::room::RoomError;
use room_rooms::rooms::Unreachable;
use room_rooms::taps::TapsFull;
use room_store::StoreError;

/// Why an operator's request about rooms failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// The request has no token of the operator.
    #[error("this needs the token of the server's operator")]
    Unauthorized,
    /// As many transfers run as the limit allows.
    #[error("{0} backups, exports and imports run already")]
    TransfersFull(u64),
    /// The server has no folder for the files that the request needs.
    #[error("this server keeps its data in memory: there is nothing to back up, export or import")]
    InMemory,
    /// Nothing is stored for the room to export.
    #[error("nothing is stored for the room {0}")]
    NothingStored(RoomId),
    /// The room is neither in memory nor stored.
    #[error("there is no room {0}: it is not in memory, and nothing is stored for it")]
    NoRoom(RoomId),
    /// The room has no such connection.
    #[error("the room {0} has no open connection {1:?}")]
    NoConnection(RoomId, String),
    /// The room has no such key.
    #[error("the room {0} has no such key")]
    NoKey(RoomId),
    /// The project has no such cron.
    #[error("the project has no cron {0:?}")]
    NoCron(String),
    /// The cron's calls are being made already.
    #[error("the cron {0:?} calls its rooms already; ask again when it has called them all")]
    CronRuns(String),
    /// There is no such webhook, or it is being sent.
    #[error(
        "no webhook {0:?} waits or is a dead letter; one that is being sent can be changed when its try is over"
    )]
    NoWebhook(String),
    /// The request breaks a rule, which the text names.
    #[error("{0}")]
    Invalid(String),
    /// A parameter of the log is invalid.
    #[error("the parameter {name} {problem}")]
    Parameter {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// As many clients watch the log as the limit allows.
    #[error("{0} clients watch the log already")]
    LogWatchersFull(u64),
    /// As many clients watch rooms as the limit allows.
    #[error("{0} clients watch rooms already")]
    RoomWatchersFull(u64),
    /// Too many rooms are stored for a scan in time.
    #[error(
        "scanning all stored rooms took longer than {0} ms; ask for one party, or raise admin_scan_ms_max"
    )]
    ScanTooLong(u64),
    /// A failure that keeps clients from a room, too.
    #[error(transparent)]
    Door(#[from] DoorError),
}

impl IntoResponse for OperatorError {
    fn into_response(self) -> Response {
        let text = self.to_string();
        let status = match self {
            Self::Door(error) => return error.show(Audience::Developer).into_response(),
            Self::Unauthorized => {
                let scheme = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
                return (StatusCode::UNAUTHORIZED, scheme, text).into_response();
            }
            Self::TransfersFull(_) | Self::LogWatchersFull(_) | Self::RoomWatchersFull(_) => {
                let retry = [(header::RETRY_AFTER, HeaderValue::from(DoorError::RETRY_AFTER))];
                return (StatusCode::SERVICE_UNAVAILABLE, retry, text).into_response();
            }
            Self::InMemory | Self::CronRuns(_) => StatusCode::CONFLICT,
            Self::NothingStored(_)
            | Self::NoRoom(_)
            | Self::NoConnection(..)
            | Self::NoKey(_)
            | Self::NoWebhook(_)
            | Self::NoCron(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) | Self::Parameter { .. } => StatusCode::BAD_REQUEST,
            Self::ScanTooLong(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        (status, text).into_response()
    }
}

impl From<NameError> for OperatorError {
    fn from(error: NameError) -> Self {
        Self::Door(error.into())
    }
}

impl From<Unreachable> for OperatorError {
    fn from(error: Unreachable) -> Self {
        Self::Door(error.into())
    }
}

impl From<RoomError> for OperatorError {
    fn from(error: RoomError) -> Self {
        Unreachable::from(error).into()
    }
}

impl From<StoreError> for OperatorError {
    fn from(error: StoreError) -> Self {
        RoomError::from(error).into()
    }
}

impl From<TooMany> for OperatorError {
    fn from(TooMany(max): TooMany) -> Self {
        Self::LogWatchersFull(max)
    }
}

impl From<TapsFull> for OperatorError {
    fn from(TapsFull(max): TapsFull) -> Self {
        Self::RoomWatchersFull(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use room_core::id::PartyName;
    use room_guest::GuestFault;

    /// Returns one error of each kind.
    fn errors() -> Vec<OperatorError> {
        let room = || RoomId::new(PartyName::parse("x").unwrap(), "lobby", 10).unwrap();
        vec![
            OperatorError::Unauthorized,
            OperatorError::TransfersFull(4),
            OperatorError::InMemory,
            OperatorError::NothingStored(room()),
            OperatorError::NoRoom(room()),
            OperatorError::NoConnection(room(), "a".to_owned()),
            OperatorError::NoKey(room()),
            OperatorError::NoCron("prune".to_owned()),
            OperatorError::CronRuns("prune".to_owned()),
            OperatorError::Invalid("line 2: not JSON".to_owned()),
            OperatorError::Parameter { name: "x".to_owned(), problem: "is wrong".to_owned() },
            OperatorError::LogWatchersFull(4),
            OperatorError::RoomWatchersFull(4),
            OperatorError::ScanTooLong(10),
            OperatorError::Door(DoorError::NotFound),
            OperatorError::Door(DoorError::Starting),
            NameError::Empty("room").into(),
            RoomError::Busy.into(),
            RoomError::TimedOut.into(),
            RoomError::Guest(GuestFault::Rejected("no such move".to_owned())).into(),
            StoreError::Io("no space".to_owned()).into(),
        ]
    }

    #[tokio::test]
    async fn every_operator_error_maps_to_its_status() {
        let mut table = String::new();
        for error in errors() {
            let response = error.into_response();
            let (head, body) = response.into_parts();
            let body = axum::body::to_bytes(body, 1_000).await.unwrap();
            let text = String::from_utf8(body.to_vec()).unwrap();
            let told = [header::RETRY_AFTER, header::WWW_AUTHENTICATE];
            let told = told.iter().filter_map(|name| {
                Some(format!(" ({name}: {})", head.headers.get(name)?.to_str().unwrap()))
            });
            table += &format!("{} {text}{}\n", head.status.as_u16(), told.collect::<String>());
        }
        expect![[r#"
            401 this needs the token of the server's operator (www-authenticate: Bearer)
            503 4 backups, exports and imports run already (retry-after: 1)
            409 this server keeps its data in memory: there is nothing to back up, export or import
            404 nothing is stored for the room x/lobby
            404 there is no room x/lobby: it is not in memory, and nothing is stored for it
            404 the room x/lobby has no open connection "a"
            404 the room x/lobby has no such key
            404 the project has no cron "prune"
            409 the cron "prune" calls its rooms already; ask again when it has called them all
            400 line 2: not JSON
            400 the parameter x is wrong
            503 4 clients watch the log already (retry-after: 1)
            503 4 clients watch rooms already (retry-after: 1)
            504 scanning all stored rooms took longer than 10 ms; ask for one party, or raise admin_scan_ms_max
            404 not found
            503 the server is starting (retry-after: 1)
            400 the room name is empty
            503 the room is busy (retry-after: 1)
            504 the room did not answer in time (retry-after: 1)
            500 the callback returned an error: no such move
            500 the disk failed: no space
        "#]].assert_eq(&table);
    }
}
