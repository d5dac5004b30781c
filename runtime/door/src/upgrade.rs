//! The WebSocket handshake. Owns the upgrade of a request to a socket.
//!
//! Invariant: a handshake is answered with 101 only if it keeps every rule of RFC 6455 section 4.2.1. Buffers and sizes
//! are set from the limits, because tungstenite's own defaults let one client take all memory. Unless a hook chooses, the
//! server chooses the first subprotocol that a client offers, because a client that offered one fails if the server
//! chooses none. It does not know rooms.

mod frames;
mod intake;

pub(super) use intake::IntakeError;

use crate::http::append;
use crate::identity::BEARER_PROTOCOL;
use crate::listener::{ConnectionSlot, RequestArrival};
use crate::status::DoorError;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use intake::Intake;
use room_core::byte_budget::{ByteBudget, BytePermit};
use room_core::event::{self, AddedHeaders};
use room_core::limits::{Limits, size};
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// A WebSocket of the front door.
pub(super) type Socket = WebSocketStream<Intake<TokioIo<Upgraded>>>;

/// The version of the WebSocket protocol: RFC 6455.
pub(super) const VERSION: &str = "13";
/// Bytes of an envelope besides its message.
const ENVELOPE_BYTES: u64 = 16 * 1024;
/// Bytes of the longest escape of a byte in JSON: `\u0000`.
const ESCAPE_BYTES: usize = 6;
/// Bytes of a handshake's key.
const KEY_BYTES: usize = 16;

/// Returns true if a request asks to become a WebSocket.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    words(headers, &header::UPGRADE).any(|word| word.eq_ignore_ascii_case("websocket"))
}

/// A valid handshake that has not been answered yet.
pub(super) struct UpgradeHandshake {
    response: Response,
    upgrade: OnUpgrade,
    config: WebSocketConfig,
    limits: Arc<Limits>,
    permit: BytePermit,
    place: Option<ConnectionSlot>,
    /// Size of one message of the socket, in bytes.
    bytes_max: u64,
}

impl UpgradeHandshake {
    /// Checks a request's handshake.
    ///
    /// # Errors
    /// [`DoorError::Handshake`] says what is invalid. [`DoorError::WebSocketVersion`] means that the handshake is of
    /// another version.
    pub(super) fn of(
        request: &mut Request,
        limits: &Arc<Limits>,
        budget: &ByteBudget,
    ) -> Result<Self, DoorError> {
        let invalid = |what: &str| DoorError::Handshake(what.to_owned());
        check_head(request).map_err(invalid)?;
        let headers = request.headers();
        let version = only(headers, &header::SEC_WEBSOCKET_VERSION)
            .ok_or_else(|| invalid("it must have one Sec-WebSocket-Version header"))?;
        if version.as_bytes() != VERSION.as_bytes() {
            return Err(DoorError::WebSocketVersion);
        }
        let accept = accept(headers).map_err(invalid)?;
        let protocol = first_protocol(headers).map_err(invalid)?;
        let upgrade = request
            .extensions_mut()
            .remove::<OnUpgrade>()
            .ok_or_else(|| invalid("this connection cannot be upgraded"))?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fixed = HeaderValue::from_static;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, fixed("Upgrade"));
        headers.insert(header::UPGRADE, fixed("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        headers.extend(protocol.map(|protocol| (header::SEC_WEBSOCKET_PROTOCOL, protocol)));
        let place =
            request.extensions().get::<RequestArrival>().map(|arrival| arrival.place.clone());
        Ok(Self {
            response,
            upgrade,
            config: config(limits, limits.message_bytes_max, 1),
            bytes_max: limits.message_bytes_max,
            limits: limits.clone(),
            permit: budget.permit(),
            place,
        })
    }

    /// Answers with this subprotocol, or with none.
    pub(super) fn choose(&mut self, protocol: Option<HeaderValue>) {
        let name = header::SEC_WEBSOCKET_PROTOCOL;
        match protocol {
            Some(protocol) => drop(self.response.headers_mut().insert(name, protocol)),
            None => drop(self.response.headers_mut().remove(name)),
        }
    }

    /// Lets the client's messages come in envelopes, in which a text may be up to twice as long.
    pub(super) fn allow_envelopes(&mut self) {
        let bytes_max = self.limits.message_bytes_max;
        self.bytes_max = bytes_max.saturating_mul(2).saturating_add(ENVELOPE_BYTES);
        self.config = config(&self.limits, self.bytes_max, ESCAPE_BYTES);
    }

    /// Adds a hook's headers to the answer.
    pub(super) fn add(&mut self, added: AddedHeaders) {
        append(self.response.headers_mut(), added);
    }

    /// Returns the answer to the client, and a future of the socket. The future resolves once the answer is sent. It
    /// also yields the client's place, to be held as long as the socket.
    pub(super) fn accept(
        self,
    ) -> (Response, impl Future<Output = Option<(Socket, Option<ConnectionSlot>)>>) {
        let Self { response, upgrade, config, limits, permit, place, bytes_max } = self;
        let socket = async move {
            match upgrade.await {
                Ok(io) => {
                    let io = Intake::new(TokioIo::new(io), limits, permit, bytes_max);
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

/// Checks the rules of RFC 6455 section 4.2.1 besides its own headers. `Host` was checked before.
fn check_head(request: &Request) -> Result<(), &'static str> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err("its method must be GET");
    }
    if request.version() < Version::HTTP_11 {
        return Err("its version must be HTTP/1.1");
    }
    if !words(headers, &header::CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade")) {
        return Err("its Connection header must contain Upgrade");
    }
    // Another server on the way might take the body for the first frames, or the frames for the body.
    let empty = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
    if !empty || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err("it must have no body");
    }
    Ok(())
}

/// Returns the header that shows the client that the server understood its handshake.
fn accept(headers: &HeaderMap) -> Result<HeaderValue, &'static str> {
    const PROBLEM: &str = "it must have one Sec-WebSocket-Key header, of 16 bytes in base64";
    let key = only(headers, &header::SEC_WEBSOCKET_KEY).ok_or(PROBLEM)?;
    let bytes = BASE64_STANDARD.decode(key.as_bytes()).map_err(|_| PROBLEM)?;
    if bytes.len() != KEY_BYTES {
        return Err(PROBLEM);
    }
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(|_| PROBLEM)
}

/// Returns the value of a header that occurs once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    first.filter(|_| values.next().is_none())
}

/// Returns the words of a header that is a list and may occur more than once.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let words = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    words.map(str::trim).filter(|word| !word.is_empty())
}

