//! Clusters of real processes: `room serve --cluster` several times over one PostgreSQL, with failures of each part.
//!
//! - `ground` has the database, the wires and the processes, `wire` cuts and delays connections.
//! - `load` has clients that count, and `history` is the judge of what they saw. Its own tests plant faults.
//! - `deploys`, `failures`, `moves` and `refusals` have the cases.
//!
//! Owns nothing but this list. Invariant: nothing outlives the test that started it. A long run is by command:
//! `CLUSTER_ROUNDS=300 CLUSTER_SEED=7 cargo test --workspace --test cluster -- failures`. It does not know how nodes agree.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod deploys;
mod failures;
mod ground;
mod history;
mod load;
mod moves;
mod refusals;
mod wire;
