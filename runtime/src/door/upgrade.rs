//! The WebSocket handshake. Owns the upgrade of a request to a socket.
//!
//! Invariant: buffers and sizes are set from the limits, as tungstenite's own defaults let one client
//! take all memory. The first subprotocol that a client offers is chosen, since a client that offered
//! one fails if none is. It does not know rooms.

use super::listener::{Arrival, Place};
use super::status::DoorError;
use crate::limits::{Limits, size};
use ::http::{HeaderMap, HeaderValue, header};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// A WebSocket of the front door.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// True if a request wants to become a WebSocket.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"))
}

/// A valid handshake that was not answered yet.
pub(super) struct Handshake {
    response: Response,
    upgrade: OnUpgrade,
    config: WebSocketConfig,
    place: Option<Place>,
}

impl Handshake {
    /// Checks a request's handshake.
    ///
    /// # Errors
    /// [`DoorError::Handshake`] says what is missing in it.
    pub(super) fn of(request: &mut Request, limits: &Limits) -> Result<Self, DoorError> {
        let fail = |error: &dyn std::fmt::Display| DoorError::Handshake(error.to_string());
        let mut bare = ::http::Request::new(());
        *bare.method_mut() = request.method().clone();
        *bare.uri_mut() = request.uri().clone();
        *bare.version_mut() = request.version();
        *bare.headers_mut() = request.headers().clone();
        let answer = create_response(&bare).map_err(|error| fail(&error))?;
        // Another server on the way might take the body for the first frames, or those for the body.
        let empty =
            request.headers().get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
        if !empty || request.headers().contains_key(header::TRANSFER_ENCODING) {
            return Err(fail(&"it has a body"));
        }
        let upgrade = request
            .extensions_mut()
            .remove::<OnUpgrade>()
            .ok_or_else(|| fail(&"this connection cannot be upgraded"))?;
        let mut response = answer.map(|()| Body::empty());
        if let Some(protocol) = first_protocol(request.headers()) {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let place = request.extensions().get::<Arrival>().map(|arrival| arrival.place.clone());
        Ok(Self { response, upgrade, config: config(limits), place })
    }

    /// The answer to the client, and the socket that it becomes when the answer is sent, with the
    /// client's place to be held as long.
    pub(super) fn accept(
        self,
    ) -> (Response, impl Future<Output = Option<(Socket, Option<Place>)>>) {
        let Self { response, upgrade, config, place } = self;
        let socket = async move {
            match upgrade.await {
                Ok(io) => {
                    let io = TokioIo::new(io);
                    let socket =
                        WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
                    Some((socket, place))
                }
                Err(error) => {
                    tracing::debug!(%error, "a client left during its handshake");
                    None
                }
            }
        };
        (response, socket)
    }
}

fn config(limits: &Limits) -> WebSocketConfig {
    let message = size(limits.message_bytes_max);
    let written = size(limits.room_message_bytes_max.max(limits.auto_response_bytes_max));
    WebSocketConfig::default()
        .read_buffer_size(size(limits.socket_read_bytes))
        .write_buffer_size(size(limits.socket_write_bytes))
        // What one message may add to what is gathered already; beyond it nothing is accepted.
        .max_write_buffer_size(
            size(limits.socket_write_bytes).saturating_add(written).saturating_add(1024),
        )
        .max_message_size(Some(message))
        .max_frame_size(Some(message))
}

fn first_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = offered.split(',').next()?.trim();
    (!first.is_empty()).then(|| HeaderValue::from_str(first).ok())?
}
