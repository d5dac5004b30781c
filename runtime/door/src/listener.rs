//! The accept loop. Owns the listening socket, and how many clients it lets in.
//!
//! Invariant: a failed accept never ends the loop, and a silent client is disconnected. A slow client, for example in
//! its handshake, delays no other client. An address may have only a limited number of connections. It does not know
//! what the clients request.

mod crowd;
mod entrance;
mod linger;
mod proxy_header;
mod tls;
mod write_deadline;

pub use crowd::Capacity;
use crowd::ConnectRates;
pub use tls::Certificates;
pub use tls::TlsError;

use crate::forward::proof;
use crate::forwarded::{self, Peer, RequestSender};
use crate::status::DoorError;
use ::http::{Request, header};
use axum::Router;
use axum::response::IntoResponse;
use crowd::{AddressEntry, AddressSlot, SilentSlot};
use entrance::{ClientStream, ListenerEntrance};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use linger::Linger;
use room_core::config::{Audience, Proxies};
use room_core::limits::{Limits, ms, size};
use room_core::lock::lock;
use room_core::metrics::{Crowd, ListenerMetrics};
use room_rooms::cluster::ClusterKey;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tower::util::MapRequest;

/// The first pause after a failed accept. It doubles up to `accept_backoff_ms_max`.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
/// hyper needs this much to parse any head at all.
const HEAD_BYTES_MIN: usize = 8 * 1024;
/// hyper's own limit of headers in a head.
const HEADERS_DEFAULT: u64 = 100;

/// A bound socket that is not served yet.
pub struct Listener {
    tcp: TcpListener,
    addr: SocketAddr,
    limits: Arc<Limits>,
    way: ListenerTransport,
    capacity: Capacity,
}

/// The transport between clients and a listener.
#[derive(Clone, Default)]
pub struct ListenerTransport {
    /// `None` if clients speak plain HTTP.
    pub tls: Option<Certificates>,
    /// The proxies before the listener.
    pub proxies: Arc<Proxies>,
    /// The key by which the nodes of this node's cluster prove that a request is theirs; `None` without a cluster.
    pub key: Option<ClusterKey>,
}

impl Listener {
    /// Binds the address. Listeners with the same capacity share its places.
    ///
    /// # Errors
    /// The operating system's error, for example that the port is taken.
    ///
    /// # Cancel safety
    /// If dropped before it returns, nothing is bound.
    pub async fn bind(
        addr: SocketAddr,
        limits: Arc<Limits>,
        way: ListenerTransport,
        capacity: Capacity,
    ) -> std::io::Result<Self> {
        let tcp = TcpListener::bind(addr).await?;
        let addr = tcp.local_addr()?;
        Ok(Self { tcp, addr, limits, way, capacity })
    }

    /// Returns the address, with the port that was taken.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves clients until `stop`, and then waits until the requests that have started are answered.
    ///
    /// # Cancel safety
    /// If dropped before it returns, requests that have started continue by themselves.
    pub async fn serve(
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
        let hall = Arc::new(ListenerShared {
            entrance: ListenerEntrance::new(self.way.clone(), limits.clone(), metrics.clone()),
            server: server(limits),
            capacity: self.capacity.clone(),
            proxies: self.way.proxies.clone(),
            key: self.way.key.clone(),
            limits: limits.clone(),
            router,
            metrics,
            stop: stop.clone(),
        });
        loop {
            // The place is taken only after a client has connected. A place kept for a future client would be missing
            // at the other listeners.
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
            // Without this option, small frames wait for the acknowledgement of earlier ones. A socket that refuses the
            // option is served all the same.
            drop(tcp.set_nodelay(true));
            notice_vanished_clients(&tcp, &self.limits);
            connections.spawn(hall.clone().receive(tcp, from, Arc::new(place)));
        }
        drop(self.tcp);
        connections.close();
        connections.wait().await;
    }

