//! The time that wasmtime takes, before the runtime adds anything: making an instance, and calls into it.
//!
//! Invariant: engines are configured as the runtime's is, but for the number of places in the pool. It does not know
//! the runtime.

#[path = "../src/guest.rs"]
mod guest;

use criterion::Criterion;
use futures_util::FutureExt;
use std::time::Duration;
use wasmtime::component::{Component, Instance, InstancePre, Linker, TypedFunc};
use wasmtime::{
    Config, Engine, Error, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store,
};

/// The smallest functions to call: one that does nothing, and one that returns its text.
const TINY: &str = r#"(component
  (core module $tiny
    (memory (export "memory") 1)
    (func (export "place") (param i32 i32 i32 i32) (result i32) i32.const 64)
    (func (export "nothing"))
    (func (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 0) (local.get 0))
      (i32.store (i32.const 4) (local.get 1))
      i32.const 0))
  (core instance $tiny (instantiate $tiny))
  (alias core export $tiny "memory" (core memory $memory))
  (alias core export $tiny "place" (core func $place))
  (alias core export $tiny "nothing" (core func $nothing))
  (alias core export $tiny "echo" (core func $echo))
  (func (export "nothing") (canon lift (core func $nothing)))
  (func (export "echo") (param "text" string) (result string)
    (canon lift (core func $echo) (memory $memory) (realloc $place))))"#;

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let room = guest::build("room-example-bench").map_err(|err| Error::msg(format!("{err:#}")))?;
    let room = std::fs::read(room)?;
    let tiny = wat::parse_str(TINY)?;
    let kinds = [("pooling", pooling()), ("on demand", InstanceAllocationStrategy::OnDemand)];
    for (kind, strategy) in kinds {
        let engine = engine(strategy)?;
        for (name, bytes) in [("tiny", &tiny), ("bench room", &room)] {
            let component = prepared(&engine, bytes)?;
            criterion.bench_function(&format!("instantiate/{kind}/{name}"), |b| {
                b.iter(|| instance(&engine, &component));
            });
        }
    }
    calls(&mut criterion, &tiny)?;
    criterion.final_summary();
    Ok(())
}

/// Measures calls on the caller's stack, and on a fiber of their own, as the runtime makes all of its calls.
fn calls(criterion: &mut Criterion, tiny: &[u8]) -> Result<()> {
    let engine = engine(pooling())?;
    let (mut store, instance) = instance(&engine, &prepared(&engine, tiny)?)?;
    let nothing: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "nothing")?;
    criterion.bench_function("call/nothing", |b| b.iter(|| nothing.call(&mut store, ())));
    criterion.bench_function("call/nothing, on a fiber", |b| {
        b.iter(|| nothing.call_async(&mut store, ()).now_or_never());
    });
    let echo: TypedFunc<(&str,), (String,)> = instance.get_typed_func(&mut store, "echo")?;
    for bytes in [32, 4_096] {
        let text = "x".repeat(bytes);
        let (came,) = echo.call(&mut store, (&text,))?;
        assert_eq!(came, text);
        criterion.bench_function(&format!("call/echo {bytes} bytes"), |b| {
            b.iter(|| echo.call(&mut store, (&text,)));
        });
        criterion.bench_function(&format!("call/echo {bytes} bytes, on a fiber"), |b| {
            b.iter(|| echo.call_async(&mut store, (&text,)).now_or_never());
        });
    }
    Ok(())
}

/// Returns an engine as in `runtime/guest/src/engine.rs`.
fn engine(strategy: InstanceAllocationStrategy) -> Result<Engine> {
    const STACK_BYTES: usize = 512 * 1024;
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(2 * STACK_BYTES)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        .allocation_strategy(strategy);
    Engine::new(&config)
}

fn pooling() -> InstanceAllocationStrategy {
    const PLACES: u32 = 16;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(PLACES)
        .total_core_instances(PLACES * 3)
        .total_memories(PLACES)
        .total_tables(PLACES * 3)
        .total_stacks(PLACES)
        .table_elements(20_000)
        .max_memory_size(64 * 1024 * 1024)
        .linear_memory_keep_resident(64 * 1024);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Returns a component whose imports are not called here.
fn prepared(engine: &Engine, bytes: &[u8]) -> Result<InstancePre<()>> {
    let component = Component::from_binary(engine, bytes)?;
    let mut linker = Linker::new(engine);
    linker.define_unknown_imports_as_traps(&component)?;
    linker.instantiate_pre(&component)
}

/// Returns an instance that no tick stops.
fn instance(engine: &Engine, component: &InstancePre<()>) -> Result<(Store<()>, Instance)> {
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    let made = component.instantiate_async(&mut store).now_or_never();
    let instance =
        made.ok_or_else(|| Error::msg("it waits, and there is nothing to wait for"))??;
    Ok((store, instance))
}
