//! The engine with a script in its heap, as a component. Owns the engine and the image of its memory.
//!
//! Invariant: while a script is frozen it reaches nothing: no file, no network, no room; and it ends in bounded time and
//! memory. The engine is compiled once, and kept on disk between runs. It does not know where scripts come from.

use super::engine;
use super::positions::BundlePositions;
use anyhow::{Context as _, anyhow};
use std::sync::OnceLock;
use std::time::Duration;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Instance, Lift, Linker, ResourceTable, WasmList};
use wasmtime::{Cache, CacheConfig, Config, Engine, Store, StoreLimits, StoreLimitsBuilder, Trap};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

/// The engine's function that evaluates a script.
const FREEZE: &str = "freeze";

/// The longest that the top level of a script runs.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The most memory that it uses, in bytes.
const MEMORY_BYTES_MAX: usize = 256 << 20;

/// The engine, ready to evaluate scripts.
struct Freezer {
    engine: Engine,
    component: Component,
    parts: ComponentContext<'static>,
    wizer: Wizer,
}

/// What the engine has while a script is frozen.
struct FreezingHost {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for FreezingHost {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Freezes a script. Returns the component, or the script's own error.
///
/// # Errors
/// A mistake: this program has no engine. Otherwise a failure of ours.
pub(super) async fn freeze(
    source: String,
    export: String,
    positions: BundlePositions,
) -> anyhow::Result<Result<Vec<u8>, String>> {
    let runtime = tokio::runtime::Handle::current();
    let frozen = tokio::task::spawn_blocking(move || {
        let freezer = freezer()?;
        let frozen = runtime.block_on(freezer.freeze(&source, &export, &positions.encode()));
        frozen.map_err(|error| anyhow!("the script cannot be frozen: {error:#}"))
    });
    frozen.await.context("the freezing of a script ended in the middle")?
}

/// The engine of this process, compiled by the first caller.
fn freezer() -> anyhow::Result<&'static Freezer> {
    static FREEZER: OnceLock<Result<Freezer, String>> = OnceLock::new();
    let bytes = engine::component()?;
    let made = FREEZER.get_or_init(|| Freezer::new(bytes).map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|error| anyhow!("the engine for scripts cannot start: {error}"))
}

impl Freezer {
    fn new(bytes: &'static [u8]) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        // Without a cache it is compiled at each start, which takes seconds and harms nothing.
        if let Ok(cache) = Cache::new(CacheConfig::new()) {
            config.cache(Some(cache));
        }
        let engine = Engine::new(&config)?;
        let mut wizer = Wizer::new();
        wizer.init_func(FREEZE).keep_init_func(true);
        let (parts, instrumented) = wizer.instrument_component(bytes)?;
        let component = Component::new(&engine, &instrumented)?;
        let ticks = engine.weak();
        std::thread::Builder::new().name("freezing-clock".to_owned()).spawn(move || {
            while let Some(engine) = ticks.upgrade() {
                engine.increment_epoch();
                std::thread::sleep(Duration::from_secs(1));
            }
        })?;
        Ok(Self { engine, component, parts, wizer })
    }

    async fn freeze(
        &self,
        source: &str,
        export: &str,
        positions: &[u8],
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        let nothing = FreezingHost {
            wasi: WasiCtxBuilder::new().build(),
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new().memory_size(MEMORY_BYTES_MAX).build(),
        };
        let mut store = Store::new(&self.engine, nothing);
        store.limiter(|nothing| &mut nothing.limits);
        store.set_epoch_deadline(TIME_MAX.as_secs());
        let instance = self.linker()?.instantiate_async(&mut store, &self.component).await?;
        let freeze = instance
            .get_typed_func::<(&str, &str, &[u8]), (Result<(), String>,)>(&mut store, FREEZE)?;
        match freeze.call_async(&mut store, (source, export, positions)).await {
            Ok((Ok(()),)) => {}
            Ok((Err(error),)) => return Ok(Err(error)),
            Err(error) => return Ok(Err(why(&error))),
        }
        let mut state = FrozenState { store: &mut store, instance };
        Ok(Ok(self.wizer.snapshot_component(&self.parts, &mut state).await?))
    }

    /// WASI with nothing granted, and a host whose every function refuses.
    fn linker(&self) -> wasmtime::Result<Linker<FreezingHost>> {
        let mut linker = Linker::new(&self.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        for (name, import) in self.component.component_type().imports(&self.engine) {
            let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
            if name.starts_with("wasi:") {
                continue;
            }
            let mut part = linker.instance(name)?;
            for (function, item) in interface.exports(&self.engine) {
                if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                    part.func_new(function, |_, _, _, _| {
                        Err(wasmtime::format_err!("the top level of a script has no room"))
                    })?;
                }
            }
        }
        Ok(linker)
    }
}

/// Why the top level of a script did not end.
fn why(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            format!("the top level of the script ran for longer than {} s", TIME_MAX.as_secs())
        }
        _ => format!("the top level of the script broke the engine: {error:#}"),
    }
}

/// The memory and globals of an instance, for its image.
struct FrozenState<'a> {
    store: &'a mut Store<FreezingHost>,
    instance: Instance,
}

impl FrozenState<'_> {
    async fn read<R: Lift + Send + Sync + 'static>(
        &mut self,
        interface: &str,
        function: &str,
    ) -> R {
        let missing = "the instrumented engine has what reads its state";
        let (_, interface) =
            self.instance.get_export(&mut *self.store, None, interface).expect(missing);
        let (_, function) =
            self.instance.get_export(&mut *self.store, Some(&interface), function).expect(missing);
        let function =
            self.instance.get_typed_func::<(), (R,)>(&mut *self.store, function).expect(missing);
        function.call_async(&mut *self.store, ()).await.expect("reading its state does not trap").0
    }
}

impl ComponentInstanceState for FrozenState<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        interface: &str,
        function: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        let list: WasmList<u8> = self.read(interface, function).await;
        contents(list.as_le_slice(&*self.store));
    }

    async fn call_func_ret_s32(&mut self, interface: &str, function: &str) -> i32 {
        self.read(interface, function).await
    }

    async fn call_func_ret_s64(&mut self, interface: &str, function: &str) -> i64 {
        self.read(interface, function).await
    }

    async fn call_func_ret_f32(&mut self, interface: &str, function: &str) -> u32 {
        self.read::<f32>(interface, function).await.to_bits()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, function: &str) -> u64 {
        self.read::<f64>(interface, function).await.to_bits()
    }
}
