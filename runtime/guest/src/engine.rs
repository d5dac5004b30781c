//! The one wasmtime engine of the process. Owns the allocation of memories, the tick, and that a module is
//! compiled and kept once, however many projects run it.
//!
//! Invariant: a process has one pool, and it is never larger than the kernel lets this process map. It does
//! not know what a module does.
//!
//! Memories come from wasmtime's pool with copy-on-write images: instantiating costs 10 µs instead of 17 µs
//! on demand, and a fresh instance after a fault is as cheap as the first. A live instance takes six mappings
//! (four for its memory, two for a fiber's stack) of the 65,530 that Linux allows a process by default, so
//! [`SharedEngine::rooms_max`] follows that limit. An arena of our own would need no mapping a room, but it
//! costs 12 to 16 % more time in guests and unsafe code; it pays beyond 10,000 rooms.
//!
//! A slot keeps no memory when its instance is gone. The pool could keep only the low end of a memory. In a
//! Rust guest that is the far end of the stack, which nothing else ever touches.

use crate::budget::GuestMemory;
use crate::function_cache::FunctionCache;
use crate::host::HostState;
use crate::module::{CompiledCode, CompiledModule, LoadError};
use hashbrown::HashMap;
use room_core::config::ModuleSource;
use room_core::id::ModuleHash;
use room_core::limits::fixed::TABLE_ELEMENTS_MAX;
use room_core::limits::{Limits, MEMORY_BYTES_CEILING, ms, size};
use room_core::lock::lock;
use room_core::logs::Logs;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use wasmtime::component::Linker;
use wasmtime::{
    Cache, CacheConfig, Config, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig,
};

/// A component made from one module is three core instances: the module and two shims.
const CORE_INSTANCES_PER_ROOM: u64 = 3;
/// The mappings of one live instance, which count against `vm.max_map_count`.
const MAPPINGS_PER_ROOM: u64 = 6;
/// Mappings that the rest of the process needs: libraries, threads, the heap, compiled code.
const MAPPINGS_RESERVED: u64 = 5_000;
/// Linux' default for `vm.max_map_count`, assumed where the file cannot be read.
const MAPPINGS_DEFAULT: u64 = 65_530;
/// Host functions run on the guest's fiber. They need this much beside the guest's own stack.
const HOST_STACK_BYTES: u64 = 512 * 1024;
/// The address space of a memory whose guest needs no checks of its bounds: all that 32 bits reach.
const RESERVED_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// The guard between two memories, as wasmtime has it.
const GUARD_BYTES: u64 = 32 * 1024 * 1024;
/// Upper bound for all guest memories. Linux gives a process 128 TiB; the remainder is left for heap, stacks and
/// libraries.
const ADDRESS_SPACE_BYTES: u64 = 120 * 1024 * 1024 * 1024 * 1024;

/// The engine of the process, which compiles and runs the guests of all projects. Cheap to clone; clones are
/// the same engine.
#[derive(Clone)]
pub struct SharedEngine(Arc<EngineShared>);

struct EngineShared {
    inner: wasmtime::Engine,
    linker: Linker<HostState>,
    rooms_max: u64,
    memory: GuestMemory,
    /// The modules that projects hold.
    modules: HeldByHash<CompiledModule>,
    /// Their code, which modules share that differ in their attachments alone.
    codes: HeldByHash<CompiledCode>,
}

/// What some part of the process holds, by the hash of the bytes that it is made of. Each entry has a lock of its own, so
/// that one of several that ask for it at the same time makes it.
pub(super) struct HeldByHash<T>(Mutex<HashMap<ModuleHash, Arc<Mutex<Weak<T>>>>>);

