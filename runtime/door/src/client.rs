//! `/_room/client.js`: the client for pages without a build step. Owns its headers.
//!
//! Invariant: the response is the file of `sdk/js`, for pages of any origin, and a browser with a current copy does not
//! receive it again. It does not know rooms.

use ::http::header::{self, HeaderName};
use ::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;

const SCRIPT: &str = include_str!("../../../sdk/js/client.js");

/// Changes with the script.
static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let tag = format!("\"{}\"", blake3::hash(SCRIPT.as_bytes()).to_hex());
    HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes are a header's value")
});

/// The script changes only with the server's version, and every version of it understands every server.
const KEPT: &str = "public, max-age=3600";

/// Answers `GET /_room/client.js`.
pub(super) async fn script(asked: HeaderMap) -> Response {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let fresh = known.is_some_and(|known| {
        let tags = known.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
        tags.into_iter().any(|tag| tag == "*" || *TAG == tag)
    });
    let headers = [
        (header::ETAG, TAG.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static(KEPT)),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        // Pages that isolate themselves load only resources with this header.
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    if fresh {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (headers, kind, SCRIPT).into_response()
}
