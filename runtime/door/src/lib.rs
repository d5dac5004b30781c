//! The front door: the only part that knows sockets, HTTP and WebSockets. Owns every byte that comes from a stranger.
//!
//! Invariant: no input stops the process. Every wait has an end. A slow or dead client costs only itself. It does not
//! know how a room works: it calls [`Rooms`].

mod address;
mod answer;
mod assets;
mod carrier;
mod client;
mod cors;
mod discard;
pub mod events;
mod exchange;
mod fetch;
mod forward;
mod forwarded;
mod head;
mod hooks;
mod http;
mod identity;
mod listener;
mod openapi;
mod outside;
mod overlay;
mod poll;
mod porter;
mod post;
mod presence;
mod publish;
mod returning;
mod socket;
mod sse;
mod status;
mod upgrade;

pub use address::{connection_of_query, room_of_path};
use cors::PageOrigin;
pub use forward::Forwarder;
pub use http::read_body;
pub use listener::TlsError;
pub use listener::{Capacity, Certificates, Listener, ListenerTransport, client_addr};
pub use overlay::Notice;
pub use porter::{HostMismatch, Porter};
pub use room_auth::TicketGrant;
pub use status::DoorError;

use address::room_below;
use assets::{Assets, UnknownPages};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use outside::HookClient;
use room_auth::{Jwks, UsedTickets};
use room_core::clock::Clock;
use room_core::config::{Audience, CacheControl, FetchHosts, PublishKeys, RoomsPrefix};
use room_core::id::{NameError, NodeId, RoomId};
use room_core::limits::{Limits, size};
use room_core::lock::lock;
use room_core::logs::LogLevel;
use room_core::metrics::{Metrics, level};
use room_fetch::FetchClient;
use room_rooms::cluster::Home;
use room_rooms::rooms::{Guests, Rooms};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The router that answers requests, for callers that hand it to a listener.
pub type Routes = Router;

/// The room that a request's URL names, or `None` if it names none. Parsed once for each request.
type NamedRoom = Result<Option<RoomId>, NameError>;

/// What the door needs from the node. Cheap to clone.
#[derive(Clone)]
pub struct FrontDoor(Arc<FrontDoorInner>);

struct FrontDoorInner {
    rooms: Rooms,
    forwarder: Forwarder,
    limits: Arc<Limits>,
    clock: Clock,
    audience: Audience,
    metrics: Metrics,
    /// The project's own path of its rooms.
    prefix: Mutex<Option<RoomsPrefix>>,
    /// The static files, if the project has any.
    assets: Mutex<Option<Arc<Assets>>>,
    /// The notice that pages show in their overlay.
    notices: watch::Sender<Option<Arc<Notice>>>,
    /// Signals each time when the pages themselves were replaced.
    pages: watch::Sender<()>,
    /// Places for pages that watch the notices.
    overlays: Arc<Semaphore>,
    /// The keys of those who may publish to rooms.
    publishers: Mutex<Arc<PublishKeys>>,
    /// Instances that hooks of this project may use at the same time.
    hooks: Semaphore,
    /// Instances that hooks may use at the same time if they may wait for other servers.
    fetching_hooks: Semaphore,
    /// Their way there.
    hook_client: HookClient,
    /// The way to the keys of an issuer of tokens.
    fetch_client: FetchClient,
    /// The keys of the issuer that the project names, with their URL and the hosts that it may reach.
    issuer: Mutex<Option<(String, FetchHosts, Jwks)>>,
    /// The tickets of single use that were used.
    used_tickets: Arc<UsedTickets>,
    /// Instances that hooks of all projects may use at the same time.
    all_hooks: Arc<Semaphore>,
    /// Cancelled when the node stops.
    closing: CancellationToken,
    /// The open WebSockets.
    sockets: TaskTracker,
}

