//! The command `room`. Owns the way from the command line to an exit code.
//!
//! Invariant: 0 is done, 1 is a mistake of the user with a way out named, 2 is ours. It does not know what any
//! command does: that is `commands/`, in reading order `new`, `init`, `dev`, `build`, `test`, `serve`, `deploy`,
//! `logs`, `backup`, `export`, `rooms`, `inspect`, `storage`, `close`, `bench`, `limits`, `schema`, `explain`,
//! `completions`. `project`, `manifest` and `dotenv` read a project, `cargo` calls cargo, and `dev/` is the loop of
//! `room dev`. `place` and `data` find the data of rooms. `control` finds a running server, `link` reaches it,
//! `server` and `stream` ask it, `operator` asks about rooms, `remote` about deployments, and `bench` loads it.
//! `workspace` is the one a new package lies in. `files` is how many connections the system allows, and only `print`
//! prints. `log` and `traces` report the work, to the terminal and to a collector.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod building;
mod cargo;
mod cluster;
mod codes;
mod commands;
mod component;
mod control;
mod data;
mod dev;
mod dotenv;
mod files;
mod import;
mod link;
mod log;
mod manifest;
mod mistake;
mod operator;
mod output;
mod place;
mod print;
mod progress;
mod project;
mod remote;
mod script;
mod server;
mod stream;
mod template;
mod traces;
mod workspace;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Clap exits with 2 for an invalid command line, which is the user's mistake here.
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(refusal) => return print::usage(&refusal),
    };
    match commands::run(args) {
        Ok(code) => code,
        Err(err) => print::failure(&err),
    }
}
