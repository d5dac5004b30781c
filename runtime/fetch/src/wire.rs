//! Connections to other servers. Owns how a request is written and the head of its response read, and the connections
//! that wait for another request.
//!
//! Invariant: a connection serves one request at a time, and only requests for the host and the address that it was made
//! for. A connection that is dropped is closed. It does not know redirects and limits of bodies.

use crate::redirect::FetchStep;
use crate::target::Target;
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use room_core::config::FetchScheme;
use room_core::fetch::{FetchFailure, FetchHead, is_framing};
use room_core::limits::{Limits, ms, size};
use room_core::lock::lock;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

/// The smallest buffer that hyper accepts.
const BUFFER_BYTES_LEAST: usize = 8192;

/// One connection.
pub(crate) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    scheme: FetchScheme,
    host: String,
    address: SocketAddr,
    _driver: AbortOnDropHandle<()>,
}

/// Why a request has no response, and whether the server may have received it.
pub(crate) struct SendFailure {
    pub(crate) failure: FetchFailure,
    receipt: Receipt,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receipt {
    /// It was not sent.
    Unsent,
    /// The connection ended without a response.
    Unanswered,
    /// Something else.
    Unclear,
}

impl SendFailure {
    /// Returns true if the request may be sent over a fresh connection: the server had closed the one that was kept.
    pub(crate) fn may_repeat(&self, repeatable: bool) -> bool {
        match self.receipt {
            Receipt::Unsent => true,
            Receipt::Unanswered => repeatable,
            Receipt::Unclear => false,
        }
    }
}

impl From<FetchFailure> for SendFailure {
    fn from(failure: FetchFailure) -> Self {
        Self { failure, receipt: Receipt::Unclear }
    }
}

impl Wire {
    /// Returns the connection that speaks HTTP over a stream to this address.
    ///
    /// # Errors
    /// [`FetchFailure::Protocol`].
    pub(crate) async fn new(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        target: &Target,
        address: SocketAddr,
        limits: &Limits,
    ) -> Result<Self, FetchFailure> {
        let head_bytes_max = size(limits.fetch_header_bytes_max);
        let handshake = http1::Builder::new()
            .max_headers(size(limits.fetch_headers_max))
            .max_header_size(head_bytes_max)
            .max_buf_size(head_bytes_max.max(BUFFER_BYTES_LEAST))
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|error| broken(&error))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to another server failed");
            }
        });
        let (scheme, host) = (target.scheme, target.host.clone());
        Ok(Self { sender, scheme, host, address, _driver: AbortOnDropHandle::new(driver) })
    }

    /// Sends a request, and returns the response before its body.
    ///
    /// # Errors
    /// [`SendFailure`].
    pub(crate) async fn send(
        &mut self,
        message: http::Request<Full<Bytes>>,
        limits: &Limits,
    ) -> Result<http::Response<Incoming>, SendFailure> {
        self.sender.try_send_request(message).await.map_err(|mut failed| {
            let unsent = failed.take_message().is_some();
            let error = failed.into_error();
            let receipt = match (unsent, is_end(&error)) {
                (true, _) => Receipt::Unsent,
                (false, true) => Receipt::Unanswered,
                (false, false) => Receipt::Unclear,
            };
            let failure = match error.is_parse_too_large() {
                true => FetchFailure::TooLarge {
                    limit: "fetch_header_bytes_max or fetch_headers_max".to_owned(),
                    bytes: limits.fetch_header_bytes_max,
                },
                false => broken(&error),
            };
            SendFailure { failure, receipt }
        })
    }

    fn leads_to(&self, target: &Target, addresses: &[SocketAddr]) -> bool {
        self.scheme == target.scheme
            && self.host == target.host
            && addresses.contains(&self.address)
            && self.sender.is_ready()
    }
}

