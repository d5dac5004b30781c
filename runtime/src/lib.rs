//! Runs rooms: stateful, single-threaded actors whose logic is a WebAssembly component.
//!
//! A code map, in reading order. `ARCHITECTURE.md` is the map, `PROMISES.md` has the tests that guard it.
//!
//! - [`runtime`] is a [`node`] with a listener: [`Runtime`], from a [`Config`].
//! - [`server`] has many nodes, and takes deployments: [`Server`].
//! - `door` is the front door: sockets, HTTP, static files, the table of errors. [`assets`] decides which
//!   files are public.
//! - `rooms` knows which rooms run. `room` is one of them: mailbox, actor, gate, outbox.
//! - `wasm` compiles and calls guests. `turn` holds the reads, writes and outputs of one call.
//! - `operator` holds the operations of operators on a project's rooms, and their routes. [`offline`] is the
//!   same without a node.
//! - `store` keeps the rooms' bytes. `alarms` wakes rooms, `expiry` ends them. `cluster` says which node a
//!   room is on.
//! - `logs` keeps the newest lines of the log for watchers. `taps` shows watchers the traffic of a room.
//! - `byte_budget` bounds the bytes that the node may hold for clients and rooms, and `line` is the queue of
//!   those that wait for space. `metrics` holds the counts. [`event`], [`connection`], [`span`], [`id`],
//!   [`limits`], [`clock`], [`ttl`] are the values that all share. `encoding` serialises them.

mod alarms;
pub mod assets;
mod byte_budget;
pub mod clock;
mod cluster;
pub mod config;
pub mod connection;
mod door;
mod encoding;
pub mod event;
mod expiry;
pub mod id;
pub mod limits;
mod line;
mod logs;
mod metrics;
pub mod node;
mod operator;
mod room;
mod rooms;
pub mod runtime;
pub mod server;
pub mod span;
pub mod store;
mod taps;
pub mod ttl;
pub mod turn;
pub mod wasm;

pub use crate::metrics::{METRICS, MetricKind, MetricRow};
pub use config::{
    Audience, AutoResponse, Config, ConfigError, Network, NetworkError, Origin, OriginError,
    PartyConfig, Preamble, Project, Proxies, StorageConfig, Tls, WhenQuiet,
};
pub use door::{Notice, TlsError, connection_of_query, room_of_path};
pub use id::{ConnectionId, NameError, PartyName, RoomId};
pub use limits::{LimitRow, Limits};
pub use logs::Logs;
pub use node::{DeployError, Deployed, OpenError};
pub use operator::{AdminToken, offline};
pub use room::RoomError;
pub use runtime::{Runtime, StartError};
pub use server::{Server, ServerConfig};
pub use store::{ContentError, RoomContent, StoreError, Verified};
pub use ttl::{Ttl, TtlError};
pub use wasm::{GuestFault, LoadError};
