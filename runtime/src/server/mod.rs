//! A server to which projects are deployed: what `room serve` runs. Owns the data folder, and which project is served
//! under which host.
//!
//! Invariant: every deployed project is served again after a restart, with its version and its data. A project that
//! cannot be served does not stop the others. It does not know rooms: a `site` has a [`Node`](crate::node) for them.
//!
//! ```text
//! DATA/tokens.json  changes.json  audit.log  blobs/HASH  compiled/  compiled.json
//! DATA/projects/NAME/versions.json  env.json  changes.json  assets/VERSION/  rooms/
//! ```
//!
//! In a cluster the records, the rooms' data and all blobs are in its database. The folder is a cache: `blobs`, `compiled`,
//! and the static files in `DATA/cluster/NAME/assets/VERSION/`.

mod api;
mod audit;
mod blobs;
mod catalog;
mod cluster;
mod compiled;
mod failure;
mod file;
mod folder;
mod follow;
mod guard;
mod hosts;
mod layout;
mod ledger;
mod plan;
mod projects;
mod records;
mod release;
mod site;
mod slots;
mod tokens;
mod vault;

pub use api::API_VERSION;
pub use catalog::{Variable, Version};
pub use cluster::ClusterConfig;
pub use file::FileError;
pub use records::KeepError;
pub use release::{BlobId, NoBlobId, Release, ReleaseAsset, ReleaseParty, is_host};
pub use tokens::{NewToken, Scope, TokenRecord};
pub use vault::{VaultKey, VaultKeyError};

use audit::Audit;
use blobs::Blobs;
use cluster::{Cluster, ClusterTasks};
use compiled::CompiledFolder;
use hosts::Hosts;
use room_core::clock::Clock;
use room_core::config::{Proxies, Space, Tls};
use room_core::limits::{Limits, size};
use room_core::metrics::ServerMetrics;
use room_database::{ClusterKey, DatabaseError, MembershipError};
use room_door::{Capacity, Certificates, Forwarder, Listener, ListenerTransport, Porter, TlsError};
use room_guest::{CodeCaches, EngineError};
use room_operator::{ClientAddress, SocketScheme};
use room_rooms::cluster::Homes;
use room_rooms::rooms::GuestHost;
use room_store::blocking;
use site::SharedByProjects;
use slots::ProjectSlots;
use std::fs::{self, File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokens::Tokens;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The name of the first token.
const FIRST_TOKEN: &str = "first";

/// What a server needs to start.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The folder of all files of the server.
    pub data: PathBuf,
    /// The address for clients. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address for operators.
    pub admin: SocketAddr,
    /// The certificate for clients. Without one they connect by plain HTTP.
    pub tls: Option<Tls>,
    /// The certificate for operators. Without one they connect by plain HTTP.
    pub admin_tls: Option<Tls>,
    /// The proxies between the clients and the server. Operators connect without a proxy.
    pub proxies: Proxies,
    /// The nodes that serve one space of rooms together with this server.
    pub space: Space,
    /// The cluster that this server belongs to, in place of a space.
    pub cluster: Option<ClusterConfig>,
    /// The bounds of the process: of its listeners, of operators' requests, and of all projects together. A project has
    /// limits of its own, and these bound them.
    pub limits: Limits,
}

/// Why a server does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server cannot listen on an address.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The configuration of proxies contradicts itself.
    #[error("{0}")]
    Proxies(String),
    /// The configuration of the space contradicts itself.
    #[error("{0}")]
    Space(String),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Another process uses this folder.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file of tokens is damaged. The server accepts none of the tokens left in it.
    #[error("{0}")]
    Tokens(FileError),
    /// The folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The records of the projects cannot be read.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The cluster's database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The server cannot be a node of the cluster.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The engine cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A running server.
pub struct Server {
    core: ServerCore,
    addr: SocketAddr,
    admin: SocketAddr,
    first: Option<NewToken>,
    stop: CancellationToken,
    serving: [JoinHandle<()>; 2],
    /// The tasks of a node of a cluster.
    in_cluster: Option<ClusterTasks>,
    porter: Porter,
    /// Locked as long as this server uses the folder.
    _lock: File,
}

/// The state that operators' requests share. Cheap to clone.
#[derive(Clone)]
struct ServerCore(Arc<ServerInner>);

