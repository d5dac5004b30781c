//! The accept loop. Owns the listening socket and how many clients it lets in.
//!
//! Invariant: a failed accept never ends it, and a client that says nothing is let go. It does not
//! know what the clients ask for.

use crate::limits::{Limits, ms, size};
use ::http::Request;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
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
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// Those of the operating system, for example that the port is taken.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is bound.
    pub(crate) async fn bind(addr: SocketAddr, limits: Arc<Limits>) -> std::io::Result<Self> {
        let tcp = TcpListener::bind(addr).await?;
        let addr = tcp.local_addr()?;
        Ok(Self { tcp, addr, limits })
    }

    /// The address, with the port that was taken.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop`; then lets the requests that have begun come to their end.
    ///
    /// # Cancel safety
    /// Dropped before it returns, requests that have begun go on by themselves.
    pub(crate) async fn serve(self, router: Router, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(size(self.limits.connections_max)));
        let connections = TaskTracker::new();
        let server = server(&self.limits);
        loop {
            let next = async { (places.clone().acquire_owned().await, self.accept().await) };
            let (Ok(place), tcp) = (tokio::select! {
                next = next => next,
                () = stop.cancelled() => break,
            }) else {
                break;
            };
            // Without it, small frames wait for the acknowledgement of those before. A socket that
            // refuses the option is served all the same.
            drop(tcp.set_nodelay(true));
            let place = Place(Arc::new(place));
            let service = router.clone().map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(place.clone());
                request
            });
            let service = TowerToHyperService::new(service);
            let connection = server.serve_connection(TokioIo::new(tcp), service).with_upgrades();
            connections.spawn(run(connection, stop.clone()));
        }
        drop(self.tcp);
        connections.close();
        connections.wait().await;
    }

    /// The next client. Errors (a client that is gone already, no file descriptors left) are waited out.
    async fn accept(&self) -> TcpStream {
        let mut pause = BACKOFF_MIN;
        loop {
            match self.tcp.accept().await {
                Ok((tcp, _)) => return tcp,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ms(self.limits.accept_backoff_ms_max));
                }
            }
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
async fn run<F>(
    connection: http1::UpgradeableConnection<
        TokioIo<TcpStream>,
        TowerToHyperService<MapRequest<Router, F>>,
    >,
    stop: CancellationToken,
) where
    F: FnMut(Request<Incoming>) -> Request<Incoming> + Clone + Send + 'static,
{
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
