//! A server to which projects are deployed: what `room serve` runs. Owns the data folder, and who is served
//! where.
//!
//! Invariant: what was deployed is served again after every restart, as it was; a project that cannot be
//! served keeps no other from it. It does not know rooms: a `site` has a [`Node`](crate::node) for them.
//!
//! ```text
//! DATA/tokens.json  changes.json  audit.log  blobs/HASH  compiled/  compiled.json
//! DATA/projects/NAME/versions.json  env.json  changes.json  assets/VERSION/  rooms/
//! ```

mod api;
mod audit;
mod blobs;
mod catalog;
mod compiled;
mod failure;
mod file;
mod folder;
mod guard;
mod hosts;
mod layout;
mod ledger;
mod plan;
mod projects;
mod release;
mod site;
mod slots;
mod tokens;

pub use api::API_VERSION;
pub use catalog::{Variable, Version};
pub use file::FileError;
pub use release::{BlobId, NoBlobId, Release, ReleaseAsset, ReleaseParty, is_host};
pub use tokens::{NewToken, Scope, TokenRecord};

use crate::clock::Clock;
use crate::config::{Proxies, Tls};
use crate::door::{Capacity, Certificates, Listener, Porter, TlsError, Way};
use crate::limits::{Limits, size};
use crate::metrics::ServerMetrics;
use crate::operator::{ClientAddress, SocketScheme};
use crate::rooms::GuestHost;
use crate::store::blocking;
use crate::wasm::{CodeCaches, EngineError};
use audit::Audit;
use blobs::Blobs;
use compiled::Compiled;
use hosts::Hosts;
use site::Shared;
use slots::Slots;
use std::fs::{self, File, TryLockError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokens::{TokenError, Tokens};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the first token is called.
const FIRST_TOKEN: &str = "first";

/// What a server needs to start.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The folder of everything that it keeps.
    pub data: PathBuf,
    /// Where clients come. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where operators come.
    pub admin: SocketAddr,
    /// The certificate for clients; without one they come by plain HTTP.
    pub tls: Option<Tls>,
    /// The certificate for operators; without one they come by plain HTTP.
    pub admin_tls: Option<Tls>,
    /// What stands between clients and it. Operators come without a proxy.
    pub proxies: Proxies,
    /// The bounds of the process: of its listeners, of what operators may ask for, and of what all projects have
    /// together. Projects bring their own, which are bounded by these.
    pub limits: Limits,
}

/// Why a server does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be had.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The choice of proxies contradicts itself.
    #[error("{0}")]
    Proxies(String),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Another process serves this folder.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The tokens are damaged. Nobody is let in by what is left of them.
    #[error("{0}")]
    Tokens(FileError),
    /// The folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The engine cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A server that runs.
pub struct Server {
    core: Core,
    addr: SocketAddr,
    admin: SocketAddr,
    first: Option<NewToken>,
    stop: CancellationToken,
    serving: [JoinHandle<()>; 2],
    porter: Porter,
    /// Held as long as the folder is in use.
    _lock: File,
}

/// What answers operators. Cheap to clone.
#[derive(Clone)]
struct Core(Arc<Inner>);

struct Inner {
    data: PathBuf,
    compiled: Compiled,
    /// Where clients come.
    clients: ClientAddress,
    limits: Limits,
    clock: Clock,
    tokens: Tokens,
    audit: Audit,
    shared: Shared,
    metrics: ServerMetrics,
    slots: Slots,
    changes: Changes,
    uploads: Semaphore,
}

/// The changes of operators that are under way.
struct Changes {
    /// Waited for when the server stops.
    running: TaskTracker,
    /// As many as there may be.
    places: Arc<Semaphore>,
    /// No more of them begin.
    stop: CancellationToken,
}

