//! `room schema`. Owns nothing but the way to stdout.
//!
//! Invariant: what is printed is what `manifest` reads. It does not know projects, and needs none.

use crate::{manifest, print};
use std::process::ExitCode;

/// Prints the schema.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    print::data(serde_json::to_string_pretty(&manifest::schema())?);
    Ok(ExitCode::SUCCESS)
}
