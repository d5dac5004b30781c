//! Server-sent events for operators, as a response. Owns its headers.
//!
//! Invariant: a piece is asked for when the client has taken the one before, so a client that takes nothing
//! costs one piece and is waited for by nobody. It does not know what the events say.

use ::http::{HeaderName, HeaderValue, header};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use std::convert::Infallible;

/// After how many milliseconds EventSource comes back by itself.
pub(super) const RETRY_MS: u64 = 1_000;

/// What makes a stream, piece by piece.
pub(super) trait Events: Send + 'static {
    /// The next piece, of whole events; none at the end.
    fn next(&mut self) -> impl Future<Output = Option<String>> + Send;
}

/// A response that goes on until the events end, or the client leaves.
pub(super) fn stream(events: impl Events) -> Response {
    let body = unfold(events, |mut events| async move {
        events.next().await.map(|piece| (Ok::<_, Infallible>(Bytes::from(piece)), events))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather responses would keep events back.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    headers.insert(unbuffered, HeaderValue::from_static("no"));
    response
}