struct ServerInner {
    data: PathBuf,
    compiled: CompiledFolder,
    /// The address for clients.
    clients: ClientAddress,
    limits: Limits,
    clock: Clock,
    tokens: Tokens,
    audit: Audit,
    shared: SharedByProjects,
    /// This node among those of its cluster.
    cluster: Option<Cluster>,
    metrics: ServerMetrics,
    slots: ProjectSlots,
    changes: RunningChanges,
    uploads: Semaphore,
}

/// The operators' changes that are running.
struct RunningChanges {
    /// Drain waits for these.
    running: TaskTracker,
    /// One permit for each change that may run at a time.
    places: Arc<Semaphore>,
    /// Once cancelled, no further change starts.
    stop: CancellationToken,
}

impl Server {
    /// Starts a server with every project that was deployed to it.
    ///
    /// # Errors
    /// [`ServeError`]; nothing is left running. A project that cannot be served is not an error: it is named in the
    /// log, and by [`Server::broken`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, nothing is left running.
    pub async fn start(config: ServerConfig) -> Result<Self, ServeError> {
        check(&config)?;
        let ServerConfig { data, limits, .. } = config;
        let shared_limits = Arc::new(limits.clone());
        let lock = lock(&data)?;
        // The cache of compiled code has an absolute path, whatever the working folder of this process is.
        let data = fs::canonicalize(&data).map_err(|error| FileError::new(&data, error))?;
        let cluster = match &config.cluster {
            Some(config) => Some(Cluster::join(config, &limits).await?),
            None => None,
        };
        let key = cluster.as_ref().map(|cluster| cluster.membership.key().clone());
        let scheme = if config.tls.is_some() { SocketScheme::Wss } else { SocketScheme::Ws };
        let way = (config.tls, config.proxies, key);
        let public = bind(config.listen, way, &shared_limits).await?;
        let way = (config.admin_tls, Proxies::default(), None);
        let admin = bind(config.admin, way, &shared_limits).await?;
        let compiled = CompiledFolder::verified(&data)?;
        let folders = (data.as_path(), &compiled);
        let shared = shared(folders, &config.space, cluster.as_ref(), &shared_limits)?;
        let records = shared.records.clone();
        let clock = Clock::system();
        let tokens = match &records {
            Some(records) => Tokens::of_cluster(records).await?,
            None => Tokens::open(&data).map_err(refused)?,
        };
        let stop = CancellationToken::new();
        let core = ServerCore(Arc::new(ServerInner {
            audit: Audit::open(&data)?.in_cluster(records),
            uploads: places(limits.admin_transfers_max),
            changes: RunningChanges::new(&limits, stop.clone()),
            compiled,
            data,
            clients: ClientAddress { addr: public.addr(), scheme },
            limits,
            clock,
            tokens,
            shared,
            cluster,
            metrics: ServerMetrics::new(),
            slots: ProjectSlots::default(),
        }));
        let mut in_cluster = core.0.cluster.as_ref().map(|cluster| cluster.run(&core));
        let first = match core.open(&mut in_cluster).await {
            Ok(first) => first,
            Err(error) => {
                core.close(in_cluster).await;
                return Err(error);
            }
        };
        let counts = core.0.metrics.listener.clone();
        // Operators connect without a proxy, so nothing is counted for them.
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
            in_cluster,
            core,
            stop,
            porter,
            _lock: lock,
        })
    }

    /// Returns the address for clients.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address for operators.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Returns the token that was created because there was none. Its secret is shown here and nowhere else.
    pub fn first_token(&self) -> Option<&NewToken> {
        self.first.as_ref()
    }

    /// Returns the names of the projects that are served.
    pub fn projects(&self) -> Vec<String> {
        let all = self.core.0.slots.all().into_iter();
        all.filter(|(_, site)| site.is_ok()).map(|(name, _)| name).collect()
    }

    /// Returns the names of the projects that cannot be served, and why.
    pub fn broken(&self) -> Vec<(String, String)> {
        let all = self.core.0.slots.all().into_iter();
        all.filter_map(|(name, site)| Some((name, site.err()?))).collect()
    }

    /// Stops the server. It refuses new clients, completes the operators' changes, closes the sockets with 1012, stops
    /// the rooms and flushes everything to disk.
    ///
    /// # Cancel safety
    /// If dropped before it returns, unfinished work ends with the process. Acknowledged writes are on disk all the
    /// same.
    pub async fn drain(self) {
        self.stop.cancel();
        let changes = &self.core.0.changes.running;
        changes.close();
        changes.wait().await;
        self.core.close(self.in_cluster).await;
        self.porter.drain().await;
        for serving in self.serving {
            // A listener that panicked has no open requests.
            drop(serving.await);
        }
        blocking(|| self.core.0.compiled.note());
    }
}