impl FrontDoor {
    /// Returns the front door of a node, with no socket open.
    pub fn new(
        rooms: Rooms,
        forwarder: Forwarder,
        guests: &Guests,
        clock: Clock,
        audience: Audience,
        metrics: Metrics,
    ) -> Self {
        let (limits, all_hooks) = (guests.limits.clone(), guests.hooks.clone());
        let hooks = Semaphore::new(size(limits.door_instances_max).min(Semaphore::MAX_PERMITS));
        let fetching = limits.fetching_hooks_max.min(limits.door_instances_max);
        let fetching_hooks = Semaphore::new(size(fetching).min(Semaphore::MAX_PERMITS));
        let hook_client = HookClient::new(guests.fetch.clone(), &limits, metrics.door.clone());
        let used_tickets = UsedTickets::new(&limits, clock.wall_ms());
        let overlays =
            Arc::new(Semaphore::new(size(limits.overlay_pages_max).min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(FrontDoorInner {
            rooms,
            forwarder,
            limits,
            clock,
            audience,
            metrics,
            prefix: Mutex::default(),
            publishers: Mutex::default(),
            assets: Mutex::default(),
            notices: watch::Sender::new(None),
            pages: watch::Sender::new(()),
            overlays,
            hooks,
            fetching_hooks,
            hook_client,
            fetch_client: guests.fetch.clone(),
            issuer: Mutex::default(),
            used_tickets,
            all_hooks,
            closing: CancellationToken::new(),
            sockets: TaskTracker::new(),
        }))
    }

    /// Returns the routes for clients, without those for operators.
    pub fn routes(&self) -> Routes {
        Router::new()
            .route("/parties/{*room}", any(to_room))
            .route("/party/{*room}", any(to_room))
            .route("/_room/health", get(http::health))
            .route("/_room/overlay.js", get(overlay::script))
            .route("/_room/overlay", get(overlay::events))
            .route("/_room/client.js", get(client::script))
            .route("/_room/client/{module}", get(client::module))
            .route("/_room/openapi.json", get(openapi::describe))
            .route(publish::PATH, any(publish::many))
            .route("/_room/publish/{*room}", any(publish::single))
            .fallback(anywhere)
            .layer(from_fn_with_state(self.clone(), head::check))
            .layer(http::count_requests(self.0.metrics.door.clone()))
            .with_state(self.clone())
    }

    /// Returns the routes for clients and those for operators together, for one address. The same checks of request
    /// heads apply to both. Only clients' requests are counted.
    pub fn routes_beside(&self, operators: Routes) -> Routes {
        self.routes().merge(operators.layer(from_fn_with_state(self.clone(), head::check)))
    }

    /// Returns the id of the node that the door belongs to.
    pub fn node(&self) -> &NodeId {
        self.0.forwarder.homes().own()
    }

    /// Returns true if all rooms live on this node.
    pub fn is_alone(&self) -> bool {
        self.0.forwarder.homes().is_alone()
    }

    /// Returns the number of open sockets, including those that are being refused.
    pub fn open_sockets(&self) -> usize {
        self.0.sockets.len()
    }

    /// Returns the metrics that `METRICS.md` lists, as they are now, in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.0.rooms.measure();
        self.0.metrics.door.sockets.set(level(self.0.sockets.len() as u64));
        self.0.metrics.door.buffered_bytes.set(level(self.0.rooms.bytes().granted()));
        self.0.metrics.rooms.history_bytes.set(level(self.0.rooms.history().granted()));
        self.0.metrics.text()
    }

    /// Serves static files from this folder from now on, with these `Cache-Control` headers. With `single_page`, a page
    /// that does not exist is answered with `index.html`.
    pub fn set_assets(&self, dir: Option<PathBuf>, single_page: bool, cache: CacheControl) {
        let pages = if single_page { UnknownPages::Index } else { UnknownPages::Missing };
        *lock(&self.0.assets) = dir.map(|dir| Arc::new(Assets::new(dir, pages, cache)));
    }

    /// Answers for rooms below this path from now on, as below `/parties`.
    pub fn set_prefix(&self, prefix: Option<RoomsPrefix>) {
        *lock(&self.0.prefix) = prefix;
    }

    /// Lets these servers publish to rooms from now on.
    pub fn set_publishers(&self, keys: PublishKeys) {
        *lock(&self.0.publishers) = Arc::new(keys);
    }

    /// Forgets what hooks of the previous deployment fetched and kept.
    pub fn forget_fetched(&self) {
        self.0.hook_client.forget();
    }

    /// Shows this notice in a developer's pages from now on; `None` removes it.
    pub fn set_notice(&self, notice: Option<Notice>) {
        self.0.notices.send_replace(notice.map(Arc::new));
    }

    /// Makes a developer's pages load again, as their own files were replaced.
    pub fn reload_pages(&self) {
        self.0.pages.send_replace(());
    }

    fn publishers(&self) -> Arc<PublishKeys> {
        lock(&self.0.publishers).clone()
    }

    fn assets(&self) -> Option<Arc<Assets>> {
        lock(&self.0.assets).clone()
    }

    /// Returns the room that a URL names.
    fn named(&self, uri: &::http::Uri) -> NamedRoom {
        self.room_of(uri.path())
    }

