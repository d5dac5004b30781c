//! One heap with the library and a script in it.
//!
//! Owns [`Engine`]: its making, and the way of an event into the script and out of it. Invariant: when an event ends, its
//! job queue is empty, so that what settles on its own has settled within the turn. It does not know single events.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context as _, anyhow};
use room_sdk::Result;
use room_sdk::prelude::Message;
use rquickjs::function::Args;
use rquickjs::{
    CatchResultExt, CaughtError, Context, Ctx, Function, IntoJs, Module, Object, Persistent,
    Runtime, Value,
};

use crate::mode::Mode;
use crate::modules::{Library, Names};
use crate::script::Script;
use crate::stack::{HeapPositions, Positions, SCRIPT_NAME};
use crate::thrown;
use crate::values::Said;

/// How deep a script may call: bytes of the engine's own stack. Beyond it a script gets a `RangeError`. The machine's stack
/// grows beside it, by up to four times as much in calls, and fourteen times as much in `JSON.parse`. It must not reach the
/// limit `stack_bytes_max`, which is 3 MiB: there a client's nested JSON would cost the room its memory.
///
/// Natively the engine may be compiled without optimizations, and takes several times as much for the same depth.
pub(crate) const STACK_BYTES_MAX: usize =
    if cfg!(target_family = "wasm") { 160 << 10 } else { 1 << 20 };

/// How much a heap grows before its cycles are collected. A collection writes to every object, so that no page of a frozen
/// heap is shared among rooms any more; what has no cycles is freed without it.
const GARBAGE_BYTES_MAX: usize = 2 << 20;

/// Whether heaps with the library are frozen, so that many rooms start from one.
const IS_FROZEN: bool = cfg!(all(target_family = "wasm", not(feature = "testing")));

/// The library's globals, and what takes events.
pub(crate) const GLOBALS: &str = "room:web/index.js";
const DISPATCH: &str = "room:server/dispatch.js";

/// Why the top level of a script does not end.
const UNSETTLED: &str = "the script's top level awaits something that does not settle: nothing answers there, as the \
                         script runs before any room starts; await in onStart instead";

/// A heap with a script in it.
pub(crate) struct Engine {
    // Dropped in this order: values of a heap go before the heap.
    dispatch: Dispatch,
    /// The sender of the latest message, and its id as the script has it.
    sender: RefCell<Option<(String, Persistent<Value<'static>>)>>,
    context: Context,
    positions: Rc<Positions>,
}

/// What the library's dispatcher has.
struct Dispatch {
    enter: Persistent<Function<'static>>,
    message: Persistent<Function<'static>>,
    leave: Persistent<Function<'static>>,
}

/// A heap with the library in it, and no script yet.
pub(crate) struct LibraryHeap {
    // Dropped in this order: values of a heap go before the heap.
    dispatcher: Persistent<Object<'static>>,
    context: Context,
    runtime: Runtime,
}

impl LibraryHeap {
    /// The context of the heap.
    #[cfg(not(any(feature = "testing", not(target_family = "wasm"))))]
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Evaluates the library.
    ///
    /// # Errors
    /// The library fails, which is a fault of ours.
    pub(crate) fn boot() -> Result<Self> {
        let runtime = Runtime::new().context("the engine cannot start")?;
        runtime.set_max_stack_size(STACK_BYTES_MAX);
        runtime.set_loader(Names, Library);
        #[cfg(any(feature = "testing", not(target_family = "wasm")))]
        crate::testing::guard(&runtime, crate::testing::Whose::Room);
        let context = Context::full(&runtime).context("the engine cannot start")?;
        let dispatcher = Mode::Global.run(|| {
            context.with(|ctx| {
                evaluate_library(&ctx, GLOBALS)?;
                let dispatch = evaluate_library(&ctx, DISPATCH)?;
                let dispatch: Object =
                    dispatch.get("default").context("the dispatcher has no default export")?;
                if IS_FROZEN {
                    let prepare: Function = dispatch.get("prepare")?;
                    let prepared = prepare.call::<_, ()>(()).catch(&ctx);
                    prepared.map_err(|error| anyhow!(describe(&error, &Positions::default())))?;
                }
                Ok::<_, anyhow::Error>(Persistent::save(&ctx, dispatch))
            })
        })?;
        // A runtime's settings cannot change while one of its contexts is in use.
        track_rejections(&runtime, &context, &dispatcher)?;
        Ok(Self { dispatcher, context, runtime })
    }
}

impl Engine {
    /// The context of its heap.
    #[cfg(not(any(feature = "testing", not(target_family = "wasm"))))]
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Evaluates the library and a script.
    ///
    /// # Errors
    /// The script throws, awaits something that cannot settle, imports what is not there, or does not export a room.
    pub(crate) fn boot(script: Script) -> Result<Self> {
        Self::start(LibraryHeap::boot()?, script)
    }

