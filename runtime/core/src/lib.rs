//! The values that all parts of the room runtime share. Owns no task, no socket and no file.
//!
//! Invariant: a module knows only the modules that the list in `tests/tidy.rs` allows it. This crate does not know
//! guests' engine, databases or the protocols of clients.
//!
//! - [`id`], [`connection`], [`event`], [`span`], [`turn`] are what a room is called with and what it answers.
//! - [`fetch`] is what a room requests from other servers.
//! - [`identity`] is who a client is.
//! - [`jobs`] are what a room wants done after its turns.
//! - [`schedule`] says when crons are due.
//! - [`webhooks`] are what a project reports about its rooms.
//! - [`presence`] is who is in a room, and what each of them shows.
//! - [`limits`] has every bound, [`config`] what is configured, [`ttl`] how long unused rooms live.
//! - [`clock`] is the only source of time, [`metrics`] the only registry of counts.
//! - [`logs`] keeps the newest lines of the log for watchers.
//! - [`byte_budget`] bounds the bytes that a process holds for clients and rooms. [`mod@line`] is the queue of those that
//!   wait for space. [`mod@lock`] locks what threads share.
//! - [`assets`] decides which files are public.

pub mod assets;
pub mod byte_budget;
pub mod clock;
pub mod config;
pub mod connection;
mod encoding;
pub mod event;
mod exchange;
pub mod fetch;
pub mod id;
pub mod identity;
pub mod jobs;
pub mod limits;
pub mod line;
pub mod lock;
pub mod logs;
pub mod metrics;
pub mod presence;
pub mod rate;
pub mod schedule;
pub mod span;
pub mod ttl;
pub mod turn;
pub mod webhooks;

pub use crate::metrics::{METRICS, MetricKind, MetricRow};
pub use config::{
    AssetCache, AssetError, AssetSettings, Audience, AuthAlgorithm, AuthConfigError, AuthMode,
    AuthSettings, AutoResponse, Config, ConfigError, CorsSetting, CronError, CronSetting,
    FetchHost, FetchHostError, FetchSettings, HistorySetting, ModuleSource, Network, NetworkError,
    Origin, OriginError, PartyConfig, PeerNode, Preamble, PrefixError, PresenceSetting,
    PresenceTime, PresentBy, Project, Proxies, PublishError, PublishKeySetting, PublishSettings,
    RetentionSettings, RoomsPrefix, ScopedPublishKey, Space, SpaceError, SseAccess, StorageConfig,
    Tls, WebhookError, WebhookSettings, WhenQuiet, node_name,
};
pub use event::BodyDelivery;
pub use id::{ConnectionId, NameError, NodeId, PartyName, RoomId};
pub use limits::{LimitRow, Limits};
pub use logs::Logs;
pub use ttl::{Ttl, TtlError};
