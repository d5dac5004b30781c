//! The functions of a live guest. Owns how they are found, and how those are called that a module may do without.
//!
//! Invariant: a module that lacks an optional callback does nothing when it is called. It does not know what a call means.

use crate::bindings::Core as World;
use crate::bindings::project::Project;
use crate::bindings::room::runtime::{timers, types};
use crate::host::HostState;
use crate::module::{Module, OptionalExports, OutcallExports};
use crate::outcalls::OutcallCallbacks;
use crate::streams::{End, Piece};
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower, TypedFunc};

pub(crate) type Callback<P> = TypedFunc<P, (Result<(), String>,)>;
type OptionalCallbacks = OptionalExports<
    Callback<()>,
    Callback<(timers::Timer,)>,
    Callback<(String, u64)>,
    TypedFunc<(), ()>,
    Callback<(String, Piece)>,
    Callback<(String, End)>,
    Callback<(types::MessageResult,)>,
>;
pub(crate) type CallResult<T> = wasmtime::Result<Result<T, String>>;

/// The functions of a guest.
pub(super) struct GuestExports {
    pub(super) world: World,
    /// The callbacks that a module may do without.
    pub(super) optional: OptionalCallbacks,
    pub(super) outcalls: OutcallCallbacks,
    /// The answers outside of rooms, if the module has them.
    pub(super) project: Option<Project>,
}

impl GuestExports {
    /// Makes an instance and finds its exports, including those that not every module has.
    ///
    /// # Errors
    /// The instance cannot be made: its initialisers failed, or no slot of the pool is free.
    ///
    /// # Cancel safety
    /// If the future is dropped, the store must be dropped, too.
    pub(super) async fn enter(
        module: &Module,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self> {
        let compiled = &module.compiled.code;
        let instance = compiled.pre.instantiate_async(&mut *store).await?;
        let world = compiled.exports.load(&mut *store, &instance)?;
        let OptionalExports {
            on_expire,
            on_tick,
            on_timer,
            on_cron,
            run,
            on_body,
            on_stream_close,
            on_publish,
        } = &compiled.optional;
        let optional = OptionalExports {
            on_expire: callback(&instance, store, on_expire.as_ref())?,
            on_tick: callback(&instance, store, on_tick.as_ref())?,
            on_timer: callback(&instance, store, on_timer.as_ref())?,
            on_cron: callback(&instance, store, on_cron.as_ref())?,
            run: callback(&instance, store, run.as_ref())?,
            on_body: callback(&instance, store, on_body.as_ref())?,
            on_stream_close: callback(&instance, store, on_stream_close.as_ref())?,
            on_publish: callback(&instance, store, on_publish.as_ref())?,
        };
        let OutcallExports { on_response, on_answer, on_call, on_chunk } = &compiled.outcalls;
        let outcalls = OutcallCallbacks(OutcallExports {
            on_response: callback(&instance, store, on_response.as_ref())?,
            on_answer: callback(&instance, store, on_answer.as_ref())?,
            on_call: callback(&instance, store, on_call.as_ref())?,
            on_chunk: callback(&instance, store, on_chunk.as_ref())?,
        });
        let project = compiled.project.as_ref();
        let project = project.map(|indices| indices.load(&mut *store, &instance)).transpose()?;
        Ok(Self { world, optional, outcalls, project })
    }
}

/// Returns the function of an instance at this index, if there is one.
fn callback<P: ComponentNamedList + Lower, R: ComponentNamedList + Lift>(
    instance: &wasmtime::component::Instance,
    store: &mut Store<HostState>,
    index: Option<&ComponentExportIndex>,
) -> wasmtime::Result<Option<TypedFunc<P, R>>> {
    index.map(|index| instance.get_typed_func(store, index)).transpose()
}

/// Calls a callback. A module that does not have it does nothing.
pub(crate) async fn call_optional<P: ComponentNamedList + Lower>(
    callback: Option<Callback<P>>,
    store: &mut Store<HostState>,
    params: P,
) -> CallResult<()> {
    match callback {
        Some(callback) => callback.call_async(store, params).await.map(|(done,)| done),
        None => Ok(Ok(())),
    }
}