    /// Evaluates a script in a heap that has the library.
    ///
    /// # Errors
    /// As [`Engine::boot`].
    pub(crate) fn start(heap: LibraryHeap, script: Script) -> Result<Self> {
        let Script { source, export, positions } = script;
        let positions = Rc::new(positions);
        let LibraryHeap { dispatcher, context, runtime } = heap;
        let dispatch = Mode::Global.run(|| {
            context.with(|ctx| {
                // A heap has no table yet, and nothing else keeps one.
                let _ = ctx.store_userdata(HeapPositions(Rc::clone(&positions)));
                let dispatch = dispatcher.restore(&ctx)?;
                let room = evaluate(&ctx, SCRIPT_NAME, source.into_bytes(), &positions, UNSETTLED)?;
                let load: Function = dispatch.get("load")?;
                let loaded = load.call::<_, ()>((room, export)).catch(&ctx);
                // The stack of this error is the library's.
                loaded.map_err(|error| anyhow!(thrown::message(&error)))?;
                // What the top level left for later runs to its end here, and not in every room.
                while ctx.execute_pending_job() {}
                let evaluated: Function = dispatch.get("evaluated")?;
                let evaluated = evaluated.call::<_, ()>(()).catch(&ctx);
                evaluated.map_err(|error| anyhow!(describe(&error, &positions)))?;
                let function = |name: &str| -> Result<_> {
                    Ok(Persistent::save(&ctx, dispatch.get::<_, Function>(name)?))
                };
                Ok::<_, anyhow::Error>(Dispatch {
                    enter: function("enter")?,
                    message: function("message")?,
                    leave: function("leave")?,
                })
            })
        })?;
        // What evaluation left behind is not in every room's heap.
        runtime.run_gc();
        let held = usize::try_from(runtime.memory_usage().malloc_size).unwrap_or_default();
        runtime.set_gc_threshold(held + GARBAGE_BYTES_MAX);
        Ok(Self { dispatch, sender: RefCell::default(), context, positions })
    }

    /// Hands an event to the script, runs its jobs, and takes its value.
    ///
    /// # Errors
    /// The script's, with its stack in the author's positions.
    pub(crate) fn event<T>(
        &self,
        kind: &str,
        arguments: impl for<'js> FnOnce(&mut Arguments<'js>) -> rquickjs::Result<()>,
        take: impl for<'js> FnOnce(&Ctx<'js>, Value<'js>) -> rquickjs::Result<T>,
    ) -> Result<T> {
        self.context.with(|ctx| {
            let call = || {
                let mut list = Arguments { ctx: ctx.clone(), values: vec![kind.into_js(&ctx)?] };
                arguments(&mut list)?;
                let enter = self.dispatch.enter.clone().restore(&ctx)?;
                let mut args = Args::new(ctx.clone(), list.values.len());
                args.push_args(list.values)?;
                let complete: bool = enter.call_arg(args)?;
                take(&ctx, self.leave(&ctx, complete)?)
            };
            call().catch(&ctx).map_err(|error| anyhow!(describe(&error, &self.positions)))
        })
    }

    /// Hands a message to the script, as [`Engine::event`] does with events.
    ///
    /// # Errors
    /// As [`Engine::event`].
    pub(crate) fn message(&self, sender: &str, message: Message) -> Result<()> {
        self.context.with(|ctx| {
            let call = || {
                let sender = self.sender(&ctx, sender)?;
                let enter = self.dispatch.message.clone().restore(&ctx)?;
                let complete: bool = enter.call((sender, Said(message)))?;
                self.leave(&ctx, complete).map(drop)
            };
            call().catch(&ctx).map_err(|error| anyhow!(describe(&error, &self.positions)))
        })
    }

