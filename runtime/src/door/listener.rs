//! The accept loop. Owns the listening socket and how many clients it lets in.
//!
//! Invariant: a failed accept never ends it, and a client that says nothing is let go. What a client does
//! not hurry with, its handshake first of all, keeps nobody else waiting. An address has only so many connections.
//! It does not know what the clients ask for.

mod crowd;
mod entrance;
mod linger;
mod proxy_header;
mod tls;

pub(crate) use crowd::Capacity;
pub(crate) use tls::Certificates;
pub use tls::TlsError;

use super::forwarded::{self, Peer};
use super::status::DoorError;
use crate::config::{Audience, Proxies};
use crate::limits::{Limits, ms, size};
use crate::metrics::{Crowd, ListenerMetrics};
use ::http::{Request, header};
use axum::Router;
use axum::response::IntoResponse;
use crowd::{AddressPlace, Entry, SilentPlace};
use entrance::{Entrance, Stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use linger::Linger;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tower::util::MapRequest;

/// First pause after a failed accept; it doubles up to `accept_backoff_ms_max`.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
/// hyper needs this much to parse any head at all.
const HEAD_BYTES_MIN: usize = 8 * 1024;
/// hyper's own bound of a head's headers.
const HEADERS_DEFAULT: u64 = 100;

/// A bound socket that is not served yet.
pub(crate) struct Listener {
    tcp: TcpListener,
    addr: SocketAddr,
    limits: Arc<Limits>,
    way: Way,
    capacity: Capacity,
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
    /// Binds the address. Listeners with the same capacity share it.
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
        capacity: Capacity,
    ) -> std::io::Result<Self> {
        let tcp = TcpListener::bind(addr).await?;
        let addr = tcp.local_addr()?;
        Ok(Self { tcp, addr, limits, way, capacity })
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
        let connections = TaskTracker::new();
        if let Some(tls) = self.way.tls.clone() {
            tokio::spawn(stop.clone().run_until_cancelled_owned(tls.look_after()));
        }
        let limits = &self.limits;
        let hall = Arc::new(Hall {
            entrance: Entrance::new(self.way.clone(), limits.clone(), metrics.clone()),
            server: server(limits),
            capacity: self.capacity.clone(),
            proxies: self.way.proxies.clone(),
            limits: limits.clone(),
            router,
            metrics,
            stop: stop.clone(),
        });
        loop {
            // A place is taken for a client that is there: one that is kept for the next client would be missed by
            // the other listeners.
            let next = async {
                let client = self.accept().await;
                (client, self.capacity.place().await)
            };
            let ((tcp, from), Some(place)) = (tokio::select! {
                next = next => next,
                () = stop.cancelled() => break,
            }) else {
                break;
            };
            // Without it, small frames wait for the acknowledgement of those before. A socket that
            // refuses the option is served all the same.
            drop(tcp.set_nodelay(true));
            connections.spawn(hall.clone().receive(tcp, from, Arc::new(place)));
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

/// What all connections of a listener share.
struct Hall {
    entrance: Entrance,
    server: http1::Builder,
    capacity: Capacity,
    proxies: Arc<Proxies>,
    limits: Arc<Limits>,
    router: Router,
    metrics: Arc<ListenerMetrics>,
    stop: CancellationToken,
}

impl Hall {
    /// Serves one connection to its end.
    async fn receive(
        self: Arc<Self>,
        tcp: TcpStream,
        from: SocketAddr,
        permit: Arc<OwnedSemaphorePermit>,
    ) {
        let (silent, another_went) = self.capacity.half_open.enter();
        if another_went {
            self.metrics.refused.count(Crowd::HalfOpen);
        }
        let entered = tokio::select! {
            entered = self.entrance.enter(tcp, from.ip()) => entered,
            () = silent.pushed_out() => return,
            () = self.stop.cancelled() => return,
        };
        let Some((stream, peer)) = entered else { return };
        // A proxy's own address is nobody's: its requests are counted one by one.
        let entry = match peer.is_trusted(&self.proxies) {
            true => None,
            false => Some(self.capacity.addresses.enter(peer.addr)),
        };
        let (address, crowded) = match entry {
            None => (None, false),
            Some(Entry::Place(place)) => (Some(Arc::new(place)), false),
            Some(Entry::Refused(place)) => (Some(Arc::new(place)), true),
            Some(Entry::Closed) => return self.metrics.refused.count(Crowd::Address),
        };
        let (silent, place) = (Arc::new(silent), Place { permit, address });
        let guest = Guest { hall: self.clone(), peer, place, silent: silent.clone() };
        let guest = Arc::new(guest);
        let router = match crowded {
            true => self.refusal(),
            false => self.router.clone(),
        };
        let service = router.map_request(move |request| guest.settle(request));
        let service = TowerToHyperService::new(service);
        let (limits, stop) = (self.limits.clone(), self.stop.clone());
        match stream {
            Stream::Plain(tcp) => {
                self.run(Linger::new(tcp, limits, stop), service, &silent).await;
            }
            Stream::Tls(tls) => {
                self.run(Linger::new(tls, limits, stop), service, &silent).await;
            }
        }
    }

    /// What an address with too many connections is answered.
    fn refusal(&self) -> Router {
        self.metrics.refused.count(Crowd::Address);
        let max = self.limits.connections_per_address_max;
        Router::new().fallback(move || async move {
            let shown = DoorError::AddressFull(max).show(Audience::Public);
            ([(header::CONNECTION, "close")], shown).into_response()
        })
    }

    /// Answers one client's requests, until it goes or the node stops.
    async fn run<S, F>(
        &self,
        stream: S,
        service: TowerToHyperService<MapRequest<Router, F>>,
        silent: &SilentPlace,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: FnMut(Request<Incoming>) -> Request<Incoming> + Clone + Send + 'static,
    {
        let connection = self.server.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection.with_upgrades());
        let first = async {
            let head_max = tokio::time::sleep(ms(self.limits.header_ms_max));
            tokio::select! {
                () = head_max => {}
                () = silent.pushed_out() => {}
                () = silent.has_asked() => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = first => return,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // A client that breaks off or talks nonsense has been answered by hyper where it can be.
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection failed");
        }
    }
}

/// The client of one connection.
struct Guest {
    hall: Arc<Hall>,
    peer: Peer,
    place: Place,
    silent: Arc<SilentPlace>,
}

impl Guest {
    /// Puts in a request what is known of its client.
    fn settle(&self, mut request: Request<Incoming>) -> Request<Incoming> {
        self.silent.asked();
        let client = forwarded::settle(&mut request, self.peer, &self.hall.proxies);
        let (mut place, mut crowded) = (self.place.clone(), None);
        if place.address.is_none() {
            match self.hall.capacity.addresses.enter(client.addr) {
                Entry::Place(address) => place.address = Some(Arc::new(address)),
                Entry::Refused(_) | Entry::Closed => {
                    self.hall.metrics.refused.count(Crowd::Address);
                    crowded = Some(self.hall.limits.connections_per_address_max);
                }
            }
        }
        let addr = if self.peer.addr.is_loopback() { client.addr } else { self.peer.addr };
        let arrival = Arrival { place, scheme: client.scheme, client: addr, crowded };
        request.extensions_mut().insert(arrival);
        request
    }
}

/// Returns where the client of a request is, if it came through a listener.
pub(crate) fn client_addr<B>(request: &Request<B>) -> Option<IpAddr> {
    request.extensions().get::<Arrival>().map(|arrival| arrival.client)
}

/// How a request came. It is among its extensions.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) place: Place,
    pub(super) scheme: Scheme,
    /// Where its client is: of this machine only if who brought the request is, too.
    pub(super) client: IpAddr,
    /// How many connections its client's address may have, if it has them all.
    pub(super) crowded: Option<u64>,
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

/// A client's place among those that may be connected, and among those of its address. Each request carries it, so
/// that a socket which outlives its HTTP connection keeps it.
#[derive(Clone)]
pub(super) struct Place {
    #[expect(dead_code, reason = "it is held, not read")]
    permit: Arc<OwnedSemaphorePermit>,
    /// None where each request has its own.
    address: Option<Arc<AddressPlace>>,
}

/// HTTP/1.1 and nothing else. Not hyper-util's builder for both versions: it waits without a time limit
/// for the first bytes, by which it tells them apart.
fn server(limits: &Limits) -> http1::Builder {
    let mut server = http1::Builder::new();
    // The first head has a time of its own, which may be less.
    let head_ms_max = limits.keep_alive_ms_max.max(limits.header_ms_max);
    server
        .timer(TokioTimer::new())
        .header_read_timeout(ms(head_ms_max))
        .max_header_size(size(limits.header_bytes_max))
        .max_buf_size(size(limits.header_bytes_max).max(HEAD_BYTES_MIN));
    // Set to anything, it costs an allocation for each request.
    if limits.headers_max != HEADERS_DEFAULT {
        server.max_headers(size(limits.headers_max));
    }
    server
}
