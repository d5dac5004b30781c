//! Runs rooms.

mod alarms;
pub mod clock;
pub mod config;
pub mod connection;
pub mod event;
pub mod id;
pub mod limits;
pub mod span;
mod room;
mod rooms;
pub mod store;
pub mod turn;
pub mod wasm;
