//! Why an operator's request to a server and its projects failed, and how the server answers it. Owns the status of
//! each failure. Failures about rooms belong to `operator`.
//!
//! Invariant: every failure is JSON with its text under `error`. Failures of the project and failures of the server
//! have different statuses. It does not know which request failed.

use super::api::{API_HEADER, API_VERSION};
use super::blobs::BlobError;
use super::file::FileError;
use super::records::KeepError;
use super::release::NoBlobId;
use super::site::SiteError;
use super::tokens::{Scope, TokenError};
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use room_database::{DatabaseError, RecordError};
use serde_json::json;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("this needs a token that the server knows")]
    Unauthorized,
    #[error("this needs a token with the scope {}", scope_name(*.0))]
    Forbidden(Scope),
    #[error("{}", other_version(.0))]
    Version(String),
    #[error("this path does not exist")]
    NotFound,
    #[error("there is no project {0}")]
    NoProject(String),
    #[error("the project cannot be served: {0}")]
    Broken(String),
    #[error("{0}")]
    Malformed(String),
    #[error("the body has more than {0} bytes")]
    TooLarge(u64),
    #[error("the body did not arrive in time, or broke off")]
    BodyMissing,
    #[error("too many uploads run already; try again")]
    Busy,
    #[error("{0} changes run already, which is admin_changes_max; try again")]
    TooManyChanges(u64),
    #[error("the server is shutting down")]
    Stopping,
    #[error("the server failed internally; its log has the details")]
    Panicked,
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Hash(#[from] NoBlobId),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error("this server is not a node of a cluster: start it with --cluster")]
    NoCluster,
    #[error("the deletion of the project {0} has begun; delete it again to finish it")]
    Deleted(String),
    #[error("the cluster has no node {0}")]
    NoNode(String),
    #[error(
        "the project {0} is deleted and not served any more; delete it again to remove the rest of what its rooms stored, \
         which failed: {1}"
    )]
    HalfDeleted(String, DatabaseError),
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound
            | Self::NoProject(_)
            | Self::NoCluster
            | Self::NoNode(_)
            | Self::Token(TokenError::Unknown(_)) => StatusCode::NOT_FOUND,
            Self::Version(_)
            | Self::Malformed(_)
            | Self::Hash(_)
            | Self::Token(TokenError::Name) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyMissing => StatusCode::REQUEST_TIMEOUT,
            Self::Busy | Self::TooManyChanges(_) | Self::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Token(TokenError::Full) | Self::Deleted(_) => StatusCode::CONFLICT,
            Self::Site(error) if error.is_full() => StatusCode::INSUFFICIENT_STORAGE,
            Self::File(error) if error.is_full() => StatusCode::INSUFFICIENT_STORAGE,
            Self::Site(error) => site_status(error),
            Self::Keep(error) | Self::Token(TokenError::Keep(error)) => keep_status(error),
            Self::HalfDeleted(..) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Panicked | Self::Broken(_) | Self::File(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn site_status(error: &SiteError) -> StatusCode {
    match error {
        SiteError::Wrong(_) => StatusCode::BAD_REQUEST,
        SiteError::NoVersion(_) | SiteError::NoVariable(_) => StatusCode::NOT_FOUND,
        SiteError::Busy
        | SiteError::Missing(_)
        | SiteError::HostTaken(_)
        | SiteError::NoVersionBefore => StatusCode::CONFLICT,
        // The project is at fault, and the version before is still served.
        SiteError::Deploy(_) => StatusCode::UNPROCESSABLE_ENTITY,
        SiteError::Keep(error) | SiteError::Blob(BlobError::Keep(error)) => keep_status(error),
        SiteError::Open(_)
        | SiteError::File(_)
        | SiteError::Blob(_)
        | SiteError::Unversioned(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn keep_status(error: &KeepError) -> StatusCode {
    match error {
        KeepError::Record(RecordError::Busy | RecordError::BlobsMissing) => StatusCode::CONFLICT,
        // The operator can try again.
        KeepError::Record(RecordError::Full | RecordError::Database(_)) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        error if error.is_full() => StatusCode::INSUFFICIENT_STORAGE,
        KeepError::File(_) | KeepError::Unreadable { .. } | KeepError::OtherKey => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// Returns what to do about a request in another version of the API.
fn other_version(asked: &str) -> String {
    let here = format!("this server speaks version {API_VERSION} of its API for operators");
    match asked.parse::<u64>() {
        Ok(asked) if asked > API_VERSION => {
            format!("{here}, and was asked in version {asked}: upgrade the server")
        }
        Ok(asked) => format!("{here}, and was asked in version {asked}: upgrade `room`"),
        Err(_) => format!("{here}; `{API_HEADER}` is a number"),
    }
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Deploy => "deploy",
        Scope::Admin => "admin",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.to_string() });
        if let Self::Site(SiteError::Missing(missing)) = &self {
            body["missing"] = json!(missing);
        }
        let mut response = (self.status(), Json(body)).into_response();
        if matches!(self, Self::Unauthorized) {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Other { .. } => Self::Malformed(error.to_string()),
            BlobError::TooLarge(max) => Self::TooLarge(max),
            BlobError::BrokenOff(_) => Self::BodyMissing,
            BlobError::File(error) => Self::File(error),
            BlobError::Keep(error) => Self::Keep(error),
        }
    }
}
