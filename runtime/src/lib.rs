//! Runs rooms: stateful, single-threaded actors whose logic is a WebAssembly component.
//!
//! This crate is the façade of eight. `ARCHITECTURE.md` is the map, `PROMISES.md` has the tests that guard it.
//!
//! - [`runtime`] is a [`node`] with a listener: [`Runtime`], from a [`Config`].
//! - [`server`] has many nodes, and takes deployments: [`Server`].
//! - `room-door` is the front door: sockets, HTTP, static files, the table of errors.
//! - `room-operator` holds the operations of operators on a project's rooms, and their routes. [`offline`] is the same
//!   without a node.
//! - `room-rooms` knows which rooms run, and runs them: mailbox, actor, gate, outbox; alarms, expiry, taps.
//! - `room-auth` checks tokens and tickets, and makes the latter.
//! - `room-guest` ([`wasm`]) compiles and calls guests.
//! - `room-store` ([`store`]) keeps the rooms' bytes.
//! - `room-core` has the values that all share: [`event`], [`connection`], [`turn`], [`span`], [`id`], [`limits`],
//!   [`config`], [`clock`], [`ttl`], [`assets`], [`mod@lock`].

pub mod node;
pub mod runtime;
pub mod server;

pub use node::{DeployError, Deployed, OpenError};
pub use room_core::{
    AssetCache, AssetError, AssetSettings, Audience, AuthAlgorithm, AuthConfigError, AuthMode,
    AuthSettings, AutoResponse, BodyDelivery, Config, ConfigError, ConnectionId, CorsSetting,
    CronError, CronSetting, FetchHost, FetchHostError, FetchSettings, HistorySetting, LimitRow,
    Limits, Logs, METRICS, MetricKind, MetricRow, ModuleSource, NameError, Network, NetworkError,
    NodeId, Origin, OriginError, PartyConfig, PartyName, PeerNode, Preamble, PrefixError,
    PresenceSetting, PresenceTime, PresentBy, Project, Proxies, PublishError, PublishKeySetting,
    PublishSettings, RetentionSettings, RoomId, RoomsPrefix, ScopedPublishKey, Space, SpaceError,
    SseAccess, StorageConfig, Tls, Ttl, TtlError, WebhookError, WebhookSettings, WhenQuiet,
    node_name,
};
pub use room_core::{
    assets, clock, config, connection, event, id, identity, limits, lock, schedule, span, ttl,
    turn, webhooks,
};
pub use room_database::{DatabaseError, DatabaseSettings, DatabaseUrlError, MembershipError};
pub use room_door::{Notice, TlsError, connection_of_query, room_of_path};
pub use room_guest as wasm;
pub use room_guest::{GuestFault, LoadError};
pub use room_operator::{AdminToken, offline};
pub use room_rooms::room::RoomError;
pub use room_store as store;
pub use room_store::{ContentError, RoomContent, StoreError, Verified};
pub use runtime::{Runtime, StartError};
pub use server::{Server, ServerConfig};
