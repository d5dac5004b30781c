//! The command `room`. Owns the way from the command line to an exit code.
//!
//! Invariant: 0 is done, 1 is a mistake of the user with a way out named, 2 is ours. It does not know
//! what any command does: that is `commands/`, in reading order `new`, `init`, `dev`, `build`, `test`, `serve`,
//! `deploy`, `logs`, `backup`, `export`, `rooms`, `inspect`, `storage`, `close`, `bench`, `limits`, `schema`,
//! `explain`, `completions`. A project is read by `project`, `manifest` and `dotenv`, cargo is spoken to by
//! `cargo`, the loop of `room dev` is `dev/`, the data of rooms is found by `place` and `data`, a running server by
//! `control`, reached by `link` and asked by `server` and `stream`, about rooms by `operator`, about what was
//! deployed by `remote`, loaded by `bench`. `workspace` is the one a new package lies in. `files` is how many connections the system allows, and only `print`
//! prints. `log` and `traces` say what happens meanwhile, to the terminal and to a collector.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod cargo;
mod codes;
mod commands;
mod component;
mod control;
mod data;
mod dev;
mod dotenv;
mod files;
mod link;
mod log;
mod manifest;
mod mistake;
mod operator;
mod output;
mod partykit;
mod place;
mod print;
mod progress;
mod project;
mod remote;
mod server;
mod stream;
mod template;
mod traces;
mod workspace;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Clap leaves with 2 for a wrong command line, which is the user's mistake here.
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(refusal) => return print::usage(&refusal),
    };
    match commands::run(args) {
        Ok(code) => code,
        Err(err) => print::failure(&err),
    }
}
