//! Serves the rooms of one project: everything but a listener. Owns the order in which the parts start and
//! stop.
//!
//! Invariant: the node stops its parts in the reverse of the order in which it started them, and a part gets
//! only its piece of the configuration. It does not know what the parts do, nor how clients reach it.

mod outsiders;
mod place;
mod renames;

use place::PlaceGuard;
pub(crate) use place::{NodeFigures, NodePlace, PlacedRooms};

use hashbrown::HashMap;
use outsiders::{publishers_of, receiver_of, ticket_key};
use room_auth::{ProjectAuth, TicketMint};
use room_core::clock::Clock;
use room_core::config::{
    AssetError, Audience, AuthConfigError, AuthSettings, CacheControl, Cors, Cron, CronError,
    CronSetting, FetchHostError, FetchHosts, OldNameError, OriginError, Origins, PartyConfig,
    PartyRename, PrefixError, PresenceError, Project, PublishError, RetentionError, RoomsPrefix,
    StorageConfig, WebhookError,
};
use room_core::event::BodyDelivery;
use room_core::id::{NameError, PartyName, RoomId};
use room_core::limits::{Limits, Misfit, ms};
use room_core::logs::{LogLevel, Logs};
use room_core::metrics::{ListenerMetrics, Metrics};
use room_core::ttl::{Lifetime, Served};
use room_core::webhooks::WebhookEvents;
use room_door::{Forwarder, FrontDoor, Notice, Routes};
use room_guest::{Code, Engine, Instance, LiveSamples, LoadError};
use room_operator::Operator;
use room_rooms::alarms::Alarms;
use room_rooms::cluster::ProjectHomes;
use room_rooms::crons::Crons;
use room_rooms::expiry::{self, Expiry};
use room_rooms::rooms::{GuestHost, Guests, Party, ReloadError, Reloaded, Rooms};
use room_rooms::webhooks::Webhooks;
use room_store::{RenameError, Store, StoreError, Verified};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The parts that serve a project's rooms, once a listener passes requests to them.
pub(crate) struct Node {
    engine: Engine,
    /// One permit for each instance that tries out new code.
    spares: Arc<Semaphore>,
    rooms: Rooms,
    door: FrontDoor,
    store: Store,
    operator: Operator,
    crons: Crons,
    webhooks: Webhooks,
    /// Makes tickets with the node's own key.
    mint: TicketMint,
    limits: Arc<Limits>,
    clock: Clock,
    served: Served,
    logs: Logs,
    metrics: Metrics,
    /// Held by a deployment, so that there is one at a time.
    deploying: Mutex<()>,
    stop: CancellationToken,
    /// The tasks that ring alarms, call rooms for crons, end unused rooms and send webhooks; empty once the node has stopped them.
    wakers: Mutex<Vec<JoinHandle<()>>>,
    /// In a cluster, its rooms' place on the list of those that follow the shards.
    _placed: Option<PlaceGuard>,
}

/// What a project has of its process.
pub(crate) struct NodeShare<'a> {
    /// The project's name, which the process's log has on each line; empty if the process has only one.
    pub(crate) project: &'a str,
    /// The way to the rooms of other nodes.
    pub(crate) forwarder: &'a Forwarder,
    /// Where the rooms' data is, if the process is a node of a cluster.
    pub(crate) cluster: Option<&'a NodePlace>,
}

/// The reason why a node cannot be opened. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The project's limits do not fit into those of the process.
    #[error(transparent)]
    Limits(#[from] Misfit),
}