    /// Returns the room to whose home a request belongs.
    fn home_named(&self, uri: &::http::Uri) -> NamedRoom {
        match self.named(uri) {
            Ok(None) => publish::named(self, uri.path()),
            named => named,
        }
    }

    /// Returns the room of a path.
    fn room_of(&self, path: &str) -> NamedRoom {
        match room_of_path(path, &self.0.limits) {
            Ok(None) => {
                let prefix = lock(&self.0.prefix).clone();
                let below = prefix.as_ref().and_then(|prefix| prefix.below(path));
                below.map_or(Ok(None), |below| room_below(below, &self.0.limits))
            }
            named => named,
        }
    }

    /// Returns the room that a URL names, if this node is the one to run it.
    fn room(&self, uri: &::http::Uri, named: &NamedRoom) -> Result<RoomId, DoorError> {
        let limits = &self.0.limits;
        if self.0.rooms.is_empty() {
            return Err(self.nothing_served());
        }
        let asked = uri.path_and_query().map_or(0, |asked| asked.as_str().len());
        if asked > size(limits.uri_bytes_max) {
            return Err(DoorError::UriTooLong(limits.uri_bytes_max));
        }
        self.here(named.clone()?.ok_or(DoorError::NotFound)?)
    }

    /// Returns why there are no rooms yet. A developer sees that the build is broken; to other clients the node is
    /// starting.
    fn nothing_served(&self) -> DoorError {
        match &*self.0.notices.borrow() {
            Some(notice) if self.0.audience == Audience::Developer => {
                DoorError::Unbuilt(notice.title.clone())
            }
            _ => DoorError::Starting,
        }
    }

    /// Returns the room, if this node is the one to run it.
    ///
    /// # Errors
    /// [`DoorError::Elsewhere`], [`DoorError::Moving`].
    pub fn here(&self, room: RoomId) -> Result<RoomId, DoorError> {
        match self.home(&room) {
            Home::Here => Ok(room),
            Home::Peer(peer, _) => Err(DoorError::Elsewhere(peer.name().clone())),
            Home::Nobody => Err(DoorError::Moving),
        }
    }

    /// Returns where a room lives.
    fn home(&self, room: &RoomId) -> Home {
        self.0.forwarder.homes().of(self.0.rooms.logs().project(), room)
    }

    /// Returns what a client that asked for a room sees of an error. The node's log has the whole error.
    fn refuse(&self, error: &DoorError, named: &NamedRoom) -> status::ClientError {
        let shown = error.show(self.0.audience);
        let server = shown.status.is_server_error();
        let level = if server { LogLevel::Warn } else { LogLevel::Info };
        let told = shown.id.as_ref().map(|id| format!(" and was told {id}")).unwrap_or_default();
        self.note(level, named, &format!("a client was turned away{told}: {error}"));
        shown
    }

    /// Logs a message about the room that a URL names. Requests that name no room are not logged, because strangers
    /// would fill the log with them.
    fn note(&self, level: LogLevel, named: &NamedRoom, text: &str) {
        if let Ok(Some(room)) = named {
            self.0.rooms.logs().of_room(room).client(level, text);
        }
    }

    /// Tells every WebSocket that the server stops, and waits until all are closed.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the sockets go on closing by themselves.
    pub async fn drain(&self) {
        self.0.closing.cancel();
        self.0.sockets.close();
        self.0.sockets.wait().await;
    }
}

/// Answers a path that has no route of its own: that of a room below the project's own path, or of a file.
async fn anywhere(State(door): State<FrontDoor>, request: Request) -> Response {
    match door.named(request.uri()) {
        Ok(None) => assets::serve(State(door), request).await,
        Ok(Some(_)) | Err(_) => to_room(State(door), request).await,
    }
}

/// Answers a plain request for a room.
async fn to_room(State(door): State<FrontDoor>, request: Request) -> Response {
    let named = door.named(request.uri());
    let page = PageOrigin::of(&door, &named, request.headers());
    if let Some(response) = page.preflight(&request) {
        return response;
    }
    if sse::is_asked_for(&door, &request, &named) {
        return page.admit(sse::open(door, request, &named).await);
    }
    if poll::is_one(&door, &request, &named) {
        // Boxed, because every other request would otherwise reserve the space for it.
        return page.admit(Box::pin(poll::answer(&door, request, &named)).await);
    }
    let answer = if presence::is_one(&request, &named) {
        presence::answer(&door, request, &named).await
    } else if post::is_one(&door, &request, &named) {
        post::receive(&door, request, &named).await
    } else {
        http::ask_room(&door, request, &named).await
    };
    page.admit(answer.unwrap_or_else(|error| door.refuse(&error, &named).into_response()))
}
