//! A room whose logic is a script: QuickJS-ng as a room of the SDK.
//!
//! Owns [`ScriptRoom`], which hands each event to the script and takes what the script returns. Invariant: a script meets
//! the same turns, limits and host as a room in Rust, as it reaches the host through the SDK alone. It does not know
//! TypeScript, bundles or files: a script is one ES module, and the library that it may import is embedded.
//!
//! As a component it is frozen with a script (`freeze`), so that a room starts from a heap in which library and script are
//! evaluated already. Natively, and where tests of scripts run (`testing`), the script is evaluated at each start.

mod engine;
mod events;
#[cfg(not(any(feature = "testing", not(target_family = "wasm"))))]
mod freeze;
mod mode;
mod modules;
mod native;
mod script;
#[cfg(not(any(feature = "testing", not(target_family = "wasm"))))]
mod seal;
mod stack;
#[cfg(any(feature = "testing", not(target_family = "wasm")))]
pub mod testing;
mod thrown;
mod values;

pub use engine::check;
pub use events::ScriptRoom;
pub use script::Script;
pub use stack::Positions;

// A component that runs tests has no room of its own.
#[cfg(not(feature = "testing"))]
room_sdk::export!(ScriptRoom);