/// The reason why a project was not deployed. The node continues serving the previous one.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The project has no party.
    #[error("the project has no party")]
    NoParty,
    /// A party name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two entries name the same party, possibly in different spellings.
    #[error("the party {0} is listed twice")]
    Twice(PartyName),
    /// The party's auto-response cannot be used.
    #[error("party {party}: {problem}")]
    AutoResponse {
        /// The party.
        party: PartyName,
        /// The reason.
        problem: String,
    },
    /// An origin is invalid, or there are too many.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// A host to fetch from is invalid, or there are too many.
    #[error(transparent)]
    FetchHost(#[from] FetchHostError),
    /// The path of rooms is invalid.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// A setting of the static files is invalid.
    #[error(transparent)]
    Assets(#[from] AssetError),
    /// A cron is invalid.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// The project's webhooks cannot be sent.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// Who may enter cannot be checked.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
    /// The keys of the project's publishers cannot be used.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A party's old name is invalid.
    #[error(transparent)]
    OldName(#[from] OldNameError),
    /// The rooms of a party did not get its new name.
    #[error(transparent)]
    Rename(#[from] RenameError),
    /// The rooms of a party with a new name would belong on other nodes.
    #[error(
        "the party {0} has rooms, and a party cannot get another name on a server of several nodes: a room's name says \
         on which node it is; move the rooms with `room export` and `room import`, and remove `was`"
    )]
    RenamedInSpace(PartyName),
    /// A room of the party waits for an answer.
    #[error(
        "the party of the room {0} cannot get another name now: the room waits for the answer to a request or a call, whose \
         repetition would count as a new one; deploy again when the room has the answer, or has cancelled the request"
    )]
    RenamedUnanswered(String),
    /// The previously configured ttls cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The runtime refused a module.
    #[error("party {party}: {error}")]
    Load {
        /// The party.
        party: PartyName,
        /// The reason.
        error: LoadError,
    },
    /// The party's rooms get request bodies in pieces, and its module cannot take them.
    #[error(
        "party {0}: its module does not export stream-events, which `request_bodies = \"pieces\"` needs: \
         build it with a newer room-sdk, or write `request_bodies = \"whole\"`"
    )]
    NoPieces(PartyName),
    /// The party's `resume` or `history` is not valid.
    #[error("party {party}: {error}")]
    Retention {
        /// The party.
        party: PartyName,
        /// The reason.
        error: RetentionError,
    },
    /// The party's `presence` is not valid.
    #[error("party {party}: {error}")]
    Presence {
        /// The party.
        party: PartyName,
        /// The reason.
        error: PresenceError,
    },
    /// The new code did not start in a running room. Every room runs the old code again.
    #[error("the new code does not start in room {room}, the old one is back: {reason}")]
    Start {
        /// The room.
        room: String,
        /// The reason.
        reason: String,
    },
}

/// The outcome of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Rooms that took over the new code.
    pub rooms: usize,
    /// Connections that stayed open during the deployment.
    pub connections: usize,
    /// Time to compile the modules for this machine, or to find them in the cache.
    pub compiled: Duration,
}

