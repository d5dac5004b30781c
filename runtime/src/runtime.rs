//! A whole node with its listener, as `room dev` runs it. Owns that it listens before it opens anything.
//!
//! Invariant: the runtime stops its parts in the reverse of the order in which it started them. It does not
//! know what serves the requests.

use crate::node::{DeployError, Deployed, Node, NodeShare, OpenError};
use room_core::config::{Audience, Config, ConfigError, Project, Space};
use room_door::{Capacity, Certificates, Forwarder, Listener, ListenerTransport, Notice, TlsError};
use room_guest::{CodeCaches, EngineError};
use room_operator::{AdminToken, Credentials};
use room_rooms::rooms::GuestHost;
use room_store::{StoreError, Verified};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A node that serves rooms.
pub struct Runtime {
    node: Node,
    credentials: Credentials,
    addr: SocketAddr,
    /// One for each address.
    serving: Vec<JoinHandle<()>>,
    config: Config,
    way: ListenerTransport,
    /// The capacity that all addresses share.
    capacity: Capacity,
}

/// The reason why a node does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address is not available.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The data cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The engine cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Runtime {
    /// Starts a node. It listens, and has no parties yet.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let limits = Arc::new(config.limits.clone());
        let addr = config.listen;
        let tls = match config.tls.clone() {
            Some(files) => Some(Certificates::read(files, limits.clone()).await?),
            None => None,
        };
        let way = ListenerTransport { tls, proxies: Arc::new(config.proxies.clone()), key: None };
        let capacity = Capacity::new(&limits);
        let listener = Listener::bind(addr, limits.clone(), way.clone(), capacity.clone()).await;
        let listener = listener.map_err(|source| StartError::Listen { addr, source })?;
        let caches = CodeCaches {
            folder: config.cache_dir.as_deref(),
            // Developers edit their modules, and compile them again and again.
            functions: config.audience == Audience::Developer,
        };
        let host = GuestHost::new(&limits, caches)?;
        // A node of this kind is alone.
        let forwarder = Forwarder::new(&Space::default(), &limits);
        let share = NodeShare { project: "", forwarder: &forwarder, cluster: None };
        let node = Node::open(&config.storage, &host, &limits, config.audience, share)?;
        let addr = listener.addr();
        let credentials = Credentials::new(&limits);
        let serving = Vec::new();
        let mut runtime = Self { addr, serving, node, credentials, config, way, capacity };
        runtime.serve(listener);
        Ok(runtime)
    }

    /// Listens at another address, too. All addresses together admit as many clients as the limits say.
    ///
    /// # Errors
    /// The errors of the operating system, for example that the port is taken.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, nothing is bound.
    pub async fn listen_too(&mut self, addr: SocketAddr) -> std::io::Result<()> {
        let limits = Arc::new(self.config.limits.clone());
        let (way, capacity) = (self.way.clone(), self.capacity.clone());
        self.serve(Listener::bind(addr, limits, way, capacity).await?);
        Ok(())
    }

    fn serve(&mut self, listener: Listener) {
        let node = &self.node;
        let audience = self.config.audience;
        let operators =
            room_operator::routes_of_process(node.operator(), &self.credentials, audience);
        let routes = node.routes_beside(operators);
        let serving = listener.serve(routes, node.listener_metrics(), node.stopping());
        self.serving.push(tokio::spawn(serving));
    }

    /// Returns the address of the first listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the token that an operator presents at `/_room/admin/`.
    pub fn admin_token(&self) -> &AdminToken {
        self.credentials.token()
    }

    /// Makes a code with which one browser on this machine signs in to the dashboard, once:
    /// `/_room/#link=CODE` is the page that uses it. When more than
    /// [`Limits::sign_in_codes_max`](crate::Limits::sign_in_codes_max) codes are unused, the oldest becomes
    /// invalid. With another audience than [`crate::Audience::Developer`] every code is invalid.
    pub fn sign_in_code(&self) -> String {
        self.credentials.sign_in_code()
    }

    /// Deploys a project in place of the previous one. Running rooms take over the new code between two
    /// turns; their sockets, connection states and storage stay.
    ///
    /// # Errors
    /// [`DeployError`]: the node continues serving the previous project.
    ///
    /// # Cancel safety
    /// The caller must not drop it once rooms are taking over: some would run the new code and some the old.
    pub async fn deploy(&self, project: Project) -> Result<Deployed, DeployError> {
        self.node.deploy(project).await
    }

    /// Sets what pages that load `/_room/overlay.js` show about the code behind them, until the next call;
    /// `None` if nothing is wrong. Pages receive it only if the audience is [`crate::Audience::Developer`].
    pub fn set_notice(&self, notice: Option<Notice>) {
        self.node.set_notice(notice);
    }

    /// Makes pages that load `/_room/overlay.js` load again, as their own files were replaced. As with notices, only a
    /// developer's pages do so.
    pub fn reload_pages(&self) {
        self.node.reload_pages();
    }

    /// Reads everything that is stored and checks that it is consistent; see [`Verified`]. Meant for a node
    /// without visitors: rooms that commit during the check may show up as problems.
    ///
    /// # Errors
    /// [`StoreError`] if something cannot be read.
    ///
    /// # Cancel safety
    /// The check holds nothing while it waits.
    pub async fn verify_storage(&self) -> Result<Verified, StoreError> {
        self.node.verify_storage().await
    }

    /// Stops the node. It takes no new clients, and closes each socket with 1012 at a moment of its own
    /// within [`Limits::drain_spread_ms`](crate::Limits::drain_spread_ms); the socket works until then. It
    /// lets the rooms finish, and writes everything to disk.
    ///
    /// # Cancel safety
    /// If the future is dropped, unfinished work ends with the process. Acknowledged writes are on disk all
    /// the same.
    pub async fn drain(self) {
        let Self { node, serving, .. } = self;
        // A listener that panicked serves no requests any more.
        let ended = async {
            for serving in serving {
                drop(serving.await);
            }
        };
        node.drain(ended).await;
    }
}
