//! Runs guests. Owns everything that knows WebAssembly: compiling, checking, instances, budgets.
//!
//! Invariant: a guest reaches the world only through the functions of the contract, and its effects land in a
//! [`Turn`](room_core::turn::Turn). It does not know rooms, the store or sockets.

mod answer;
mod attachment;
mod batch;
mod bindings;
mod budget;
mod delivery;
mod engine;
mod exports;
mod fault;
mod flush;
mod function_cache;
mod history;
mod host;
mod identity;
mod instance;
mod log;
mod module;
mod outcalls;
mod outside;
mod presence;
mod samples;
mod streams;
mod wasi;

pub use answer::{HookAnswer, HookVerdict};
pub use batch::BatchCall;
pub use budget::GuestMemory;
pub use engine::{CodeCaches, SharedEngine};
pub use engine::{Engine, EngineError};
pub use fault::{GuestFault, Overrun};

pub use flush::{Flush, Flushes};
pub use instance::{DoorCall, Instance, SocketVerdict};
pub use module::{Code, LoadError, Module};
pub use outside::{HookFetches, HookRequest};
pub use samples::LiveSamples;

#[cfg(test)]
mod tests;