/// Returns the head of a response.
///
/// # Errors
/// [`FetchFailure::Protocol`]: its status is invalid.
pub(crate) fn head(
    response: &http::Response<Incoming>,
    step: &FetchStep,
) -> Result<FetchHead, FetchFailure> {
    let status = response.status().as_u16();
    if !(200..=599).contains(&status) {
        let why = format!("the status of its response is {status}, not 200 to 599");
        return Err(FetchFailure::Protocol(why));
    }
    // The body comes without its frame, so only a response to HEAD has a length that is not its own.
    let kept =
        |name: &str| !is_framing(name) || (step.method == Method::HEAD && name == "content-length");
    let headers = response.headers().iter();
    let headers = headers.filter(|(name, _)| kept(name.as_str()));
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    let mut url = step.url.clone();
    url.set_fragment(None);
    Ok(FetchHead { status, headers: headers.collect(), url: url.into() })
}

/// Returns the failure for an error of the protocol.
pub(crate) fn broken(error: &hyper::Error) -> FetchFailure {
    if is_end(error) {
        return FetchFailure::Protocol(
            "it closed the connection before its response was complete".to_owned(),
        );
    }
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    FetchFailure::Protocol(format!("{error}{source}"))
}

/// Returns true if the connection ended.
fn is_end(error: &hyper::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let ended = [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof];
    error.is_incomplete_message()
        || error.is_closed()
        || error.is_canceled()
        || source.is_some_and(|source| ended.contains(&source.kind()))
}

/// The connections that wait for another request, of all projects of a process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct IdleWires(Arc<IdleInner>);

struct IdleInner {
    kept: Mutex<KeptWires>,
    wires_max: usize,
    age_max: Duration,
}

#[derive(Default)]
struct KeptWires {
    /// The oldest first.
    wires: VecDeque<(Instant, Wire)>,
    /// Whether a task waits for the oldest to be too old.
    swept: bool,
}

impl IdleWires {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Arc::new(IdleInner {
            kept: Mutex::default(),
            wires_max: size(limits.fetch_idle_max),
            age_max: ms(limits.fetch_idle_ms_max),
        }))
    }

    /// Returns a connection to one of these addresses, and no longer keeps it.
    pub(crate) fn take(&self, target: &Target, addresses: &[SocketAddr]) -> Option<Wire> {
        let mut kept = lock(&self.0.kept);
        let age_max = self.0.age_max;
        let at = kept.wires.iter().rposition(|(since, wire)| {
            since.elapsed() < age_max && wire.leads_to(target, addresses)
        })?;
        kept.wires.remove(at).map(|(_, wire)| wire)
    }

    /// Keeps a connection whose response was read.
    pub(crate) fn keep(&self, mut wire: Wire) {
        let idle = Arc::downgrade(&self.0);
        let age_max = self.0.age_max;
        tokio::spawn(async move {
            // It is ready when its task has seen the end of both messages.
            if let Ok(Ok(())) = timeout(age_max, wire.sender.ready()).await
                && let Some(idle) = idle.upgrade()
            {
                Self(idle).push(wire);
            }
        });
    }

    fn push(&self, wire: Wire) {
        let mut kept = lock(&self.0.kept);
        kept.wires.push_back((Instant::now(), wire));
        while kept.wires.len() > self.0.wires_max {
            kept.wires.pop_front();
        }
        if !std::mem::replace(&mut kept.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }

    /// Returns how many there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        lock(&self.0.kept).wires.len()
    }

    /// Returns true if one of them leads to this port.
    #[cfg(test)]
    pub(crate) fn leads_to_port(&self, port: u16) -> bool {
        lock(&self.0.kept).wires.iter().any(|(_, wire)| wire.address.port() == port)
    }
}

/// Closes connections when they are too old, until none is left.
async fn sweep(idle: Weak<IdleInner>) {
    loop {
        let due = {
            let Some(idle) = idle.upgrade() else { return };
            let mut kept = lock(&idle.kept);
            kept.wires
                .retain(|(since, wire)| since.elapsed() < idle.age_max && !wire.sender.is_closed());
            match kept.wires.front() {
                Some((since, _)) => *since + idle.age_max,
                None => {
                    kept.swept = false;
                    return;
                }
            }
        };
        sleep_until(due).await;
    }
}