/// Returns what the projects of a server share.
///
/// # Errors
/// [`ServeError`]: the folder or the engine cannot be used.
fn shared(
    (data, compiled): (&Path, &CompiledFolder),
    space: &Space,
    cluster: Option<&Cluster>,
    limits: &Arc<Limits>,
) -> Result<SharedByProjects, ServeError> {
    let caches = CodeCaches { folder: Some(compiled.dir()), functions: false };
    let guests = GuestHost::new(limits, caches)?;
    let records = cluster.map(|cluster| cluster.records.clone());
    let blobs = Blobs::open(&data.join("blobs"), limits.module_bytes_max)?;
    Ok(SharedByProjects {
        blobs: blobs.in_cluster(records.clone()),
        hosts: Hosts::default(),
        guests,
        forwarder: forwarder(space, cluster, limits),
        cluster: cluster.map(|cluster| cluster.place.clone()),
        records,
        drain_spread_ms: limits.drain_spread_ms,
    })
}

impl ServerCore {
    /// Opens all projects, and takes shards if this is a node of a cluster. Returns the first token if it was created now.
    async fn open(
        &self,
        in_cluster: &mut Option<ClusterTasks>,
    ) -> Result<Option<NewToken>, ServeError> {
        self.open_all().await?;
        if let Some((cluster, tasks)) = self.0.cluster.as_ref().zip(in_cluster.as_mut()) {
            cluster.open(self, tasks).await?;
        }
        // Last, as a start that fails would show it to nobody.
        Ok(blocking(|| self.0.tokens.create_first(FIRST_TOKEN, self.0.clock.wall_ms()))?)
    }

    /// Leaves the cluster, and stops all rooms.
    async fn close(&self, in_cluster: Option<ClusterTasks>) {
        if let Some((in_cluster, cluster)) = in_cluster.zip(self.0.cluster.as_ref()) {
            in_cluster.leave(cluster.membership.lease(), &self.0.limits).await;
        }
        let mut closing = tokio::task::JoinSet::new();
        for site in self.0.slots.take() {
            closing.spawn(async move { site.close().await });
        }
        closing.join_all().await;
    }
}

/// Listens at an address: with a certificate, behind proxies, and with the key of the node's cluster.
async fn bind(
    addr: SocketAddr,
    (files, proxies, key): (Option<Tls>, Proxies, Option<ClusterKey>),
    limits: &Arc<Limits>,
) -> Result<Listener, ServeError> {
    let tls = match files {
        Some(files) => Some(Certificates::read(files, limits.clone()).await?),
        None => None,
    };
    let way = ListenerTransport { tls, proxies: Arc::new(proxies), key };
    // Clients and operators have separate capacities, so clients never keep operators out.
    let capacity = Capacity::new(limits);
    let listener = Listener::bind(addr, limits.clone(), way, capacity).await;
    listener.map_err(|source| ServeError::Listen { addr, source })
}

/// Checks the proxies and the nodes that a configuration names.
fn check(config: &ServerConfig) -> Result<(), ServeError> {
    let ServerConfig { proxies, space, tls, .. } = config;
    if let Some(problem) = proxies.problem() {
        return Err(ServeError::Proxies(problem));
    }
    let problem = match &config.cluster {
        None => space.problem(proxies, tls.is_some()),
        // The other nodes reach this one as those of a space do.
        Some(_) => Space::transport_problem(proxies, tls.is_some()),
    };
    problem.map_or(Ok(()), |problem| Err(ServeError::Space(problem)))
}

/// Returns the way to the other nodes.
fn forwarder(space: &Space, cluster: Option<&Cluster>, limits: &Limits) -> Forwarder {
    match cluster {
        None => Forwarder::new(space, limits),
        Some(cluster) => Forwarder::to(Homes::cluster(&cluster.membership, limits), limits),
    }
}

/// Returns a semaphore with as many permits as a limit says.
fn places(limit: u64) -> Semaphore {
    Semaphore::new(size(limit).min(Semaphore::MAX_PERMITS))
}

/// Returns the error for a file of tokens that cannot be read.
fn refused(error: FileError) -> ServeError {
    match error.is_damage() {
        true => ServeError::Tokens(error),
        false => ServeError::File(error),
    }
}

/// Locks a folder against other servers, and makes the folder if it does not exist.
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
