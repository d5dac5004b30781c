//! The engine that runs tests, and an instance with one file of them. Owns the sandbox.
//!
//! Invariant: a test reaches nothing outside but its console: no file, no network, no variable of this process. It ends in
//! bounded time and memory: the engine ends it at its deadline, and this ends the engine if that does not. It does not know
//! where files come from, nor how results are shown.

use super::super::{engine, sandbox};
use super::report;
use anyhow::{Context as _, anyhow};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::component::{Component, Func, Linker, ResourceTable, TypedFunc};
use wasmtime::{
    Engine, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder, Trap, UpdateDeadline,
};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// The most memory of an instance, with the heaps of all rooms of a test, in bytes.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// The stack of an instance: a room runs within a call of the test, and each heap has the stack of a server's room.
const STACK_BYTES: usize = 6 << 20;

/// How long after its deadline a test is still left to the engine's own interrupts.
const GRACE: Duration = Duration::from_secs(3);

/// The pause between two looks at that deadline.
const TICK: Duration = Duration::from_millis(50);

/// The bytes that are kept of what the engine says when it breaks.
const WORDS_BYTES_MAX: usize = 16 * 1024;

/// When a room's clock starts, unless a test says otherwise: 2025-01-01T00:00:00Z.
const START_MS: u64 = 1_735_689_600_000;

/// What all files of a run have.
#[derive(Debug)]
pub(super) struct TestSettings {
    /// Of each party: its name, the source, the export that is the room, the table of positions.
    pub(super) scripts: Vec<(String, String, String, Vec<u8>)>,
    /// The project's variables.
    pub(super) vars: Vec<(String, String)>,
    /// The longest that a test runs.
    pub(super) test_max: Duration,
    /// The longest that a turn runs.
    pub(super) turn_ms: u32,
    /// The most bytes of a heap.
    pub(super) heap_bytes: u32,
}

/// How a test ended.
#[derive(Debug)]
pub(super) enum TestEnd {
    Passed,
    Failed(String),
    /// It failed, and the instance is of no more use.
    Broken(String),
}

/// The engine, ready to run tests.
pub(super) struct TestEngine {
    engine: Engine,
    component: Component,
    linker: Linker<TestHost>,
}

/// What an instance has.
struct TestHost {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
    /// The time of the rooms.
    clock: Arc<AtomicU64>,
    /// When the running call is ended.
    until: Instant,
}

impl WasiView for TestHost {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The wall clock of an instance, which is that of its rooms.
struct RoomClock(Arc<AtomicU64>);

impl HostWallClock for RoomClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Returns the engine of this process, compiled by the first caller.
///
/// # Errors
/// A mistake: this program has no engine.
pub(super) async fn engine() -> anyhow::Result<&'static TestEngine> {
    static ENGINE: OnceLock<Result<TestEngine, String>> = OnceLock::new();
    let made = tokio::task::spawn_blocking(|| {
        let bytes = engine::tester()?;
        let made = ENGINE.get_or_init(|| TestEngine::new(bytes).map_err(|err| format!("{err:#}")));
        made.as_ref().map_err(|error| anyhow!("the engine for tests cannot start: {error}"))
    });
    made.await.context("the start of the engine for tests ended in the middle")?
}

impl TestEngine {
    fn new(bytes: &[u8]) -> wasmtime::Result<Self> {
        let engine = sandbox::engine(STACK_BYTES, TICK)?;
        let component = Component::new(&engine, bytes)?;
        let mut linker = Linker::<TestHost>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        let mut imports = linker.root();
        imports.func_wrap("said", |_, (text,): (String,)| {
            report::said(&text);
            Ok(())
        })?;
        imports.func_wrap("clock", |store, (now,): (u64,)| {
            store.data().clock.store(now, Ordering::Relaxed);
            Ok(())
        })?;
        Ok(Self { engine, component, linker })
    }
}

/// The engine's `test`: the number of a test, and why it failed.
type TestFunction = TypedFunc<(u32,), (Result<(), String>,)>;

/// An instance with one file of tests.
pub(super) struct TestInstance {
    store: Store<TestHost>,
    test: TestFunction,
    /// What the engine says when it breaks.
    words: MemoryOutputPipe,
    test_max: Duration,
}

