//! Runs guests. Owns everything that knows WebAssembly: compiling, checking, instances, budgets.
//!
//! Invariant: a guest reaches the world only through the functions of the contract, and its effects land in a
//! [`Turn`](crate::turn::Turn). It does not know rooms, the store or sockets.

mod bindings;
mod budget;
mod engine;
mod fault;
mod flush;
mod function_cache;
mod host;
mod instance;
mod log;
mod module;
mod samples;
mod wasi;

pub(crate) use budget::GuestMemory;
pub(crate) use engine::{CodeCaches, SharedEngine};
pub use engine::{Engine, EngineError};
pub use fault::{GuestFault, Overrun};

pub(crate) use flush::{Flush, Flushes};
pub(crate) use instance::{DoorCall, Instance, Verdict};
pub use module::{Code, LoadError, Module};
pub(crate) use samples::LiveSamples;

#[cfg(test)]
mod tests;
