//! `room schema`: the JSON schema of `room.toml`.

use crate::{manifest, print};
use std::process::ExitCode;

/// Prints the schema.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    print::data(serde_json::to_string_pretty(&manifest::schema())?);
    Ok(ExitCode::SUCCESS)
}
