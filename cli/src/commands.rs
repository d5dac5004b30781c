//! The verbs, one file each. Owns which function does the work of which verb.
//!
//! Invariant: a verb prints data to stdout and everything else to stderr. It asks for nothing, but for `delete` and
//! `delete-room` on a terminal. It needs no project or network for work that is possible without. It does not know
//! how a verb does its work.

mod backup;
mod bench;
mod build;
mod close;
mod completions;
mod crons;
mod deploy;
mod dev;
mod explain;
mod export;
mod init;
mod inspect;
mod limits;
mod logs;
mod new;
mod nodes;
mod rooms;
mod schema;
mod serve;
mod storage;
mod test;
mod ticket;
mod webhooks;

use crate::args::{Args, Command};
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::print;
use anyhow::Context as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;

/// Runs the verb and returns the exit code.
///
/// # Errors
/// A mistake of the user, or a failure of ours; `print::failure` tells them apart.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::New(args) => new::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Dev(args) => dev::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Export(args) => export::export(&args),
        Command::Import(args) => export::import(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Deploy(args) => deploy::deploy(&args),
        Command::List(args) => deploy::list(&args),
        Command::Rollback(args) => deploy::roll_back(&args),
        Command::Env(args) => deploy::env(&args),
        Command::Token(args) => deploy::token(&args),
        Command::Delete(args) => deploy::delete(&args),
        Command::Nodes(args) => nodes::nodes(&args),
        Command::Drain(args) => nodes::drain(&args),
        Command::Rooms(args) => rooms::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Storage(args) => storage::run(&args),
        Command::Crons(args) => crons::run(&args),
        Command::Webhooks(args) => webhooks::run(&args),
        Command::Ticket(args) => ticket::run(&args),
        Command::Kick(args) => close::kick(&args),
        Command::Close(args) => close::close(&args),
        Command::DeleteRoom(args) => close::delete_room(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Limits(args) => limits::run(&args),
        Command::Schema => schema::run(),
        Command::Explain(args) => explain::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Asks the person at the terminal whether something may be deleted.
///
/// # Errors
/// A mistake: there is no terminal.
fn yes(what: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        let message = format!(
            "{what} would be deleted permanently, and there is no terminal on which to ask"
        );
        return Err(Mistake::new(Code::NotConfirmed, message).help("add --yes").into());
    }
    print::talk(format_args!("delete {what}? [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Waits for asynchronous work from a verb. No verb is asynchronous itself.
fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no threads could be started")?;
    let done = runtime.block_on(work);
    // Blocking work without a waiting caller must not delay the exit.
    runtime.shutdown_background();
    done
}
