//! `room test`. Owns what a failed test means for the exit code.
//!
//! Invariant: it runs what `cargo test` would, so that both agree. It does not know what is tested.

use super::wait_for;
use crate::args::TestArgs;
use crate::building::BuildPlan;
use crate::project::Project;
use std::process::ExitCode;

/// Runs the tests; a failed one is the user's.
pub(crate) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let project = Project::find(&args.project)?;
    let plan = BuildPlan::of(&project)?;
    let passed = wait_for(plan.test(&args.rest))?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