impl Node {
    /// Opens the data. The node has no parties yet. Its guests run on `host`.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left running.
    pub(crate) fn open(
        storage: &StorageConfig,
        host: &GuestHost,
        limits: &Limits,
        audience: Audience,
        share: NodeShare<'_>,
    ) -> Result<Self, OpenError> {
        let metrics = Metrics::new();
        let clock = Clock::system();
        let logs = Logs::of(limits, clock, share.project);
        let guests = host.for_project(limits, logs.clone())?;
        let (limits, counts) = (guests.limits.clone(), metrics.store.clone());
        let store = match (share.cluster, storage) {
            (Some(place), _) => {
                let NodePlace { database, lease, .. } = place.clone();
                Store::shared(database, lease, share.project, &limits, counts)?
            }
            (None, StorageConfig::Disk(dir)) => Store::open_counted(dir, &limits, counts)?,
            (None, StorageConfig::Memory) => Store::in_memory_counted(&limits, counts)?,
        };
        let mint = TicketMint::new(ticket_key(&store)?, share.project, &limits);
        let counts = metrics.rooms.clone();
        let served = Served::from(store.service()?.served_ms);
        let homes = ProjectHomes::new(share.forwarder.homes().clone(), share.project);
        let rooms = Rooms::new(store.clone(), (clock, served), &guests, counts, homes);
        let placed = share.cluster.map(|place| place.rooms.add(rooms.clone()));
        let dir = match storage {
            StorageConfig::Disk(dir) => Some(dir.as_path()),
            StorageConfig::Memory => None,
        };
        let (counts, forwarder) = (metrics.clone(), share.forwarder.clone());
        let door = FrontDoor::new(rooms.clone(), forwarder, &guests, clock, audience, counts);
        let home = door.clone();
        let crons = Crons::new(rooms.clone(), move |room| home.here(room.clone()).is_ok());
        let webhooks = Webhooks::new(rooms.clone(), &guests);
        let theirs = (rooms.clone(), crons.clone(), webhooks.clone());
        let operator = Operator::new(dir, store.clone(), theirs, door.clone(), limits.clone())?;
        let alarms = Alarms::new(store.clone(), rooms.clone(), clock, limits.clone());
        let expiry = Expiry::new(store.clone(), rooms.clone(), served, limits.clone());
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(metrics.clone().look_after()));
        let Guests { engine, spares, .. } = guests;
        let wakers = vec![
            tokio::spawn(alarms.run()),
            tokio::spawn(expiry.run()),
            tokio::spawn(crons.clone().run()),
            tokio::spawn(webhooks.clone().run()),
        ];
        Ok(Self {
            engine,
            spares,
            rooms,
            door,
            store,
            operator,
            crons,
            webhooks,
            mint,
            limits,
            clock,
            served,
            logs,
            metrics,
            deploying: Mutex::new(()),
            wakers: Mutex::new(wakers),
            stop,
            _placed: placed,
        })
    }

    /// Returns the routes of clients, without the operator's.
    pub(crate) fn client_routes(&self) -> Routes {
        self.door.routes()
    }

    /// Returns the routes of clients and the operator's side by side, for one address.
    pub(crate) fn routes_beside(&self, operators: Routes) -> Routes {
        self.door.routes_beside(operators)
    }

    /// Returns the right to do what an operator does with the rooms. The caller must authenticate the
    /// operator first.
    pub(crate) fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Returns the node's metrics in Prometheus' text format.
    pub(crate) fn metrics(&self) -> String {
        self.door.metrics()
    }

    /// Returns the metrics of the node's listener, for a node that has its own.
    pub(crate) fn listener_metrics(&self) -> Arc<ListenerMetrics> {
        self.metrics.listener.clone()
    }

    /// Returns the token that is cancelled when the node is to take no new clients.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Deploys a project in place of the previous one. Running rooms take over the new code between two
    /// turns; their sockets, connection states and storage stay.
    ///
    /// # Errors
    /// [`DeployError`]: the node continues serving the previous project.
    ///
    /// # Cancel safety
    /// The caller must not drop it once rooms are taking over: some would run the new code and some the old.
    pub(crate) async fn deploy(&self, project: Project) -> Result<Deployed, DeployError> {
        let _one_at_a_time = self.deploying.lock().await;
        let outcome = self.put_in_place(project).await;
        match &outcome {
            Ok((_, what)) => self.logs.node(LogLevel::Info, &format!("deployed {what}")),
            Err(error) => self.logs.node(LogLevel::Warn, &format!("not deployed: {error}")),
        }
        outcome.map(|(done, _)| done)
    }

    /// Deploys a project, and describes in words what it did.
    async fn put_in_place(&self, project: Project) -> Result<(Deployed, String), DeployError> {
        if project.parties.is_empty() {
            return Err(DeployError::NoParty);
        }
        let origins = Origins::parse(&project.origins, &self.limits)?;
        let fetch_hosts = FetchHosts::parse(&project.fetch.hosts, &self.limits)?;
        let prefix = project.prefix.as_deref().map(RoomsPrefix::parse).transpose()?;
        let cache = CacheControl::parse(&project.asset_settings)?;
        let lifetimes = self.lifetimes(&project.parties)?;
        let receiver = receiver_of(&project, &fetch_hosts)?;
        let auth = self.auth_of(&project, &fetch_hosts)?;
        let publishers = publishers_of(&project)?;
        let renames = renames_of(&project.parties)?;
        let (begun, mut parties) = (Instant::now(), HashMap::new());
        for mut config in project.parties {
            config.vars.extend(prefix.iter().map(|own| {
                // A room cannot see in a URL where its own path ends.
                (RoomsPrefix::VARIABLE.to_owned(), own.to_string())
            }));
            let (name, mode) = (PartyName::parse(&config.name)?, config.auth);
            let mut party = self.load(&name, config, origins.clone()).await?;
            party.lifetime = lifetimes.get(&name).copied();
            party.fetch_hosts = fetch_hosts.clone();
            let events = receiver.as_ref().map(|receiver| receiver.events_of(&name));
            party.webhooks = events.unwrap_or_default();
            if let Some((auth, mint)) = &auth {
                (party.auth, party.code.mint) = (auth.of_party(mode), Some(mint.clone()));
            }
            if parties.insert(name.clone(), party).is_some() {
                return Err(DeployError::Twice(name));
            }
        }
        let crons = self.crons(&project.crons, &parties)?;
        let compiled = begun.elapsed();
        let hash =
            |(name, party): (&PartyName, &Party)| format!("{name} {}", party.code.module.hash());
        let mut hashes: Vec<String> = parties.iter().map(hash).collect();
        hashes.sort_unstable();
        let plan = self.plan_renames(&renames, &parties);
        let renamed = self.rename_rooms(plan).await?;
        let moved = renamed.count;
        let done = match self.rooms.deploy(parties).await {
            Ok(done) => done,
            Err(error) => {
                self.undo_renames(renamed).await;
                return Err(start_error(error));
            }
        };
        self.keep_renames(renamed);
        expiry::keep(&self.store, self.served, Some(&lifetimes));
        self.crons.replace(crons);
        self.webhooks.replace(receiver);
        self.door.set_publishers(publishers);
        self.door.set_prefix(prefix);
        self.door.forget_fetched();
        let single_page = project.asset_settings.single_page;
        self.door.set_assets(project.assets, single_page, cache);
        let Reloaded { rooms, connections } = done;
        let what = format!(
            "{}; rooms that took it over: {rooms}, connections that stayed: {connections}, rooms with another party: \
             {moved}",
            hashes.join(", ")
        );
        Ok((Deployed { rooms, connections, compiled }, what))
    }

    /// Returns the lifetimes of the rooms of these parties; parties without a ttl are left out.
    fn lifetimes(
        &self,
        parties: &[PartyConfig],
    ) -> Result<HashMap<PartyName, Lifetime>, DeployError> {
        let mut ttls = Vec::new();
        for PartyConfig { name, ttl, .. } in parties {
            if let Some(ttl) = ttl {
                ttls.push((PartyName::parse(name)?, *ttl));
            }
        }
        Ok(expiry::lifetimes(&self.store, self.served, &ttls)?)
    }

    /// Returns who may enter the rooms of a project, and what makes its tickets.
    fn auth_of(
        &self,
        project: &Project,
        hosts: &FetchHosts,
    ) -> Result<Option<(ProjectAuth, TicketMint)>, AuthConfigError> {
        let parties = project.parties.iter();
        let modes = parties.clone().map(|party| (party.name.as_str(), party.auth));
        AuthSettings::check_modes(project.auth.as_ref(), modes)?;
        let Some(settings) = &project.auth else { return Ok(None) };
        let plan = settings.check()?;
        // A project's variables are those of each of its parties.
        let vars = parties.flat_map(|party| &party.vars);
        let vars: HashMap<&str, &str> =
            vars.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let variable = |name: &str| vars.get(name).copied();
        let mint = match ProjectAuth::ticket_key(settings, variable)? {
            Some(key) => self.mint.with_key(key),
            None => self.mint.clone(),
        };
        let jwks = plan.jwks.as_ref();
        let jwks = jwks.map(|(url, host)| self.door.issuer_keys(url, &hosts.and(host.clone())));
        let made = (jwks, mint.clone());
        let auth = ProjectAuth::new((settings, plan), variable, made, &self.limits)?;
        Ok(Some((auth, mint)))
    }

    /// Checks the crons of a project with these parties.
    fn crons(
        &self,
        settings: &[CronSetting],
        parties: &HashMap<PartyName, Party>,
    ) -> Result<Vec<Cron>, CronError> {
        let mut names: Vec<PartyName> = parties.keys().cloned().collect();
        names.sort();
        let crons = Cron::parse_all(settings, &names, &self.limits)?;
        let deaf = crons.iter().find(|cron| {
            let party = parties.get(&cron.party);
            party.is_some_and(|party| !party.code.module.handles_crons())
        });
        deaf.map_or(Ok(()), |cron| Err(cron.without_code()))?;
        Ok(crons)
    }

    /// Sets what pages that load `/_room/overlay.js` show about the code behind them, until the next call;
    /// `None` if nothing is wrong. Pages receive it only if the audience is [`crate::Audience::Developer`].
    pub(crate) fn set_notice(&self, notice: Option<Notice>) {
        self.door.set_notice(notice);
    }

    /// Makes pages that load `/_room/overlay.js` load again.
    pub(crate) fn reload_pages(&self) {
        self.door.reload_pages();
    }

    /// Compiles a party's module, on a thread that runs no rooms, and starts one instance to try it.
    async fn load(
        &self,
        name: &PartyName,
        config: PartyConfig,
        origins: Origins,
    ) -> Result<Party, DeployError> {
        let engine = self.engine.clone();
        let PartyConfig { module, vars, when_quiet, auto_response, cors, sse, .. } = config;
        let (request_bodies, settings) = (config.request_bodies, config.retention);
        let retention = settings.parse(&self.limits).map_err(|error| {
            let party = name.clone();
            DeployError::Retention { party, error }
        })?;
        let presence = config.presence.map(|setting| setting.parse(&self.limits)).transpose();
        let presence = presence.map_err(|error| {
            let party = name.clone();
            DeployError::Presence { party, error }
        })?;
        let cors = Cors::parse(cors.as_ref(), &self.limits)?;
        if let Some(problem) = auto_response.as_ref().and_then(|own| own.problem(&self.limits)) {
            return Err(DeployError::AutoResponse { party: name.clone(), problem });
        }
        let loading = tokio::task::spawn_blocking(move || engine.load(&module)).await;
        let loaded = loading.unwrap_or_else(|panic| {
            Err(LoadError::Compile(format!("the compiler panicked: {panic}")))
        });
        let refused = |error| DeployError::Load { party: name.clone(), error };
        let code = Code { module: loaded.map_err(refused)?, vars: vars.into(), mint: None };
        if request_bodies == BodyDelivery::Pieces && !code.module.takes_pieces() {
            return Err(DeployError::NoPieces(name.clone()));
        }
        // All rooms may be asleep, so the node tries an instance now: otherwise a bad module would go
        // unnoticed until a room wakes.
        let _spare = self.spares.acquire().await;
        let probe = RoomId::new(name.clone(), "-", usize::MAX)?;
        let instance = Instance::new(&code, &probe, LiveSamples::of_system(self.clock)).await;
        instance.map_err(|fault| refused(LoadError::Start(fault.to_string())))?;
        let auto_response = auto_response.map(Arc::new);
        let (lifetime, fetch_hosts) = (None, FetchHosts::default());
        Ok(Party {
            code,
            when_quiet,
            auto_response,
            lifetime,
            origins,
            cors,
            fetch_hosts,
            request_bodies,
            retention,
            presence,
            sse,
            webhooks: WebhookEvents::default(),
            auth: None,
        })
    }

    /// Reads everything that is stored and checks that it is consistent; see [`Verified`]. Meant for a node
    /// without visitors: rooms that commit during the check may show up as problems.
    ///
    /// # Errors
    /// [`StoreError`] if something cannot be read.
    ///
    /// # Cancel safety
    /// The check holds nothing while it waits.
    pub(crate) async fn verify_storage(&self) -> Result<Verified, StoreError> {
        self.store.verify().await
    }

    /// Stops the node: closes the sockets with 1012 over `drain_spread_ms`, lets the rooms finish, and writes
    /// everything to disk. `served` completes with the listener's last request.
    ///
    /// # Cancel safety
    /// If the future is dropped, unfinished work ends with the process. Acknowledged writes are on disk all
    /// the same.
    pub(crate) async fn drain(&self, served: impl Future<Output = ()>) {
        self.stop.cancel();
        let end = async {
            // Rooms serve their clients until the last client is gone.
            self.door.drain().await;
            self.silence().await;
            self.rooms.drain().await;
            self.operator.drain().await;
            // After the last line that a room can log.
            self.logs.close();
            self.rooms.taps().close();
            served.await;
        };
        let max = self.limits.drain_ms_max.saturating_add(self.limits.drain_spread_ms);
        if tokio::time::timeout(ms(max), end).await.is_err() {
            self.silence().await;
            tracing::warn!("not everything ended within drain_ms_max; the rest is dropped");
        }
        let (store, served) = (self.store.clone(), self.served);
        let close = move || {
            expiry::keep(&store, served, None);
            store.close();
        };
        if tokio::task::spawn_blocking(close).await.is_err() {
            tracing::error!("the store panicked while it was closed");
        }
    }
}

impl Node {
    /// Ends the tasks that wake rooms and search for unused ones, and waits until they are dropped: until
    /// then they hold the store, and with it the folder.
    async fn silence(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock().await);
        for waker in wakers {
            waker.abort();
            drop(waker.await);
        }
    }
}

/// Returns the parties that had other names before.
fn renames_of(parties: &[PartyConfig]) -> Result<Vec<PartyRename>, DeployError> {
    let mut named = Vec::with_capacity(parties.len());
    for party in parties {
        named.push((PartyName::parse(&party.name)?, party.was.as_deref()));
    }
    Ok(PartyRename::parse_all(named.into_iter())?)
}

fn start_error(ReloadError { room, error }: ReloadError) -> DeployError {
    let room = room.map_or_else(|| "(any)".to_owned(), |room| room.to_string());
    DeployError::Start { room, reason: error.to_string() }
}
