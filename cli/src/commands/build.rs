//! `room build`. Owns the report about a component.
//!
//! Invariant: one line, or one JSON object, for each party. It does not know how a package is compiled.

use super::wait_for;
use crate::args::BuildArgs;
use crate::building::{BuildOutcome, BuildPlan, Component, Noise};
use crate::component::imports;
use crate::print::{self, BOLD, DIM, counted, styled};
use crate::project::{Project, shown};
use crate::script::ScriptForm;
use room_runtime::id::ModuleHash;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// The component of one party.
#[derive(Debug, Serialize)]
struct BuiltModule {
    party: String,
    path: PathBuf,
    bytes: usize,
    hash: String,
    imports: Vec<String>,
}

/// Builds and prints the components.
pub(crate) fn run(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let project = Project::find(&args.project)?;
    let plan = BuildPlan::of(&project)?;
    let components =
        match wait_for(plan.build(&args.profile, Noise::Full, ScriptForm::Frozen))?.outcome {
            BuildOutcome::Built(components) => components,
            BuildOutcome::Refused(_) => return Ok(ExitCode::from(1)),
        };
    let made = components.into_iter().map(BuiltModule::of).collect::<anyhow::Result<Vec<_>>>()?;
    if args.json {
        print::data(serde_json::to_string_pretty(&made)?);
    } else {
        made.iter().for_each(|made| print::data(made.line()));
    }
    Ok(ExitCode::SUCCESS)
}

impl BuiltModule {
    fn of(component: Component) -> anyhow::Result<Self> {
        Ok(Self {
            party: component.party.to_string(),
            imports: imports(&component.bytes)?,
            hash: ModuleHash::of(&component.bytes).to_string(),
            bytes: component.bytes.len(),
            path: component.path,
        })
    }

    fn line(&self) -> String {
        let Self { party, path, bytes, hash, imports } = self;
        let facts =
            format!("{} KiB · {} · {hash}", bytes.div_ceil(1024), counted(imports.len(), "import"));
        format!("{}  {}  {}", styled(BOLD, party), shown(path), styled(DIM, facts))
    }
}
