//! Whole nodes with real guests, real sockets and, where it matters, a real disk.
//!
//! One binary, so that guests are built and compiled once. It tests every promise of `runtime/PROMISES.md` from
//! outside, besides the tests of the parts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod activation;
mod admin;
mod alarms;
mod assets;
mod auth;
mod auto_response;
mod batches;
mod cors;
mod crons;
mod crowds;
mod damaged;
mod dashboard;
mod delivery;
mod deploys;
mod door;
mod expiry;
mod fault_matrix;
mod faults;
mod fetch;
mod fetches;
mod frames;
mod handshake;
mod hangups;
mod hibernation;
mod hooks;
mod hooks_fetch;
mod http_rules;
mod inspect;
mod lingering;
mod logs;
mod members;
mod messages;
mod metrics;
mod nodes;
mod operated;
mod order;
mod outcalls;
mod poll;
mod prefix;
mod presence;
mod presence_guide;
mod pressure;
mod projects;
mod proxies;
mod publish;
mod rates;
mod reload;
mod renames;
mod returns;
mod security;
mod server;
mod sessions;
mod sockets;
mod sse;
mod staying;
mod storage;
mod streams;
mod ticks;
mod timers;
mod tls;
mod transactions;
mod turns;
mod uploads;
mod webhooks;
