//! The load of `room bench`. Owns the way from a plan to its outcome, on one thread.
//!
//! In reading order: `figures` is the plan and the outcome, `run` the order of a run, `parts` the scenarios,
//! `message` and `check` the messages and whether they came back, `pace` when they are due, `open`, `target`, `link`
//! and `frames` the connections, `memory` the server's process. Invariant: a run ends by itself or by Ctrl-C, and
//! reports what it has measured either way. It does not know how the outcome is printed.

mod check;
mod figures;
mod frames;
mod link;
mod memory;
mod message;
mod open;
mod pace;
mod parts;
mod run;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use figures::{LoadOutcome, LoadPlan, table};
pub(crate) use run::{Ended, RunLength};
pub(crate) use target::Target;

use crate::codes::Code;
use crate::dev::Stop;
use crate::mistake::Mistake;
use crate::print;
use link::Broken;
use parts::{Prepared, Running};
use run::Run;
use std::rc::Rc;
use tokio::task::LocalSet;

/// Checks that the room for benchmarks answers at a target.
///
/// # Errors
/// A mistake: no server answers, or another room does.
///
/// # Cancel safety
/// The connection is closed.
pub(crate) async fn probe(target: &Target) -> anyhow::Result<()> {
    let tasks = LocalSet::new();
    match tasks.run_until(target.open("bench-probe")).await {
        Ok((link, _)) => {
            link.close();
            Ok(())
        }
        Err(err @ (Broken::Io(_) | Broken::Silent(_))) => {
            let message = format!("no server answers at {}: {err}", target.addr);
            Err(Mistake::new(Code::NoAnswer, message)
                .help("start a server, as `room dev rooms-examples/bench` does, and take the URL it prints")
                .into())
        }
        Err(err) => {
            let message = format!("{} does not serve the room for benchmarks: {err}", target.addr);
            Err(Mistake::new(Code::NotTheBench, message)
                .help("serve it with `room dev rooms-examples/bench`, or deploy that folder; --party names \
                       another party")
                .into())
        }
    }
}

/// Runs the plans at the same time. Returns the outcome of each, and who ended the run; nothing if it ended before
/// the first message.
///
/// # Errors
/// A mistake: the connections could not be opened.
///
/// # Cancel safety
/// All connections are closed.
pub(crate) async fn measure(
    target: &Rc<Target>,
    plans: &[LoadPlan],
    length: RunLength,
    stop: &mut Stop,
) -> anyhow::Result<(Vec<LoadOutcome>, Ended)> {
    let connections = plans.iter().map(|plan| plan.clients + 1).sum();
    open::allow(connections)?;
    target.plan(connections);
    let measuring = async {
        let opening = async {
            let mut parts = Vec::new();
            for plan in plans {
                parts.push(Prepared::of(target, plan).await?);
            }
            anyhow::Ok(parts)
        };
        let parts = tokio::select! {
            opened = opening => opened?,
            () = stop.asked() => return Ok((Vec::new(), Ended::ByUser)),
        };
        let run = Run::begin(length);
        let parts: Result<Vec<_>, _> = parts.into_iter().map(|part| part.start(&run)).collect();
        let mut parts = parts?;
        let progress = || parts.iter().map(Running::progress).collect::<Vec<_>>().join(", ");
        let ended = run.measured(stop, &progress).await;
        parts.iter_mut().for_each(Running::ending);
        run.drained(length.patience, stop).await;
        print::clear_line();
        Ok((parts.into_iter().map(Running::outcome).collect(), ended))
    };
    // Tasks that still run on it end with it.
    LocalSet::new().run_until(measuring).await
}
