//! The heap of a file of tests.
//!
//! Owns its making, and the way of a test through it. Invariant: a test has ended when its jobs have run, as nothing comes
//! from outside; one that still waits then fails. It does not know rooms.

use anyhow::{Context as _, anyhow};
use room_sdk::Result;
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Function, Object, Persistent, Runtime};

use super::bounds::{self, Whose, guard};
use crate::engine::{
    GLOBALS, STACK_BYTES_MAX, describe, evaluate, evaluate_library, track_rejections,
};
use crate::mode::Mode;
use crate::modules::{Library, Names};
use crate::stack::{Positions, SCRIPT_NAME};
use crate::values::{Text, optional};

/// What declares tests and runs them.
const RUNNER: &str = "room:testing/runner.js";

/// Why the declarations of a file do not end.
const UNSETTLED: &str =
    "the file's top level awaits something that does not settle: nothing comes from outside";

/// A heap with a file of tests in it.
pub(super) struct TestHeap {
    // Dropped in this order: values of a heap go before the heap.
    runner: Persistent<Object<'static>>,
    context: Context,
    positions: Positions,
}

/// Why a test failed: a text, and the lines of the stack.
struct Failure {
    text: String,
    place: String,
}

impl Failure {
    /// Parts a text whose first line says what happened, and whose other lines say where.
    fn of(text: &str) -> Self {
        let (text, place) = text.split_once('\n').unwrap_or((text, ""));
        Self { text: text.to_owned(), place: place.to_owned() }
    }

    fn whole(self, late: Option<&str>) -> String {
        let text = late.map_or(self.text, bounds::test_text);
        if self.place.is_empty() { text } else { format!("{text}\n{}", self.place) }
    }
}

impl TestHeap {
    /// Makes the heap, and evaluates the file.
    pub(super) fn load(source: String, positions: Positions) -> Result<Self> {
        let runtime = Runtime::new().context("the engine cannot start")?;
        runtime.set_max_stack_size(STACK_BYTES_MAX);
        runtime.set_loader(Names, Library);
        guard(&runtime, Whose::Test);
        let context = Context::full(&runtime).context("the engine cannot start")?;
        let runner = Mode::Global.run(|| {
            context.with(|ctx| {
                evaluate_library(&ctx, GLOBALS)?;
                let runner: Object = evaluate_library(&ctx, RUNNER)?
                    .get("default")
                    .context("the runner of tests has no default export")?;
                Ok::<_, anyhow::Error>(Persistent::save(&ctx, runner))
            })
        })?;
        track_rejections(&runtime, &context, &runner)?;
        let heap = Self { runner, context, positions };
        let (loaded, late) = bounds::test(|| Mode::Test.run(|| heap.evaluate(source)));
        match loaded {
            Err(error) if late => {
                let text = Failure::of(&error.to_string()).whole(Some("the file's top level"));
                Err(anyhow!(text))
            }
            loaded => loaded.map(|()| heap),
        }
    }

    fn evaluate(&self, source: String) -> Result<()> {
        let (source, positions) = (source.into_bytes(), &self.positions);
        self.context.with(|ctx| evaluate(&ctx, SCRIPT_NAME, source, positions, UNSETTLED).map(drop))
    }

    /// The names of the tests that the file declares.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        self.context.with(|ctx| {
            let names = || {
                let runner = self.runner.clone().restore(&ctx)?;
                let names: Vec<Text> = runner.get::<_, Function>("names")?.call(())?;
                Ok::<_, rquickjs::Error>(names.into_iter().map(|name| name.0).collect())
            };
            names().catch(&ctx).map_err(|error| anyhow!(describe(&error, &self.positions)))
        })
    }

    /// Runs a test to its end.
    pub(super) fn run(&self, index: u32) -> Result<(), String> {
        let (failure, late) = bounds::test(|| Mode::Test.run(|| self.failure(index)));
        let late = late.then_some("the test");
        match failure {
            None if late.is_none() => Ok(()),
            None => Err(Failure::of("").whole(late)),
            Some(failure) => Err(failure.whole(late)),
        }
    }

    /// Why a test fails, if it does.
    fn failure(&self, index: u32) -> Option<Failure> {
        let thrown = self.context.with(|ctx| {
            let run = || {
                let runner = self.runner.clone().restore(&ctx)?;
                runner.get::<_, Function>("run")?.call::<_, ()>((index,))
            };
            run().catch(&ctx).err().map(|error| Failure::of(&describe(&error, &self.positions)))
        });
        // Always to its end, so that the next test begins with no job of this one.
        let interrupted = self.run_jobs();
        let outcome = self.context.with(|ctx| {
            let outcome = self.outcome(&ctx).catch(&ctx);
            outcome.unwrap_or_else(|error| Some(Failure::of(&describe(&error, &self.positions))))
        });
        thrown.or(interrupted).or(outcome)
    }

    /// Runs jobs until none is left. Returns what ended one of them: an interrupt, which no code can catch.
    fn run_jobs(&self) -> Option<Failure> {
        let mut interrupted = None;
        loop {
            match self.context.runtime().execute_pending_job() {
                Ok(true) => {}
                Ok(false) => return interrupted,
                Err(error) => {
                    let text = error.0.with(|ctx| {
                        let error = CaughtError::from_error(&ctx, rquickjs::Error::Exception);
                        describe(&error, &self.positions)
                    });
                    interrupted.get_or_insert_with(|| Failure::of(&text));
                }
            }
        }
    }

    fn outcome(&self, ctx: &Ctx<'_>) -> rquickjs::Result<Option<Failure>> {
        let runner = self.runner.clone().restore(ctx)?;
        let outcome: Object = runner.get::<_, Function>("outcome")?.call(())?;
        let text: Option<Text> = optional(&outcome, "text")?;
        let stack: Option<Text> = optional(&outcome, "stack")?;
        Ok(text.map(|text| {
            let place = stack.map(|stack| self.positions.rewrite(stack.0.trim_end()));
            Failure { text: text.0, place: place.unwrap_or_default() }
        }))
    }
}
