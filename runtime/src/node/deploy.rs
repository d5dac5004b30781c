//! Deployments. Owns what a project is checked for, and the order in which its parts take over.
//!
//! Invariant: a deployment takes effect as a whole or not at all: everything that can fail comes before the rooms take the
//! new code over, and renamed rooms get their old names back if that fails. It does not know how a room takes code over.

use super::Node;
use super::outsiders::{publishers_of, receiver_of};
use hashbrown::HashMap;
use room_auth::{ProjectAuth, TicketMint};
use room_core::config::{
    AssetError, AuthConfigError, AuthSettings, CacheControl, Cors, Cron, CronError, CronSetting,
    FetchHostError, FetchHosts, OldNameError, OriginError, Origins, PartyConfig, PartyRename,
    PrefixError, PresenceError, Project, PublishError, RetentionError, RoomsPrefix, WebhookError,
};
use room_core::event::BodyDelivery;
use room_core::id::{NameError, PartyName, RoomId};
use room_core::logs::LogLevel;
use room_core::ttl::Lifetime;
use room_core::webhooks::WebhookEvents;
use room_guest::{Code, Instance, LiveSamples, LoadError};
use room_rooms::expiry;
use room_rooms::rooms::{Party, ReloadError, Reloaded};
use room_store::{RenameError, StoreError};
use std::sync::Arc;
use tokio::time::{Duration, Instant};

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
