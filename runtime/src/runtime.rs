//! A whole node with its listener: what `room dev` runs. Owns that it listens before it opens anything.
//!
//! Invariant: what is started here is stopped in reverse. It does not know what serves the requests.

use crate::config::{Audience, Config, ConfigError, Project};
use crate::door::{Capacity, Certificates, Listener, Notice, TlsError, Way};
use crate::node::{DeployError, Deployed, Node, OpenError};
use crate::operator::{self, AdminToken, Credentials};
use crate::rooms::GuestHost;
use crate::store::{StoreError, Verified};
use crate::wasm::{CodeCaches, EngineError};
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
    way: Way,
    /// What all addresses share.
    capacity: Capacity,
}

/// Why a node does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be had.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
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
    /// Starts a node: it listens, and has no parties yet.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let limits = Arc::new(config.limits.clone());
        let addr = config.listen;
        let tls = match config.tls.clone() {
            Some(files) => Some(Certificates::read(files, limits.clone()).await?),
            None => None,
        };
        let way = Way { tls, proxies: Arc::new(config.proxies.clone()) };
        let capacity = Capacity::new(&limits);
        let listener = Listener::bind(addr, limits.clone(), way.clone(), capacity.clone()).await;
        let listener = listener.map_err(|source| StartError::Listen { addr, source })?;
        let caches = CodeCaches {
            folder: config.cache_dir.as_deref(),
            // Developers edit their modules.
            functions: config.audience == Audience::Developer,
        };
        let host = GuestHost::new(&limits, caches)?;
        let node = Node::open(&config.storage, &host, &limits, config.audience, "")?;
        let addr = listener.addr();
        let credentials = Credentials::new(&limits);
        let serving = Vec::new();
        let mut runtime = Self { addr, serving, node, credentials, config, way, capacity };
        runtime.serve(listener);
        Ok(runtime)
    }

    /// Listens at another address, too. All addresses together let as many clients in as the limits say.
    ///
    /// # Errors
    /// Those of the operating system, for example that the port is taken.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is bound.
    pub async fn listen_too(&mut self, addr: SocketAddr) -> std::io::Result<()> {
        let limits = Arc::new(self.config.limits.clone());
        let (way, capacity) = (self.way.clone(), self.capacity.clone());
        self.serve(Listener::bind(addr, limits, way, capacity).await?);
        Ok(())
    }

    fn serve(&mut self, listener: Listener) {
        let node = &self.node;
        let audience = self.config.audience;
        let operators = operator::routes_of_process(node.operator(), &self.credentials, audience);
        let routes = node.routes_beside(operators);
        let serving = listener.serve(routes, node.listener_metrics(), node.stopping());
        self.serving.push(tokio::spawn(serving));
    }

    /// Where it listens first.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What an operator has to show at `/_room/admin/`.
    pub fn admin_token(&self) -> &AdminToken {
        self.credentials.token()
    }

    /// Makes a code by which one browser on this machine signs in to the dashboard, once: `/_room/#link=CODE` is the
    /// page that uses it. Of more than [`Limits::sign_in_codes_max`](crate::Limits::sign_in_codes_max) that nobody has
    /// used, the oldest is good no more. With another audience than [`crate::Audience::Developer`] no code is good.
    pub fn sign_in_code(&self) -> String {
        self.credentials.sign_in_code()
    }

    /// Puts a project in place of the one before. Running rooms take over the new code between two
    /// turns; their sockets, connection states and storage stay.
    ///
    /// # Errors
    /// [`DeployError`]: what was served before goes on.
    ///
    /// # Cancel safety
    /// Not to be dropped once rooms are taking over: some would run the new code and some the old.
    pub async fn deploy(&self, project: Project) -> Result<Deployed, DeployError> {
        self.node.deploy(project).await
    }

    /// Tells pages that load `/_room/overlay.js` what is wrong with the code behind them, until the next
    /// call; none if nothing is. Nobody hears of it unless the audience is [`crate::Audience::Developer`].
    pub fn set_notice(&self, notice: Option<Notice>) {
        self.node.set_notice(notice);
    }

    /// Reads everything that is stored and checks that it agrees with itself; see [`Verified`]. Meant for
    /// a node without visitors: rooms that commit meanwhile may show up as problems.
    ///
    /// # Errors
    /// [`StoreError`] if something cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub async fn verify_storage(&self) -> Result<Verified, StoreError> {
        self.node.verify_storage().await
    }

    /// Stops: no new clients; sockets closed with 1012, each at a moment of its own within
    /// [`Limits::drain_spread_ms`](crate::Limits::drain_spread_ms) and working until then; rooms finished;
    /// everything on disk.
    ///
    /// # Cancel safety
    /// Dropped before it returns, what was not finished is dropped with the process; what was
    /// acknowledged is on disk all the same.
    pub async fn drain(self) {
        let Self { node, serving, .. } = self;
        // A listener that panicked has no requests any more.
        let ended = async {
            for serving in serving {
                drop(serving.await);
            }
        };
        node.drain(ended).await;
    }
}