impl<T> Default for HeldByHash<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> HeldByHash<T> {
    /// Returns what is held under this hash, or the result of `make`.
    ///
    /// # Errors
    /// That of `make`. Nothing is kept then.
    pub(super) fn get<E>(
        &self,
        hash: ModuleHash,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let entry = {
            let mut held = lock(&self.0);
            // Drops the entries of what is gone. A thread that makes something holds a clone of its entry.
            held.retain(|_, entry| {
                let kept = entry.try_lock().map_or(true, |held| held.strong_count() > 0);
                kept || Arc::strong_count(entry) > 1
            });
            held.entry(hash).or_default().clone()
        };
        let mut held = lock(&entry);
        if let Some(present) = held.upgrade() {
            return Ok(present);
        }
        let made = Arc::new(make()?);
        *held = Arc::downgrade(&made);
        Ok(made)
    }
}

/// The engine as one project sees it: with its limits, its count of memory and its log. Cheap to clone;
/// clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: SharedEngine,
    limits: Arc<Limits>,
    memory: GuestMemory,
    logs: Logs,
}

/// The caches of compiled code, beside the modules in use.
#[derive(Clone, Copy, Debug, Default)]
pub struct CodeCaches<'a> {
    /// The folder for whole modules. Without one, every start compiles again.
    pub folder: Option<&'a Path>,
    /// Whether functions are kept in memory, so that an edited module compiles in a third of the time.
    pub functions: bool,
}

/// The reason why an engine could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the WebAssembly engine: {0}")]
pub struct EngineError(pub String);

impl SharedEngine {
    /// Makes an engine with a pool for as many instances as these limits allow.
    ///
    /// # Errors
    /// [`EngineError`]: the address space for the pool is not available, or the cache folder cannot be made.
    pub fn new(limits: &Limits, caches: CodeCaches<'_>) -> Result<Self, EngineError> {
        let fail = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let rooms_max = rooms_max(limits, mappings_max());
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            // The bits of a NaN must not depend on the machine: a turn is a function of its inputs. A loop of
            // nothing but floating-point arithmetic takes three to eight times as long with this, other code
            // as long as before.
            .cranelift_nan_canonicalization(true)
            .relaxed_simd_deterministic(true)
            .max_wasm_stack(size(limits.stack_bytes_max))
            .async_stack_size(size(limits.stack_bytes_max + HOST_STACK_BYTES))
            // A backtrace names functions all the same. For files and lines, wasmtime would parse the
            // module's debug sections again for each frame of each trap: a panic would take a second of the
            // thread.
            .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
            .memory_reservation(reserved(rooms_max + spare_instances(limits)))
            .memory_guard_size(GUARD_BYTES)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits, rooms_max)));
        if caches.functions {
            let functions = Arc::new(FunctionCache::default());
            config.enable_incremental_compilation(functions).map_err(fail)?;
        }
        if let Some(dir) = caches.folder {
            let mut cache = CacheConfig::new();
            cache.with_directory(dir);
            config.cache(Some(Cache::new(cache).map_err(fail)?));
        }
        let inner = wasmtime::Engine::new(&config).map_err(fail)?;
        let linker = crate::host::linker(&inner).map_err(fail)?;
        spawn_ticker(inner.weak(), limits.tick_ms).map_err(|e| EngineError(e.to_string()))?;
        let memory = GuestMemory::default();
        let (modules, codes) = (HeldByHash::default(), HeldByHash::default());
        Ok(Self(Arc::new(EngineShared { inner, linker, rooms_max, memory, modules, codes })))
    }

    /// Returns how many rooms of all projects together can have an instance at the same time.
    pub fn rooms_max(&self) -> u64 {
        self.0.rooms_max
    }

    /// Returns the engine for a project with these limits, whose guests write to `logs`.
    pub fn for_project(&self, limits: Arc<Limits>, logs: Logs) -> Engine {
        let memory = self.0.memory.of_another_project();
        Engine { shared: self.clone(), limits, memory, logs }
    }
}

