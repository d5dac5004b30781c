//! `room completions`: what a shell needs to complete our words.

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
