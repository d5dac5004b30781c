//! What clients and publishing servers may ask, described for tools. Owns the description.
//!
//! Invariant: it names no path of operators, and anybody may read it. It does not know a project's own paths.

use ::http::header;
use axum::response::{IntoResponse, Response};

/// The description, in OpenAPI.
const OPENAPI: &str = include_str!("openapi.json");

/// Answers `/_room/openapi.json`.
pub(super) async fn describe() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