    /// Accepts the next client. After an error (the client has gone already, no file descriptors are left) it pauses
    /// and tries again.
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

/// The state that all connections of a listener share.
struct ListenerShared {
    entrance: ListenerEntrance,
    server: http1::Builder,
    capacity: Capacity,
    proxies: Arc<Proxies>,
    key: Option<ClusterKey>,
    limits: Arc<Limits>,
    router: Router,
    metrics: Arc<ListenerMetrics>,
    stop: CancellationToken,
}

impl ListenerShared {
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
        // A trusted proxy's connection does not count for the proxy's address: each of its requests counts for its own
        // client.
        let entry = match peer.is_trusted(&self.proxies) {
            true => None,
            false => Some(self.capacity.addresses.enter(peer.addr)),
        };
        let (address, crowded) = match entry {
            None => (None, false),
            Some(AddressEntry::Place(place)) => (Some(Arc::new(place)), false),
            Some(AddressEntry::Refused(place)) => (Some(Arc::new(place)), true),
            Some(AddressEntry::Closed) => return self.metrics.refused.count(Crowd::Address),
        };
        let (silent, address) = (Arc::new(silent), Mutex::new(address));
        let (hall, place) = (self.clone(), ConnectionSlot { permit, address: None });
        let guest = AcceptedClient { hall, peer, place, address, silent: silent.clone() };
        let guest = Arc::new(guest);
        let router = match crowded {
            true => self.refusal(),
            false => self.router.clone(),
        };
        let service = router.map_request(move |request| guest.settle(request));
        let service = TowerToHyperService::new(service);
        match stream {
            ClientStream::Plain(tcp) => self.run(tcp, service, &silent).await,
            ClientStream::Tls(tls) => self.run(tls, service, &silent).await,
        }
    }

    /// Returns the answer to an address with too many connections.
    fn refusal(&self) -> Router {
        self.metrics.refused.count(Crowd::Address);
        let max = self.limits.connections_per_address_max;
        Router::new().fallback(move || async move {
            let shown = DoorError::AddressFull(max).show(Audience::Public);
            ([(header::CONNECTION, "close")], shown).into_response()
        })
    }

    /// Answers one client's requests, until the client goes or the node stops.
    async fn run<S, F>(
        &self,
        stream: S,
        service: TowerToHyperService<MapRequest<Router, F>>,
        silent: &SilentSlot,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: FnMut(Request<Incoming>) -> Request<Incoming> + Clone + Send + 'static,
    {
        let stream = Linger::new(stream, self.limits.clone(), self.stop.clone());
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
        // hyper has answered a client that broke off or sent invalid bytes, where an answer was possible.
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection failed");
        }
    }
}

/// The client of one connection.
struct AcceptedClient {
    hall: Arc<ListenerShared>,
    peer: Peer,
    place: ConnectionSlot,
    /// The place of its address, unless it is a trusted proxy or a node of the cluster.
    address: Mutex<Option<Arc<AddressSlot>>>,
    silent: Arc<SilentSlot>,
}

impl AcceptedClient {
    /// Adds the known facts of its client to a request.
    fn settle(&self, mut request: Request<Incoming>) -> Request<Incoming> {
        self.silent.asked();
        let sender = match proof::take(&mut request, self.hall.key.as_ref()) {
            true => RequestSender::Node,
            false => RequestSender::Other,
        };
        let client = forwarded::settle(&mut request, self.peer, &self.hall.proxies, sender);
        let (mut place, mut crowded) = (self.place.clone(), None);
        if sender == RequestSender::Node {
            // From here on its connection counts for its clients, as that of a proxy.
            drop(lock(&self.address).take());
        }
        place.address.clone_from(&lock(&self.address));
        if place.address.is_none() {
            match self.hall.capacity.addresses.enter(client.addr) {
                AddressEntry::Place(address) => place.address = Some(Arc::new(address)),
                AddressEntry::Refused(_) | AddressEntry::Closed => {
                    self.hall.metrics.refused.count(Crowd::Address);
                    crowded = Some(self.hall.limits.connections_per_address_max);
                }
            }
        }
        let addr = if self.peer.addr.is_loopback() { client.addr } else { self.peer.addr };
        let connects = self.hall.capacity.connects.clone().map(|rates| (rates, client.addr));
        let arrival =
            RequestArrival { place, scheme: client.scheme, client: addr, crowded, connects };
        request.extensions_mut().insert(arrival);
        request
    }
}

