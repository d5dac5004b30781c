//! Rooms: actors that run one turn at a time. Owns which rooms run on this node, and what wakes and ends them.
//!
//! Invariant: a room runs at most once, and nothing it says leaves before what it depends on is durable. This crate
//! knows guests and the store; it does not know sockets, HTTP or operators.
//!
//! - [`room`] is one room: mailbox, actor, output gate, outbox.
//! - [`rooms`] knows which rooms run, and lets clients in.
//! - [`alarms`] and [`crons`] wake rooms, [`expiry`] ends them.
//! - [`webhooks`] reports what happened to rooms.
//! - [`taps`] shows watchers the traffic of a room.
//! - [`cluster`] says which node a room belongs on.

pub mod alarms;
pub mod cluster;
pub mod crons;
pub mod expiry;
pub mod room;
pub mod rooms;
pub mod taps;
pub mod webhooks;
