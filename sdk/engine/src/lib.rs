//! A room whose logic is a script: QuickJS-ng as a room of the SDK.
//!
//! Owns [`ScriptRoom`], which hands each event to the script and takes what the script returns. Invariant: a script meets
//! the same turns, limits and host as a room in Rust, as it reaches the host through the SDK alone. It does not know
//! TypeScript, bundles or files: a script is one ES module, and the library that it may import is embedded.
//!
//! As a component it is frozen with a script (`freeze`), so that a room starts from a heap in which library and script are
//! evaluated already. Natively, for tests, the script is evaluated at each start.

mod engine;
mod events;
#[cfg(target_family = "wasm")]
mod freeze;
mod mode;
mod modules;
mod native;
mod script;
mod stack;
mod thrown;
mod values;

pub use engine::check;
pub use events::ScriptRoom;
pub use script::Script;
pub use stack::Positions;

room_sdk::export!(ScriptRoom);