impl Server {
    /// Starts a server with everything that was deployed to it.
    ///
    /// # Errors
    /// [`ServeError`]; nothing is left running. A project that cannot be served is named in the log, and
    /// by [`Server::broken`].
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is left running.
    pub async fn start(config: ServerConfig) -> Result<Self, ServeError> {
        let ServerConfig { data, limits, .. } = config;
        if let Some(problem) = config.proxies.problem() {
            return Err(ServeError::Proxies(problem));
        }
        let shared_limits = Arc::new(limits.clone());
        let scheme = if config.tls.is_some() { SocketScheme::Wss } else { SocketScheme::Ws };
        let bind = async |addr, files: Option<Tls>, proxies| {
            let tls = match files {
                Some(files) => Some(Certificates::read(files, shared_limits.clone()).await?),
                None => None,
            };
            let way = Way { tls, proxies: Arc::new(proxies) };
            // Clients never keep operators out.
            let capacity = Capacity::new(&shared_limits);
            let listener = Listener::bind(addr, shared_limits.clone(), way, capacity).await;
            listener.map_err(|source| ServeError::Listen { addr, source })
        };
        let public = bind(config.listen, config.tls, config.proxies).await?;
        let admin = bind(config.admin, config.admin_tls, Proxies::default()).await?;
        let lock = lock(&data)?;
        // What is compiled is kept under an absolute path, wherever this process was started.
        let data = fs::canonicalize(&data).map_err(|error| FileError::new(&data, error))?;
        let compiled = Compiled::verified(&data)?;
        let caches = CodeCaches { folder: Some(compiled.dir()), functions: false };
        let shared = Shared {
            blobs: Blobs::open(&data.join("blobs"), limits.module_bytes_max)?,
            hosts: Hosts::default(),
            guests: GuestHost::new(&shared_limits, caches)?,
            drain_spread_ms: limits.drain_spread_ms,
        };
        let clock = Clock::system();
        let tokens = Tokens::open(&data).map_err(refused)?;
        let first = match tokens.is_empty() {
            true => Some(first_token(&tokens, &clock)?),
            false => None,
        };
        let stop = CancellationToken::new();
        let core = Core(Arc::new(Inner {
            audit: Audit::open(&data)?,
            uploads: places(limits.admin_transfers_max),
            changes: Changes::new(&limits, stop.clone()),
            compiled,
            data,
            clients: ClientAddress { addr: public.addr(), scheme },
            limits,
            clock,
            tokens,
            shared,
            metrics: ServerMetrics::new(),
            slots: Slots::default(),
        }));
        core.open_all().await?;
        let counts = core.0.metrics.listener.clone();
        // Operators come without a proxy, so that there is nothing to count.
        let none = ServerMetrics::new().listener;
        let porter = Porter::new(shared_limits, core.0.shared.guests.bytes().clone());
        let hosts = core.0.shared.hosts.router(porter.clone());
        Ok(Self {
            addr: public.addr(),
            admin: admin.addr(),
            first,
            serving: [
                tokio::spawn(public.serve(hosts, counts, stop.clone())),
                tokio::spawn(admin.serve(api::router(core.clone()), none, stop.clone())),
            ],
            core,
            stop,
            porter,
            _lock: lock,
        })
    }

    /// Where clients come.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where operators come.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// The token that was made because there was none. It is told nowhere else, and never again.
    pub fn first_token(&self) -> Option<&NewToken> {
        self.first.as_ref()
    }

    /// The projects that are served, by their names.
    pub fn projects(&self) -> Vec<String> {
        let all = self.core.0.slots.all().into_iter();
        all.filter(|(_, site)| site.is_ok()).map(|(name, _)| name).collect()
    }

    /// The projects that cannot be served, and why.
    pub fn broken(&self) -> Vec<(String, String)> {
        let all = self.core.0.slots.all().into_iter();
        all.filter_map(|(name, site)| Some((name, site.err()?))).collect()
    }

    /// Stops: no new clients, operators' changes brought to their end, sockets closed with 1012, rooms finished,
    /// everything on disk.
    ///
    /// # Cancel safety
    /// Dropped before it returns, what was not finished is dropped with the process; what was acknowledged
    /// is on disk all the same.
    pub async fn drain(self) {
        self.stop.cancel();
        let changes = &self.core.0.changes.running;
        changes.close();
        changes.wait().await;
        let mut closing = tokio::task::JoinSet::new();
        for site in self.core.0.slots.take() {
            closing.spawn(async move { site.close().await });
        }
        closing.join_all().await;
        self.porter.drain().await;
        for serving in self.serving {
            // A listener that panicked has no requests any more.
            drop(serving.await);
        }
        blocking(|| self.core.0.compiled.note());
    }
}

/// As many permits as a limit says.
fn places(limit: u64) -> Semaphore {
    Semaphore::new(size(limit).min(Semaphore::MAX_PERMITS))
}

/// Why the tokens cannot be read.
fn refused(error: FileError) -> ServeError {
    match error.is_damage() {
        true => ServeError::Tokens(error),
        false => ServeError::File(error),
    }
}

/// Keeps other servers out of a folder, which is made if it is not there.
fn lock(data: &std::path::Path) -> Result<File, ServeError> {
    let path = data.join("lock");
    let named = |error| FileError::new(&path, error);
    fs::create_dir_all(data.join("projects")).map_err(named)?;
    let file = File::create(&path).map_err(named)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServeError::InUse(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(named(error).into()),
    }
}

fn first_token(tokens: &Tokens, clock: &Clock) -> Result<NewToken, FileError> {
    tokens.create(FIRST_TOKEN, Scope::Admin, clock.wall_ms()).map_err(|error| match error {
        TokenError::File(error) => error,
        // There is none, and its name is good.
        other => FileError::new(std::path::Path::new("tokens.json"), std::io::Error::other(other)),
    })
}
