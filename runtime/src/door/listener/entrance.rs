//! What happens before a connection's first request. Owns the order: who is there, then TLS.
//!
//! Invariant: it ends in time, whatever is sent; a PROXY header is read from trusted proxies alone, and
//! what they send wrongly is counted always and logged now and then. It does not know what is said inside.

use super::super::forwarded::{AsksFor, Peer};
use super::proxy_header::{self, Header};
use super::{Scheme, Way};
use crate::config::Preamble;
use crate::limits::{Limits, ms};
use crate::metrics::{BadPreamble, ListenerMetrics};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

/// Where connections come in. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(super) struct Entrance(Arc<Inner>);

struct Inner {
    way: Way,
    limits: Arc<Limits>,
    metrics: Arc<ListenerMetrics>,
    complaints: Mutex<Complaints>,
}

/// What was not logged.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    kept_back: u64,
}

/// A connection, ready for requests.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Entrance {
    pub(super) fn new(way: Way, limits: Arc<Limits>, metrics: Arc<ListenerMetrics>) -> Self {
        Self(Arc::new(Inner { way, limits, metrics, complaints: Mutex::default() }))
    }

    /// Lets a connection in, and says whose it is; none if it did not bring that about.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the connection is closed.
    pub(super) async fn enter(&self, mut tcp: TcpStream, from: IpAddr) -> Option<(Stream, Peer)> {
        let way = &self.0.way;
        let own = if way.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let mut peer = Peer { addr: from, scheme: own, asks_for: AsksFor::Anybody };
        // What comes from elsewhere is served as it is: a header in it is no HTTP.
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
            None => Stream::Plain(tcp),
            Some(tls) => Stream::Tls(Box::new(tls.accept(tcp).await?)),
        };
        Some((stream, peer))
    }

    fn complain(&self, reason: BadPreamble, from: IpAddr) {
        self.0.metrics.bad_preambles.count(reason);
        let pause = ms(self.0.limits.proxy_log_ms);
        let mut complaints = self.0.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(more) = complaints.due(Instant::now(), pause) {
            tracing::warn!(%from, ?reason, more, "a connection of a trusted proxy has no PROXY header");
        }
    }
}

impl Complaints {
    /// How many were kept back before this one; none if it is kept back itself.
    fn due(&mut self, now: Instant, pause: Duration) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < pause) {
            self.kept_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.kept_back))
    }
}

/// The other end as the header names it.
fn named(peer: Peer, header: Header) -> Peer {
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
    async fn complaints_are_rare_and_tell_how_many_were_kept_back() {
        let (mut complaints, pause) = (Complaints::default(), Duration::from_secs(10));
        let mut told = Vec::new();
        for _ in 0..25 {
            told.extend(complaints.due(Instant::now(), pause));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(told, [0, 9, 9]);
    }
}