/// The parameters of the engine's `load`: scripts, variables, bounds, and the file with its table of positions.
type Load<'a> = (
    &'a [(String, String, String, Vec<u8>)],
    &'a [(String, String)],
    (u32, u32, u32),
    (&'a str, &'a [u8]),
);

impl TestInstance {
    /// Evaluates a file of tests. Returns the instance and the names of the file's tests, or the file's error.
    ///
    /// # Errors
    /// A failure of ours.
    pub(super) async fn load(
        engine: &TestEngine,
        settings: &TestSettings,
        (source, positions): &(String, Vec<u8>),
    ) -> anyhow::Result<Result<(Self, Vec<String>), String>> {
        let words = MemoryOutputPipe::new(WORDS_BYTES_MAX);
        let clock = Arc::new(AtomicU64::new(START_MS));
        let wasi = WasiCtxBuilder::new()
            .wall_clock(RoomClock(clock.clone()))
            .stderr(words.clone())
            .build();
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES_MAX).build();
        let until = Instant::now() + settings.test_max + GRACE;
        let host = TestHost { wasi, table: ResourceTable::new(), limits, clock, until };
        let mut store = Store::new(&engine.engine, host);
        store.limiter(|host| &mut host.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store: StoreContextMut<'_, TestHost>| {
            if Instant::now() < store.data().until {
                // The runtime polls other tasks now: a signal may end the run.
                return Ok(UpdateDeadline::Yield(1));
            }
            Err(wasmtime::format_err!("{LATE}"))
        });
        let started = Self::exports(engine, &mut store).await;
        let started = started.map_err(|error| anyhow!("{error:#}"));
        let (load, test) = started.context("the engine for tests cannot start")?;
        let load = load.typed::<Load<'_>, (Result<Vec<String>, String>,)>(&store);
        let load =
            load.map_err(|error| anyhow!("the engine for tests is another one: {error:#}"))?;
        let test_ms = u32::try_from(settings.test_max.as_millis()).unwrap_or(u32::MAX);
        let bounds = (test_ms, settings.turn_ms, settings.heap_bytes);
        let file = (source.as_str(), positions.as_slice());
        let loaded =
            load.call_async(&mut store, (&settings.scripts, &settings.vars, bounds, file)).await;
        let instance = Self { store, test, words, test_max: settings.test_max };
        Ok(match loaded {
            Ok((Ok(names),)) => Ok((instance, names)),
            Ok((Err(why),)) => Err(why),
            Err(error) => Err(instance.why("the file's top level", &error)),
        })
    }

    async fn exports(
        engine: &TestEngine,
        store: &mut Store<TestHost>,
    ) -> wasmtime::Result<(Func, TestFunction)> {
        let instance = engine.linker.instantiate_async(&mut *store, &engine.component).await?;
        let load = instance.get_func(&mut *store, "load");
        let load = load.ok_or_else(|| wasmtime::format_err!("`load` is missing"))?;
        Ok((load, instance.get_typed_func(&mut *store, "test")?))
    }

    /// Runs a test.
    pub(super) async fn test(&mut self, index: u32) -> TestEnd {
        self.store.data_mut().until = Instant::now() + self.test_max + GRACE;
        match self.test.call_async(&mut self.store, (index,)).await {
            Ok((Ok(()),)) => TestEnd::Passed,
            Ok((Err(why),)) => TestEnd::Failed(why),
            Err(error) => TestEnd::Broken(self.why("the test", &error)),
        }
    }

    /// Why the engine broke.
    fn why(&self, what: &str, error: &wasmtime::Error) -> String {
        if error.chain().any(|cause| cause.to_string() == LATE) {
            let seconds = self.test_max.as_secs_f64();
            return format!(
                "{what} ran for longer than {seconds} s in one call of the engine, and was ended"
            );
        }
        if let Some(Trap::StackOverflow | Trap::MemoryOutOfBounds) = error.downcast_ref() {
            return format!("{what} called functions within functions until the stack was full");
        }
        let words = String::from_utf8_lossy(&self.words.contents()).into_owned();
        // The line after "thread … panicked at …".
        let panic = words.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
        match panic {
            Some(panic) => panic.to_owned(),
            None => format!("{what} broke the engine: {}", error.root_cause()),
        }
    }
}

/// The error of a call that is over its deadline.
const LATE: &str = "the deadline of a test has passed";
