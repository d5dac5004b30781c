//! The cost of many rooms and many clients, and of an edit of their code. Owns the parts of it, and their order.
//!
//! Invariant: each part starts servers of its own and leaves none; the clients are this process's. It does not know
//! how a part gets its figures.

use crate::page::{self, Row};
use crate::{
    crowded, edits, greedy, growth, guest, memory, neighbours, process, projects, returning,
    rollout, tool,
};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// The tools of a measurement.
#[derive(Clone)]
pub(crate) struct Bench {
    /// `room`, which has the load and the server of operators.
    pub(crate) tool: PathBuf,
    /// The room for benchmarks.
    pub(crate) module: PathBuf,
    /// The number of files that a process may have open.
    pub(crate) files: usize,
}

impl Bench {
    /// Builds both, and raises the number of open files of this process as far as possible.
    ///
    /// # Errors
    /// One of them does not build.
    pub(crate) fn build() -> Result<Self> {
        let module = guest::build("room-example-bench")?;
        Ok(Self { tool: tool::build()?, module, files: process::raise_limits()? })
    }
}

/// A part: its name on the command line, and the function that measures it.
type Part = (&'static str, fn(&Bench) -> Result<Vec<Row>>);

const PARTS: [Part; 10] = [
    ("memory", memory::rows),
    ("live", crowded::rows),
    ("visits", memory::visited),
    ("returning", returning::rows),
    ("growth", growth::rows),
    ("deploy", rollout::rows),
    ("neighbours", neighbours::rows),
    ("projects", projects::rows),
    ("edits", edits::rows),
    ("crowd", greedy::rows),
];

/// Measures these parts, or all if none is named, and prints one table.
///
/// # Errors
/// There is no such part, or one fails.
pub(crate) fn table(named: &[&str]) -> Result<()> {
    if let Some(unknown) = named.iter().find(|name| !PARTS.iter().any(|(part, _)| part == *name)) {
        let parts = PARTS.map(|(name, _)| name).join(", ");
        bail!("scale has no part {unknown:?}, only {parts}");
    }
    page::print(&page::FIGURES, &rows(&Bench::build()?, named)?)
}

/// Returns the rows of these parts, or of all if none is named.
///
/// # Errors
/// One fails.
pub(crate) fn rows(bench: &Bench, named: &[&str]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, measure) in PARTS {
        if named.is_empty() || named.contains(&name) {
            rows.extend(measure(bench).with_context(|| format!("scale {name}"))?);
        }
    }
    Ok(rows)
}
