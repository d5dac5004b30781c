//! The operator's and the project's choices. Owns their shape and their checks.
//!
//! Invariant: a [`Config`] that passed [`Config::check`] can be run; the check reports all its mistakes
//! together. Only `runtime.rs` reads it, and hands each part its piece. It binds and opens nothing, and does
//! not know where the choices came from.

mod assets;
mod auth;
mod cors;
mod crons;
mod fetch;
mod module;
mod origin;
mod prefix;
mod presence;
mod proxies;
mod publish;
mod renames;
mod retention;
mod space;
mod webhooks;

pub use assets::{AssetCache, AssetError, AssetSettings, CacheControl};
pub use auth::{AuthAlgorithm, AuthConfigError, AuthMode, AuthPlan, AuthSettings, TICKET_QUERY};
pub use cors::{Cors, CorsRight, CorsSetting};
pub use crons::{Cron, CronError, CronSetting, too_many_crons};
pub use fetch::{FetchHost, FetchHostError, FetchHosts, FetchScheme, FetchSettings, is_public};
pub use module::ModuleSource;
pub use origin::Origins;
pub use origin::{Origin, OriginError};
pub use prefix::{PrefixError, RoomsPrefix};
pub use presence::{
    Presence, PresenceError, PresenceSetting, PresenceTime, PresenceTimeError, PresentBy,
};
pub use proxies::{Network, NetworkError, Preamble, Proxies};
pub use publish::{
    PublishError, PublishKey, PublishKeySetting, PublishKeys, PublishSettings, ScopedPublishKey,
};
pub use renames::{OldNameError, PartyRename};
pub use retention::{
    HistoryAccess, HistoryDurability, HistorySetting, Retention, RetentionError, RetentionSettings,
};
pub use space::{PeerNode, Space, SpaceError, node_name};
pub use webhooks::{WebhookError, WebhookPlan, WebhookSettings};

use crate::event::BodyDelivery;
use crate::limits::Limits;
use crate::ttl::Ttl;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The configuration of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address that the front door listens on. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// The place of the rooms' data.
    pub storage: StorageConfig,
    /// The folder for compiled code. Without one, every start compiles again.
    pub cache_dir: Option<PathBuf>,
    /// The files of its certificate. Without them, it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// The proxies in front of it.
    pub proxies: Proxies,
    /// Every bound.
    pub limits: Limits,
    /// The audience of the error texts.
    pub audience: Audience,
}

/// The files of a certificate, in PEM. They are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and after it the chain of its issuers.
    pub cert: PathBuf,
    /// Its private key, without a password.
    pub key: PathBuf,
}

/// The place of the rooms' data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageConfig {
    /// In this folder, on disk.
    Disk(PathBuf),
    /// In memory. It is gone when the node stops.
    Memory,
}

/// The audience of the error texts that a client receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The room's author: responses carry the guest's own error and backtrace.
    Developer,
    /// The public: responses carry a short plain text and the id under which the log has the rest.
    Public,
}

/// The parties of one project, with its static files.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Its parties, at least one.
    pub parties: Vec<PartyConfig>,
    /// The folder of its static files.
    pub assets: Option<PathBuf>,
    /// How they are answered.
    pub asset_settings: AssetSettings,
    /// The origins whose pages may open WebSockets to its rooms, as [`Origin::parse`] reads them. An empty
    /// list lets every page in. The server's own pages may always connect.
    pub origins: Vec<String>,
    /// A path of rooms besides `/parties`, as [`RoomsPrefix::parse`] reads it.
    pub prefix: Option<String>,
    /// The servers that its rooms may fetch from.
    pub fetch: FetchSettings,
    /// What calls its rooms at planned times.
    pub crons: Vec<CronSetting>,
    /// The receiver of its webhooks.
    pub webhooks: Option<WebhookSettings>,
    /// Who may enter its rooms. Without it, everybody may.
    pub auth: Option<AuthSettings>,
    /// The servers that may publish to its rooms.
    pub publish: Option<PublishSettings>,
}

/// One party of a project.
#[derive(Clone, Debug)]
pub struct PartyConfig {
    /// The name, in any spelling of [`crate::PartyName::parse`].
    pub name: String,
    /// The name that it had before, under which its rooms may still be stored.
    pub was: Option<String>,
    /// Its code.
    pub module: ModuleSource,
    /// The environment that its rooms see.
    pub vars: Vec<(String, String)>,
    /// The behaviour of a quiet room with open sockets.
    pub when_quiet: WhenQuiet,
    /// The auto-response, with which clients can check a connection without waking the room.
    pub auto_response: Option<AutoResponse>,
    /// The time for which a room is kept while unused; `None` keeps it forever.
    pub ttl: Option<Ttl>,
    /// The pages of other sites that may read the responses of its rooms.
    pub cors: Option<CorsSetting>,
    /// How bodies of plain requests reach its rooms.
    pub request_bodies: BodyDelivery,
    /// How long its rooms remember what they sent.
    pub retention: RetentionSettings,
    /// How its rooms show who is there; `None` if they do not.
    pub presence: Option<PresenceSetting>,
    /// What it asks of its clients; `None` leaves it to the project.
    pub auth: Option<AuthMode>,
    /// Whether clients may connect by server-sent events.
    pub sse: SseAccess,
}

/// Whether clients may connect to a party's rooms by server-sent events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum SseAccess {
    /// They may not: the room's `on_request` answers requests for event streams.
    #[default]
    Off,
    /// They may: such a request opens a connection.
    On,
}

impl SseAccess {
    /// Returns true for [`SseAccess::Off`].
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

impl From<bool> for SseAccess {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

impl From<SseAccess> for bool {
    fn from(access: SseAccess) -> Self {
        access == SseAccess::On
    }
}

/// A client's text message and its answer. The server answers it, and the room never receives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoResponse {
    /// The whole text of the message.
    pub request: String,
    /// The whole text of the answer.
    pub response: String,
}

impl AutoResponse {
    /// Returns what is wrong with it as a sentence; `None` if it is valid.
    pub fn problem(&self, limits: &Limits) -> Option<String> {
        let max = limits.auto_response_bytes_max;
        if self.request.is_empty() {
            return Some("the request of an auto_response is empty".to_owned());
        }
        let texts = [("request", &self.request), ("response", &self.response)];
        texts.into_iter().find(|(_, text)| text.len() as u64 > max).map(|(name, text)| {
            format!(
                "the {name} of an auto_response has {} bytes, auto_response_bytes_max allows {max}",
                text.len()
            )
        })
    }
}

/// The behaviour of a room with open sockets when it has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenQuiet {
    /// It stays in memory.
    #[default]
    Stay,
    /// Its instance is dropped after [`Limits::hibernate_ms`]; the sockets stay.
    Hibernate,
}

/// The mistakes of a configuration, all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Checks everything that can be wrong, before a part opens anything.
    ///
    /// # Errors
    /// [`ConfigError`] with a sentence for each mistake.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = self.limits.problems();
        if let StorageConfig::Disk(dir) = &self.storage
            && dir.exists()
            && !dir.is_dir()
        {
            problems.push(format!("the data folder {} is a file", dir.display()));
        }
        problems.extend(self.proxies.problem());
        if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
    }
}