    /// The id of a message's sender. The one of the message before is the same value again, which the library recognizes
    /// without a look at its characters.
    fn sender<'js>(&self, ctx: &Ctx<'js>, id: &str) -> rquickjs::Result<Value<'js>> {
        let mut latest = self.sender.borrow_mut();
        match &*latest {
            Some((same, value)) if same == id => value.clone().restore(ctx),
            _ => {
                let value = id.into_js(ctx)?;
                *latest = Some((id.to_owned(), Persistent::save(ctx, value.clone())));
                Ok(value)
            }
        }
    }

    /// Runs the jobs of an event, and returns its value. An event that is complete has none.
    fn leave<'js>(&self, ctx: &Ctx<'js>, complete: bool) -> rquickjs::Result<Value<'js>> {
        let idle = !ctx.execute_pending_job();
        if complete && idle {
            return Ok(Value::new_undefined(ctx.clone()));
        }
        let leave = self.dispatch.leave.clone().restore(ctx)?;
        // The dispatcher returns `false` when it started more jobs.
        loop {
            while ctx.execute_pending_job() {}
            let value: Value = leave.call(())?;
            if value.as_bool() != Some(false) {
                return Ok(value);
            }
        }
    }
}

/// The arguments of an event, in order.
pub(crate) struct Arguments<'js> {
    pub(crate) ctx: Ctx<'js>,
    values: Vec<Value<'js>>,
}

impl<'js> Arguments<'js> {
    /// Adds one.
    pub(crate) fn push(&mut self, value: impl IntoJs<'js>) -> rquickjs::Result<()> {
        self.values.push(value.into_js(&self.ctx)?);
        Ok(())
    }
}

/// Evaluates a module of the library.
pub(crate) fn evaluate_library<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Object<'js>> {
    let promise = Module::import(ctx, name)
        .catch(ctx)
        .map_err(|error| anyhow!(describe(&error, &Positions::default())))?;
    let module = promise.finish::<Object>().catch(ctx);
    module.map_err(|error| {
        anyhow!(
            "the engine's library failed in {name}: {}",
            describe(&error, &Positions::default())
        )
    })
}

/// Evaluates a script to its end, and returns its namespace. `unsettled` says why its end cannot come.
pub(crate) fn evaluate<'js>(
    ctx: &Ctx<'js>,
    name: &str,
    source: Vec<u8>,
    positions: &Positions,
    unsettled: &str,
) -> Result<Object<'js>> {
    let fail = |error: CaughtError<'_>| anyhow!(describe(&error, positions));
    let module = Module::declare(ctx.clone(), name, source).catch(ctx).map_err(fail)?;
    let (module, promise) = module.eval().catch(ctx).map_err(fail)?;
    match promise.finish::<()>() {
        Err(rquickjs::Error::WouldBlock) => Err(anyhow!("{unsettled}")),
        ended => ended.catch(ctx).map_err(fail),
    }?;
    module.namespace().context("the script has no exports")
}

/// Tells the dispatcher about promises that are rejected while nobody handles them.
pub(crate) fn track_rejections(
    runtime: &Runtime,
    context: &Context,
    dispatcher: &Persistent<Object<'static>>,
) -> Result<()> {
    let rejected = context.with(|ctx| {
        let rejected: Function = dispatcher.clone().restore(&ctx)?.get("rejected")?;
        Ok::<_, anyhow::Error>(Persistent::save(&ctx, rejected))
    })?;
    runtime.set_host_promise_rejection_tracker(Some(Box::new(
        move |ctx, promise, reason, handled| {
            if let Ok(rejected) = rejected.clone().restore(&ctx) {
                // The tracker has nobody to tell; the dispatcher's function does not throw.
                let _ = rejected.call::<_, ()>((promise, reason, handled));
            }
        },
    )));
    Ok(())
}

/// The text of a script's error: its message and its stack.
pub(crate) fn describe(error: &CaughtError<'_>, positions: &Positions) -> String {
    let mut text = thrown::message(error);
    let stack = positions.rewrite(thrown::stack(error).trim_end());
    if !stack.is_empty() {
        text.push('\n');
        text.push_str(&stack);
    }
    text
}

/// Checks a script as a build does: evaluates it with the library, and drops the heap.
///
/// # Errors
/// What [`Script`] has that cannot become a room, with the author's file and line.
pub fn check(script: Script) -> Result<()> {
    Engine::boot(script).map(drop)
}