/// Returns the address of a request's client, if the request came through a listener.
pub fn client_addr<B>(request: &Request<B>) -> Option<IpAddr> {
    request.extensions().get::<RequestArrival>().map(|arrival| arrival.client)
}

/// The origin of a request, stored in its extensions.
#[derive(Clone)]
pub(super) struct RequestArrival {
    pub(super) place: ConnectionSlot,
    pub(super) scheme: Scheme,
    /// The client's address. It is a loopback address only if the peer that sent the request has one, too.
    pub(super) client: IpAddr,
    /// The limit of connections for its client's address, if the address has exceeded it.
    pub(super) crowded: Option<u64>,
    /// The rates of connections, and the address that they count for, if a limit bounds them.
    connects: Option<(ConnectRates, IpAddr)>,
}

/// Lets a request begin a connection to a room.
///
/// # Errors
/// [`DoorError::ConnectsTooFast`].
pub(super) fn admit_connect<B>(request: &Request<B>) -> Result<(), DoorError> {
    admit_arrival(request.extensions().get::<RequestArrival>())
}

/// Lets a client that has this origin begin a connection to a room, as [`admit_connect`] does.
///
/// # Errors
/// [`DoorError::ConnectsTooFast`].
pub(super) fn admit_arrival(arrival: Option<&RequestArrival>) -> Result<(), DoorError> {
    match arrival.and_then(|arrival| arrival.connects.as_ref()) {
        Some((rates, addr)) => rates.admit(*addr, Instant::now()),
        None => Ok(()),
    }
}

/// The scheme of a URL.
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

/// A client's place among all connections, and among those of its address. Each request carries it, so that a socket
/// that outlives its HTTP connection keeps it.
#[derive(Clone)]
pub(super) struct ConnectionSlot {
    #[expect(dead_code, reason = "it is held, not read")]
    permit: Arc<OwnedSemaphorePermit>,
    /// `None` if each request takes its own.
    address: Option<Arc<AddressSlot>>,
}

/// Ends the connection of a client that acknowledges nothing for `write_ms_max`. Bytes that the kernel took look written,
/// so a stream to a client without power would go on as long as the kernel has space for it. A system without the option
/// notices such a client later.
fn notice_vanished_clients(tcp: &TcpStream, limits: &Limits) {
    #[cfg(target_os = "linux")]
    drop(socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(ms(limits.write_ms_max))));
    #[cfg(not(target_os = "linux"))]
    let _ = (tcp, limits);
}

/// Returns a server for HTTP/1.1 only. hyper-util's builder for both versions waits without a time limit for the first
/// bytes, by which it distinguishes them.
fn server(limits: &Limits) -> http1::Builder {
    let mut server = http1::Builder::new();
    // The first head has a time limit of its own, which may be shorter.
    let head_ms_max = limits.keep_alive_ms_max.max(limits.header_ms_max);
    server
        .timer(TokioTimer::new())
        .header_read_timeout(ms(head_ms_max))
        .max_header_size(size(limits.header_bytes_max))
        .max_buf_size(size(limits.header_bytes_max).max(HEAD_BYTES_MIN));
    // Setting this costs an allocation for each request, whatever the value.
    if limits.headers_max != HEADERS_DEFAULT {
        server.max_headers(size(limits.headers_max));
    }
    server
}
