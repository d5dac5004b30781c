//! The engine with a script, as a component. Owns the engine and the images of its memory.
//!
//! Invariant: while a script is evaluated here it reaches nothing: no file, no network, no room, no time, no chance; and it
//! ends in bounded time and memory. The same script gives the same bytes. The engine is compiled once, and kept on disk
//! between runs. It does not know where scripts come from.
//!
//! A script to be deployed is frozen: evaluated once, so that a room starts from the heap that is left, and rooms share
//! its memory. That makes a new component, whose compilation takes a second or more. So in `room dev` the script is data
//! behind a component that stays the same: the engine with its library in the heap. There each room evaluates the script
//! when it starts.

use super::engine;
use super::positions::BundlePositions;
use super::sandbox;
use anyhow::{Context as _, anyhow};
use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::OnceCell;
use wasm_encoder::{ComponentSection as _, CustomSection};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Instance, Lift, Linker, ResourceTable, WasmList};
use wasmtime::{Engine, Store, StoreLimits, StoreLimitsBuilder, Trap};
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

/// The engine's functions that evaluate a script, and the library alone.
const FREEZE: &str = "freeze";
const WARM: &str = "warm";

/// The custom section behind a component that holds a script.
const ATTACHMENT: &str = "room:attachment";

/// The longest that the top level of a script runs, and the step in which that is counted.
const TIME_MAX: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_secs(1);

/// The most memory that it uses, in bytes.
const MEMORY_BYTES_MAX: usize = 256 << 20;

/// The stack of the engine, as a room has it.
const STACK_BYTES_MAX: usize = 3 << 20;

/// The engine, ready to evaluate scripts.
struct Freezer {
    engine: Engine,
    component: Component,
    parts: ComponentContext<'static>,
    wizer: Wizer,
    /// The engine with its library in the heap.
    warm: OnceCell<Vec<u8>>,
}

/// The engine after it evaluated something.
type Evaluated = (Store<FreezingHost>, Instance);

/// A clock that stands still.
struct StoppedClock;

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
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

/// What a script becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScriptForm {
    /// An image of its heap.
    Frozen,
    /// Data behind the engine.
    Attached,
}

/// A script, bundled.
pub(super) struct BundledScript {
    pub(super) source: String,
    /// The export that is the room.
    pub(super) export: String,
    pub(super) positions: BundlePositions,
}

/// Makes a component of a script. Returns the component, or the script's own error.
///
/// # Errors
/// A mistake: this program has no engine. Otherwise a failure of ours.
pub(super) async fn make(
    script: BundledScript,
    form: ScriptForm,
) -> anyhow::Result<Result<Vec<u8>, String>> {
    let runtime = tokio::runtime::Handle::current();
    let made = tokio::task::spawn_blocking(move || {
        let freezer = freezer()?;
        let made = runtime.block_on(async {
            match form {
                ScriptForm::Frozen => freezer.freeze(&script).await,
                ScriptForm::Attached => freezer.attach(&script).await,
            }
        });
        made.map_err(|error| anyhow!("the script cannot be evaluated: {error:#}"))
    });
    made.await.context("the evaluation of a script ended in the middle")?
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
        let engine = sandbox::engine(STACK_BYTES_MAX, TICK)?;
        let mut wizer = Wizer::new();
        wizer.init_func(FREEZE).keep_init_func(true);
        let (parts, instrumented) = wizer.instrument_component(bytes)?;
        let component = Component::new(&engine, &instrumented)?;
        Ok(Self { engine, component, parts, wizer, warm: OnceCell::new() })
    }

    /// Evaluates a script, and makes a component of the heap that it leaves.
    async fn freeze(&self, script: &BundledScript) -> wasmtime::Result<Result<Vec<u8>, String>> {
        match self.evaluate(script).await? {
            Ok(evaluated) => Ok(Ok(self.image(evaluated).await?)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Evaluates a script to find its errors, and puts it behind the engine.
    async fn attach(&self, script: &BundledScript) -> wasmtime::Result<Result<Vec<u8>, String>> {
        if let Err(error) = self.evaluate(script).await? {
            return Ok(Err(error));
        }
        let mut bytes = self.warm().await?.to_vec();
        let mut contents = Vec::new();
        for text in [&script.export, &script.source] {
            contents.extend(u32::try_from(text.len())?.to_le_bytes());
        }
        contents.extend(script.export.as_bytes());
        contents.extend(script.source.as_bytes());
        contents.extend(script.positions.encode());
        let data = Cow::Borrowed(contents.as_slice());
        CustomSection { name: ATTACHMENT.into(), data }.append_to_component(&mut bytes);
        Ok(Ok(bytes))
    }

    /// Returns the engine with its library in the heap, made by the first caller.
    async fn warm(&self) -> wasmtime::Result<&[u8]> {
        let made = self.warm.get_or_try_init(|| async {
            let (mut store, instance) = self.instance().await?;
            let warm = instance.get_typed_func::<(), (Result<(), String>,)>(&mut store, WARM)?;
            let (warmed,) = warm.call_async(&mut store, ()).await?;
            warmed.map_err(wasmtime::Error::msg)?;
            self.image((store, instance)).await
        });
        Ok(made.await?)
    }

    async fn evaluate(
        &self,
        script: &BundledScript,
    ) -> wasmtime::Result<Result<Evaluated, String>> {
        let (mut store, instance) = self.instance().await?;
        let freeze = instance
            .get_typed_func::<(&str, &str, &[u8]), (Result<(), String>,)>(&mut store, FREEZE)?;
        let positions = script.positions.encode();
        let arguments = (script.source.as_str(), script.export.as_str(), positions.as_slice());
        match freeze.call_async(&mut store, arguments).await {
            Ok((Ok(()),)) => Ok(Ok((store, instance))),
            Ok((Err(error),)) => Ok(Err(error)),
            Err(error) => Ok(Err(why(&error))),
        }
    }

    async fn image(&self, (mut store, instance): Evaluated) -> wasmtime::Result<Vec<u8>> {
        let mut state = FrozenState { store: &mut store, instance };
        self.wizer.snapshot_component(&self.parts, &mut state).await
    }

    async fn instance(&self) -> wasmtime::Result<Evaluated> {
        // Neither time nor chance gets into an image.
        let wasi = WasiCtxBuilder::new()
            .wall_clock(StoppedClock)
            .monotonic_clock(StoppedClock)
            .secure_random(Deterministic::new(vec![0]))
            .insecure_random(Deterministic::new(vec![0]))
            .insecure_random_seed(0)
            .build();
        let nothing = FreezingHost {
            wasi,
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new().memory_size(MEMORY_BYTES_MAX).build(),
        };
        let mut store = Store::new(&self.engine, nothing);
        store.limiter(|nothing| &mut nothing.limits);
        store.set_epoch_deadline(TIME_MAX.as_secs() / TICK.as_secs());
        let instance = self.linker()?.instantiate_async(&mut store, &self.component).await?;
        Ok((store, instance))
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
        Some(Trap::StackOverflow) => "the top level of the script recurses too deep".to_owned(),
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
