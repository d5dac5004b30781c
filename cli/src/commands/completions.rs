//! `room completions`. Owns nothing but the way to stdout.
//!
//! Invariant: the script is made from the same types that read the command line. It does not
//! know projects, and needs none.

use crate::args::{Args, CompletionsArgs};
use crate::print;
use clap::CommandFactory as _;
use std::process::ExitCode;

/// Prints the script for one shell.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "room", &mut script);
    print::data(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitCode::SUCCESS)
}
