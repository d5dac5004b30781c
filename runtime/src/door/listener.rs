//! The accept loop. Owns the listening socket and how many clients it lets in.
//!
//! Invariant: a failed accept never ends it, and a client that says nothing is let go. What a client does
//! not hurry with, its handshake first of all, keeps nobody else waiting. It does not know what the clients
//! ask for.

mod entrance;
mod proxy_header;
mod tls;

pub(crate) use tls::Certificates;
pub use tls::TlsError;

use super::forwarded;
use crate::config::Proxies;
use crate::limits::{Limits, ms, size};
use crate::metrics::ListenerMetrics;
use ::http::Request;
use axum::Router;
use entrance::{Entrance, Stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tower::util::MapRequest;

/// First pause after a failed accept; it doubles up to `accept_backoff_ms_max`.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
/// hyper needs this much to parse any head at all.
const HEAD_BYTES_MIN: usize = 8 * 1024;

/// A bound socket that is not served yet.
pub(crate) struct Listener {
    tcp: TcpListener,
    addr: SocketAddr,
    limits: Arc<Limits>,
    way: Way,
}

/// By which way clients come to a listener.
#[derive(Clone, Default)]
pub(crate) struct Way {
    /// None if they speak plain HTTP.
    pub(crate) tls: Option<Certificates>,
    /// What stands before it.
    pub(crate) proxies: Arc<Proxies>,
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// Those of the operating system, for example that the port is taken.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is bound.
    pub(crate) async fn bind(
        addr: SocketAddr,
        limits: Arc<Limits>,
        way: Way,
    ) -> std::io::Result<Self> {
        let tcp = TcpListener::bind(addr).await?;
        let addr = tcp.local_addr()?;
        Ok(Self { tcp, addr, limits, way })
    }

    /// The address, with the port that was taken.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop`; then lets the requests that have begun come to their end.
    ///
    /// # Cancel safety
    /// Dropped before it returns, requests that have begun go on by themselves.
    pub(crate) async fn serve(
        self,
        router: Router,
        metrics: Arc<ListenerMetrics>,
        stop: CancellationToken,
    ) {
        let places = Arc::new(Semaphore::new(size(self.limits.connections_max)));
        let connections = TaskTracker::new();
        let server = server(&self.limits);
        if let Some(tls) = self.way.tls.clone() {
            tokio::spawn(stop.clone().run_until_cancelled_owned(tls.look_after()));
        }
        let entrance = Entrance::new(self.way.clone(), self.limits.clone(), metrics);
        loop {
            let next = async { (places.clone().acquire_owned().await, self.accept().await) };
            let (Ok(place), (tcp, from)) = (tokio::select! {
                next = next => next,
                () = stop.cancelled() => break,
            }) else {
                break;
            };
            // Without it, small frames wait for the acknowledgement of those before. A socket that
            // refuses the option is served all the same.
            drop(tcp.set_nodelay(true));
            let place = Place(Arc::new(place));
            let (server, stop, router) = (server.clone(), stop.clone(), router.clone());
            let (entrance, proxies) = (entrance.clone(), self.way.proxies.clone());
            connections.spawn(async move {
                let entered = stop.run_until_cancelled(entrance.enter(tcp, from.ip())).await;
                let Some((stream, peer)) = entered.flatten() else { return };
                let service = router.map_request(move |mut request: Request<Incoming>| {
                    let scheme = forwarded::settle(&mut request, peer, &proxies);
                    request.extensions_mut().insert(Arrival { place: place.clone(), scheme });
                    request
                });
                let service = TowerToHyperService::new(service);
                match stream {
                    Stream::Plain(tcp) => run(server, tcp, service, stop).await,
                    Stream::Tls(tls) => run(server, tls, service, stop).await,
                }
            });
        }
        drop(self.tcp);
        connections.close();
        connections.wait().await;
    }

    /// The next client. Errors (a client that is gone already, no file descriptors left) are waited out.
    async fn accept(&self) -> (TcpStream, SocketAddr) {
        let mut pause = BACKOFF_MIN;
        loop {
            match self.tcp.accept().await {
                Ok(client) => return client,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ms(self.limits.accept_backoff_ms_max));
                }
            }
        }
    }
}

/// How a request came. It is among its extensions.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) place: Place,
    pub(super) scheme: Scheme,
}

/// What stands before a URL's `://`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A client's place among those that may be connected. Each request carries it, so that a socket which
/// outlives its HTTP connection keeps it.
#[derive(Clone)]
pub(super) struct Place(
    #[expect(dead_code, reason = "it is held, not read")] Arc<OwnedSemaphorePermit>,
);

/// Answers one client's requests, until it goes or the node stops.
async fn run<S, F>(
    server: http1::Builder,
    stream: S,
    service: TowerToHyperService<MapRequest<Router, F>>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: FnMut(Request<Incoming>) -> Request<Incoming> + Clone + Send + 'static,
{
    let connection = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // A client that breaks off or talks nonsense has been answered by hyper where it can be.
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

/// HTTP/1.1 and nothing else. Not hyper-util's builder for both versions: it waits without a time limit
/// for the first bytes, by which it tells them apart.
fn server(limits: &Limits) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(ms(limits.header_ms_max))
        .max_buf_size(size(limits.header_bytes_max).max(HEAD_BYTES_MIN));
    server
}