/// Returns the sizes of a socket. Its client's messages have at most `bytes_max` bytes, and those of its rooms may become
/// this many times as long.
fn config(limits: &Limits, bytes_max: u64, times: usize) -> WebSocketConfig {
    let message = size(bytes_max);
    let written = size(limits.room_message_bytes_max.max(limits.auto_response_bytes_max));
    let written = written.saturating_mul(times);
    WebSocketConfig::default()
        .read_buffer_size(size(limits.socket_read_bytes))
        .write_buffer_size(size(limits.socket_write_bytes))
        // The space for one message after the bytes that are buffered already. Beyond it the socket accepts nothing.
        .max_write_buffer_size(
            size(limits.socket_write_bytes).saturating_add(written).saturating_add(1024),
        )
        .max_message_size(Some(message))
        .max_frame_size(Some(message))
}

/// Returns the subprotocol that the server chooses, if the client offers any. An offer that is a token is not chosen,
/// because the answer would repeat it.
fn first_protocol(headers: &HeaderMap) -> Result<Option<HeaderValue>, &'static str> {
    const PROBLEM: &str = "its Sec-WebSocket-Protocol header must be a list of tokens";
    let name = &header::SEC_WEBSOCKET_PROTOCOL;
    if headers.get_all(name).iter().any(|value| value.to_str().is_err()) {
        return Err(PROBLEM);
    }
    if words(headers, name).any(|word| !is_token(word)) {
        return Err(PROBLEM);
    }
    let first = words(headers, name).find(|word| !word.starts_with(BEARER_PROTOCOL));
    Ok(first.and_then(|first| HeaderValue::from_str(first).ok()))
}

/// Returns the subprotocol that a hook leaves as the first one in the request that it forwards.
///
/// # Errors
/// Says that the client did not offer it.
pub(super) fn chosen_protocol(
    offered: &HeaderMap,
    forwarded: &event::Request,
) -> Result<Option<HeaderValue>, String> {
    let name = header::SEC_WEBSOCKET_PROTOCOL;
    let left =
        forwarded.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name.as_str()));
    let texts = left.map(|(_, value)| std::str::from_utf8(value).unwrap_or_default());
    let chosen =
        texts.flat_map(|text| text.split(',')).map(str::trim).find(|word| !word.is_empty());
    let Some(chosen) = chosen else { return Ok(None) };
    match words(offered, &name).find(|word| *word == chosen) {
        Some(word) => Ok(HeaderValue::from_str(word).ok()),
        None => Err(format!(
            "a hook chose the subprotocol {chosen:?}, which is not among those that the client offered"
        )),
    }
}

/// Returns true for a token: RFC 9110 section 5.6.2.
fn is_token(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
