//! Server-sent events as a response. Owns its headers, and the signs of life between events.
//!
//! Invariant: the next piece is requested when the client has taken the one before. So a client that takes nothing
//! costs one piece, and nothing waits for it. It does not know what the events say.

use ::http::{HeaderName, HeaderValue, header};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use std::convert::Infallible;
use std::time::Duration;

/// The number of milliseconds after which EventSource reconnects by itself.
pub const RETRY_MS: u64 = 1_000;

/// The source of a stream, piece by piece.
pub trait Events: Send + 'static {
    /// Returns the piece that the stream starts with.
    fn greeting(&self) -> String {
        format!("retry: {RETRY_MS}\n\n")
    }

    /// Waits for the next piece, which has only whole events. Returns `None` at the end.
    ///
    /// # Cancel safety
    /// If dropped before it returns, nothing is lost.
    fn next(&mut self) -> impl Future<Output = Option<String>> + Send;

    /// Returns a piece without an event, for a client that received nothing during a heartbeat.
    fn sign_of_life(&self) -> String {
        ": alive\n\n".to_owned()
    }
}

/// The state of a stream.
struct EventStream<E> {
    events: E,
    greeted: bool,
    heartbeat: Duration,
}

impl<E: Events> EventStream<E> {
    async fn next(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(self.events.greeting());
        }
        match tokio::time::timeout(self.heartbeat, self.events.next()).await {
            Ok(piece) => piece,
            Err(_) => Some(self.events.sign_of_life()),
        }
    }
}

/// Returns a response that continues until the events end, or the client leaves.
pub fn stream(events: impl Events, heartbeat: Duration) -> Response {
    let stream = EventStream { events, greeted: false, heartbeat };
    let body = unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), stream))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer responses would delay events.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    headers.insert(unbuffered, HeaderValue::from_static("no"));
    response
}
