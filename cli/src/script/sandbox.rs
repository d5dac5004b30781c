//! The wasmtime engines of this program, in which scripts are evaluated and tested. Owns their settings and their clock.
//!
//! Invariant: a call in such an engine can be ended at its deadline, and its stack is bounded. It does not know what is
//! called.

use std::time::Duration;
use wasmtime::{Cache, CacheConfig, Config, Engine};

/// Makes an engine whose calls have a stack of so many bytes, and whose epoch advances at each tick as long as the engine
/// is there.
///
/// # Errors
/// The settings do not fit this machine, or no thread can be started.
pub(super) fn engine(stack_bytes: usize, tick: Duration) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(stack_bytes)
        // The host's functions run on the same stack.
        .async_stack_size(2 * stack_bytes);
    // Without a cache it is compiled at each start, which takes seconds and harms nothing.
    if let Ok(cache) = Cache::new(CacheConfig::new()) {
        config.cache(Some(cache));
    }
    let engine = Engine::new(&config)?;
    let ticks = engine.weak();
    std::thread::Builder::new().name("script-clock".to_owned()).spawn(move || {
        while let Some(engine) = ticks.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(tick);
        }
    })?;
    Ok(engine)
}