impl Engine {
    /// Returns the count of this project's guest memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Returns the log that the guests of this project write to.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Returns the limits that hold for guests of this project.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Compiles and checks a module, unless a project of this process holds it already: then its bytes are not
    /// even read. Takes tens of milliseconds, or less than one if the module is in the cache folder: not for an
    /// async thread.
    ///
    /// # Errors
    /// [`LoadError`] names the fault of the module. The engine keeps nothing of the module.
    pub fn load(&self, source: &ModuleSource) -> Result<crate::Module, LoadError> {
        crate::Module::load(self, source)
    }

    /// Returns the modules that the projects of this process hold.
    pub(super) fn modules(&self) -> &HeldByHash<CompiledModule> {
        &self.shared.0.modules
    }

    /// Returns the code of these modules.
    pub(super) fn codes(&self) -> &HeldByHash<CompiledCode> {
        &self.shared.0.codes
    }

    pub(super) fn inner(&self) -> &wasmtime::Engine {
        &self.shared.0.inner
    }

    pub(super) fn linker(&self) -> &Linker<HostState> {
        &self.shared.0.linker
    }
}

/// Returns the number of rooms that fit: as many as the limits ask for, but no more than the kernel's
/// mappings allow.
fn rooms_max(limits: &Limits, mappings: u64) -> u64 {
    let fit = mappings.saturating_sub(MAPPINGS_RESERVED) / MAPPINGS_PER_ROOM;
    if limits.rooms_active_max + spare_instances(limits) <= fit {
        return limits.rooms_active_max;
    }
    let rooms = fit.saturating_sub(spare_instances(limits)).max(1);
    tracing::warn!(
        rooms,
        wanted = limits.rooms_active_max,
        "fewer live rooms than rooms_active_max: each takes {MAPPINGS_PER_ROOM} memory mappings, \
         and this kernel allows {mappings}; raise it with sysctl vm.max_map_count"
    );
    rooms
}

/// Returns the number of instances beside those of the rooms: hooks at the door, and new code that has not
/// taken over yet.
fn spare_instances(limits: &Limits) -> u64 {
    limits.door_instances_max + limits.reload_rooms_max
}

/// Returns the address space for each of this many memories. Where it is less than all that 32 bits reach,
/// wasmtime checks the guests' bounds, which costs the guests up to a sixth of their time.
fn reserved(instances: u64) -> u64 {
    let fits = instances.saturating_mul(RESERVED_BYTES + GUARD_BYTES) <= ADDRESS_SPACE_BYTES;
    if fits { RESERVED_BYTES } else { MEMORY_BYTES_CEILING }
}

fn mappings_max() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    text.trim().parse().unwrap_or(MAPPINGS_DEFAULT)
}

fn pool(limits: &Limits, rooms_max: u64) -> PoolingAllocationConfig {
    let instances = rooms_max + spare_instances(limits);
    let count = |of: u64| u32::try_from(of).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count(instances))
        .total_core_instances(count(instances * CORE_INSTANCES_PER_ROOM))
        .total_memories(count(instances))
        .total_tables(count(instances * CORE_INSTANCES_PER_ROOM))
        .total_stacks(count(instances))
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(size(MEMORY_BYTES_CEILING));
    pool
}

/// Advances the epoch every tick, until the engine is gone. It has a thread of its own, because ticks matter
/// just when guests keep every async thread busy.
fn spawn_ticker(engine: EngineWeak, tick_ms: u64) -> std::io::Result<()> {
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(ms(tick_ms));
        }
    };
    std::thread::Builder::new().name("room-tick".to_owned()).spawn(tick).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_fits_the_kernels_mappings() {
        let limits = Limits::default();
        assert_eq!(rooms_max(&limits, MAPPINGS_DEFAULT), 10_000);
        assert_eq!(rooms_max(&limits, 35_000), 4_936);
        assert_eq!(rooms_max(&limits, 0), 1);
    }

    #[test]
    fn the_pool_fits_the_address_space() {
        assert_eq!(reserved(10_000), RESERVED_BYTES);
        assert_eq!(reserved(30_000), RESERVED_BYTES);
        assert_eq!(reserved(50_000), MEMORY_BYTES_CEILING);
    }
}
