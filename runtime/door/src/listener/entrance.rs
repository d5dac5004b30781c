//! The steps before a connection's first request. Owns their order: the PROXY header, then TLS.
//!
//! Invariant: the steps end in time, whatever the client sends. A PROXY header is read only from trusted proxies. Each
//! invalid header is counted, and some are logged. It does not know what is sent after the steps.

use super::proxy_header::{self, ProxyHeader};
use super::write_deadline::WriteDeadline;
use super::{ListenerTransport, Scheme};
use crate::forwarded::{AsksFor, Peer};
use room_core::config::Preamble;
use room_core::limits::{Limits, ms};
use room_core::lock::lock;
use room_core::metrics::{BadPreamble, ListenerMetrics};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

/// The entrance of a listener. Cheap to clone; clones share the state.
#[derive(Clone)]
pub(super) struct ListenerEntrance(Arc<ListenerEntranceInner>);

struct ListenerEntranceInner {
    way: ListenerTransport,
    limits: Arc<Limits>,
    metrics: Arc<ListenerMetrics>,
    complaints: Mutex<Complaints>,
}

/// Counts the failures that were not logged.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    kept_back: u64,
}

/// A connection that is ready for requests.
pub(super) enum ClientStream {
    Plain(WriteDeadline<TcpStream>),
    Tls(Box<TlsStream<WriteDeadline<TcpStream>>>),
}

impl ListenerEntrance {
    pub(super) fn new(
        way: ListenerTransport,
        limits: Arc<Limits>,
        metrics: Arc<ListenerMetrics>,
    ) -> Self {
        Self(Arc::new(ListenerEntranceInner { way, limits, metrics, complaints: Mutex::default() }))
    }

    /// Lets a connection in, and returns its peer. Returns `None` if the header or the handshake failed.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the connection is closed.
    pub(super) async fn enter(
        &self,
        mut tcp: TcpStream,
        from: IpAddr,
    ) -> Option<(ClientStream, Peer)> {
        let way = &self.0.way;
        let own = if way.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let mut peer = Peer { addr: from, scheme: own, asks_for: AsksFor::Anybody };
        // A connection from another address is served directly, so a PROXY header in it is invalid HTTP.
        if way.proxies.preamble == Preamble::ProxyHeader && way.proxies.trusts(from) {
            match proxy_header::read(&mut tcp, &self.0.limits).await {
                Ok(header) => peer = named(peer, header?),
                Err(reason) => {
                    self.complain(reason, from);
                    return None;
                }
            }
        }
        let stream = match &way.tls {
            None => ClientStream::Plain(WriteDeadline::new(tcp, self.0.limits.write_ms_max)),
            Some(tls) => ClientStream::Tls(Box::new(tls.accept(tcp).await?)),
        };
        Some((stream, peer))
    }

    fn complain(&self, reason: BadPreamble, from: IpAddr) {
        self.0.metrics.bad_preambles.count(reason);
        let pause = ms(self.0.limits.proxy_log_ms);
        let mut complaints = lock(&self.0.complaints);
        if let Some(more) = complaints.due(Instant::now(), pause) {
            tracing::warn!(%from, ?reason, more, "a connection of a trusted proxy has no PROXY header");
        }
    }
}

impl Complaints {
    /// Returns how many failures were not logged before this one, or `None` if this one is not to be logged either.
    fn due(&mut self, now: Instant, pause: Duration) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < pause) {
            self.kept_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.kept_back))
    }
}

/// Returns the peer that the header names.
fn named(peer: Peer, header: ProxyHeader) -> Peer {
    let scheme = header.scheme.unwrap_or(peer.scheme);
    match header.client {
        Some(addr) => Peer { addr, scheme, ..peer },
        None => Peer { asks_for: AsksFor::Unknown, ..peer },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn warnings_are_rate_limited_and_count_the_suppressed_ones() {
        let (mut complaints, pause) = (Complaints::default(), Duration::from_secs(10));
        let mut told = Vec::new();
        for _ in 0..25 {
            told.extend(complaints.due(Instant::now(), pause));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(told, [0, 9, 9]);
    }
}
