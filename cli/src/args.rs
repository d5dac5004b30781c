//! The command line. Owns its words, defaults and manual pages, and nothing else.
//!
//! Invariant: flags override `ROOM_*` variables, which override `room.toml`, which overrides defaults; clap decides
//! the first two here. It does not know what the commands do.

pub(crate) mod address;
pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod operate;
pub(crate) mod remote;
pub(crate) mod ticket;

use crate::output::Existing;
use address::{ListenAt, listen_at};
use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};
use remote::ElsewhereArgs;
use std::path::PathBuf;

/// Make, run and test rooms.
///
/// A room is one named, stateful, single-threaded actor that many clients connect to. You write it in Rust, and
/// `room` compiles it to WebAssembly and serves it over WebSocket and HTTP. A project is a folder with a `room.toml`.
/// Commands look for it from the current folder upward.
#[derive(Debug, Parser)]
#[command(name = "room", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_long_help = "Exit codes: 0 done, 1 a mistake you can put right, 2 a failure of room \
itself.\nColours: NO_COLOR=1 turns them off."
)]
pub(crate) struct Args {
    /// The verb.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(NewArgs),
    Init(InitArgs),
    Dev(DevArgs),
    Build(BuildArgs),
    Test(TestArgs),
    Logs(LogsArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Export(ExportArgs),
    Import(ImportArgs),
    Serve(remote::ServeArgs),
    Deploy(remote::DeployArgs),
    List(remote::ListArgs),
    Rollback(remote::RollbackArgs),
    Env(remote::EnvArgs),
    Token(remote::TokenArgs),
    Delete(remote::DeleteArgs),
    Nodes(cluster::NodesArgs),
    Drain(cluster::DrainArgs),
    Rooms(operate::RoomsArgs),
    Inspect(operate::InspectArgs),
    Storage(operate::StorageArgs),
    Crons(operate::CronsArgs),
    Webhooks(operate::WebhooksArgs),
    Ticket(ticket::TicketArgs),
    Kick(operate::KickArgs),
    Close(operate::CloseArgs),
    DeleteRoom(operate::DeleteRoomArgs),
    Bench(bench::BenchArgs),
    Limits(LimitsArgs),
    /// Print the JSON schema of room.toml
    ///
    /// For editors: save it beside `room.toml` and put `#:schema ./room.schema.json` on that file's first line. The
    /// editor then completes and checks its keys as you type.
    #[command(after_long_help = "Example:\n  room schema > room.schema.json")]
    Schema,
    Explain(ExplainArgs),
    Completions(CompletionsArgs),
}

/// The place of the project.
#[derive(Debug, ClapArgs)]
pub(crate) struct ProjectArgs {
    /// The project's folder [default: found upward from the current folder]
    #[arg(value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub(crate) path: Option<PathBuf>,
    /// The same as PATH, for scripts
    #[arg(long, value_name = "DIR", env = "ROOM_PROJECT", value_hint = ValueHint::DirPath)]
    pub(crate) project: Option<PathBuf>,
}

/// Start a project
///
/// Writes a project that builds, tests and runs untouched. The SDK's source is copied beside it into
/// `vendor/room-sdk`, so that no registry and no checkout is needed. With --sdk the project uses a checkout instead.
/// A project in TypeScript or JavaScript has the npm package `roomkit` in `vendor/roomkit` in its place.
/// A folder with anything but `.git` in it is refused.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room new chat\n  room new apps/score --template counter\n  \
room new talk --template typescript\n  room new mine --template blank --sdk ../room/sdk"
)]
pub(crate) struct NewArgs {
    /// The folder to make, or `.` for this one; its last part is the project's name
    #[arg(value_name = "NAME", value_hint = ValueHint::DirPath)]
    pub(crate) path: PathBuf,
    /// The template to start from
    #[arg(short, long, value_enum, default_value_t = TemplateName::Chat)]
    pub(crate) template: TemplateName,
    /// Use the SDK of this folder instead of a copy of it
    #[arg(long, value_name = "PATH", env = "ROOM_SDK", value_hint = ValueHint::DirPath)]
    pub(crate) sdk: Option<PathBuf>,
}

/// Make a project from a PartyKit or PartyServer project
///
/// Reads a partykit.json (or the `partykit` of a package.json), or a wrangler.jsonc, wrangler.json or wrangler.toml, and
/// writes a room.toml for it. A script runs as it is: each Durable Object that wrangler's file binds is a party, by the
/// binding's name. The command copies the types of rooms into `vendor/roomkit`, and writes a package.json if there is
/// none. A party of PartyKit whose code is not there gets a blank room in Rust, in `rooms/PARTY`. Says for each key what
/// it became, or why it has no counterpart and what to use instead. Overwrites nothing, and adds lines to .gitignore.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room init --from partykit.json\n  room init --from \
wrangler.jsonc\n  room init --from ../chat/package.json chat --json")]
pub(crate) struct InitArgs {
    /// The file to import
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) from: PathBuf,
    /// The project's folder [default: the folder of the file]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) path: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The template of a new project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TemplateName {
    /// A chat room with history and a page to use it
    Chat,
    /// A counter that survives restarts
    Counter,
    /// The smallest room
    Blank,
    /// A chat room in TypeScript
    #[value(name = "typescript")]
    TypeScript,
    /// A chat room in JavaScript
    #[value(name = "javascript")]
    JavaScript,
    /// A chat room in TypeScript, with a page in React
    React,
}

/// Run the project here and reload it at every save
///
/// Builds the project's parties, serves them on this machine, and watches all files that cargo or the bundler has read
/// for them, and `room.toml`. A save is compiled and swapped in between two messages: open sockets, their ids and the rooms'
/// storage stay. If the code does not compile, the compiler's output is shown and the last good code keeps serving.
/// Files of `[assets]` are served from disk, so they need no rebuild.
///
/// The rooms' environment comes from `[vars]` of room.toml, `.env`, `.env.local` and --var, where a later one
/// overrides an earlier one. Nothing of this shell's environment is in it. A save of these files takes effect too.
///
/// The rooms' data is in `.room/state`. The rooms' log lines are printed as they come. Ctrl-C stops: rooms finish
/// their work, and sockets are closed with 1012.
///
/// The dashboard at `/_room/` shows rooms, storage, live messages and logs. It asks for the server's token, which the
/// key d passes to it, and which is in `.room/state/control.json`.
///
/// Keys, if stdin is a terminal: o open (the page, in a browser), d dashboard (in a browser), r rebuild (now, without
/// a save), u url (for other machines, as a QR code, if --host lets them in), c clear (the screen), x reset (delete
/// what rooms have stored, after a y), q quit, h help.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room dev\n  room dev rooms-examples/chat --port 8080\n  \
room dev --host 0.0.0.0 --ephemeral\n  ROOM_LOG=debug room dev"
)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    /// The port [default: 1999, or the next free one]
    #[arg(short, long, env = "ROOM_PORT")]
    pub(crate) port: Option<u16>,
    /// The address to listen on, with or without a port; 0.0.0.0 lets other machines in
    #[arg(long, env = "ROOM_HOST", default_value = "localhost", value_parser = listen_at)]
    pub(crate) host: ListenAt,
    /// Keep the rooms' data in memory only
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Build with this cargo profile
    #[arg(long, value_name = "NAME", default_value = "dev")]
    pub(crate) profile: String,
    /// Set a variable of the rooms; overrides `.env.local`, `.env` and `[vars]` of room.toml; may be repeated
    #[arg(long = "var", value_name = "KEY=VALUE", value_parser = variable)]
    pub(crate) vars: Vec<(String, String)>,
    /// Scan the files again and again, for systems that report no saves; `room dev` also notices those by itself
    #[arg(long)]
    pub(crate) poll: bool,
    /// Print more about the platform's work; twice for everything
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Which log lines to show, as tracing's directives; overrides --verbose
    #[arg(long, value_name = "FILTER", env = "ROOM_LOG")]
    pub(crate) log: Option<String>,
}

/// Build the project for release
///
/// Compiles each party to one WebAssembly component and prints where it is, its size, its number of
/// imports and its hash. The compiler's messages go to stderr.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room build\n  room build --json | jq -r '.[].path'")]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    /// Build with this cargo profile
    #[arg(long, value_name = "NAME", default_value = "release")]
    pub(crate) profile: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Run the project's tests
///
/// Rooms are tested without a server: `TestRoom` is a room with clients, storage and a clock that the test sets.
///
/// For parties in Rust it runs `cargo test` in each package, on this machine's own target. For parties that are scripts
/// it checks the types, and runs the project's files *.test.ts, *.test.js, *.test.mts, *.test.tsx and *.test.jsx in the
/// engine of rooms, so that a test sees what a server does. They import `roomkit/test`.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room test\n  room test history\n  room test --watch\n  \
room test -- --release -- --nocapture")]
pub(crate) struct TestArgs {
    /// Run the tests that have one of these texts in their names; in scripts also by the file's path
    ///
    /// A first one that is the folder of a project, or its `room.toml`, names the project.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The project's folder [default: found upward from the current folder]
    #[arg(long, value_name = "DIR", env = "ROOM_PROJECT", value_hint = ValueHint::DirPath)]
    pub(crate) project: Option<PathBuf>,
    /// Run the tests again whenever a file of the project is saved
    #[arg(long)]
    pub(crate) watch: bool,
    /// The longest that a test of scripts runs, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) timeout: u32,
    /// Arguments for `cargo test`; those before its first option are NAMEs, too
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) rest: Vec<String>,
}

/// The place of the rooms' data.
#[derive(Debug, ClapArgs)]
pub(crate) struct DataArgs {
    /// The data folder [default: `.room/state` of the project, which `room dev` uses]
    #[arg(long, value_name = "DIR", env = "ROOM_DATA", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// The project's folder [default: found upward from the current folder]
    #[arg(long, value_name = "PATH", env = "ROOM_PROJECT", value_hint = ValueHint::DirPath)]
    pub(crate) project: Option<PathBuf>,
}

/// Show what the rooms and the platform log, as it happens
///
/// Asks the server that runs on the data folder: `room dev`, also with --ephemeral. With --to it asks one elsewhere,
/// about one of its projects. It shows the lines of rooms and the platform's lines about them: activations, faults
/// with their backtraces, refused clients, deployments. The server keeps the newest lines (see `room limits`) and
/// filters them before it sends them. A `·` marks the platform's lines.
///
/// With --follow it continues until Ctrl-C: across deployments, and across restarts of the server, for which it waits.
/// If lines were dropped before they could be shown, it prints their number.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room logs -f\n  room logs -f --room 'game-*' --level warn\n  \
room logs --grep timeout --tail 50\n  room logs -f --json | jq -r 'select(.kind == \"guest\") | .text'"
)]
pub(crate) struct LogsArgs {
    /// Continue with new lines
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only rooms whose names match: `*` stands for any text, `?` for any character
    #[arg(long, value_name = "GLOB")]
    pub(crate) room: Option<String>,
    /// Only rooms of this party
    #[arg(long, value_name = "NAME")]
    pub(crate) party: Option<String>,
    /// Only this level and those above
    #[arg(long, value_enum)]
    pub(crate) level: Option<LevelName>,
    /// Only lines with this text in them
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// Start with the last N of these lines [default: 20 with --follow, otherwise all that are kept]
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) tail: Option<u64>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) elsewhere: ElsewhereArgs,
    /// Print a JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// The level of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelName {
    /// Everything
    Trace,
    /// Activations and evictions of rooms, too
    Debug,
    /// Normal events
    Info,
    /// Possible problems
    Warn,
    /// Errors
    Error,
}

impl LevelName {
    /// Returns the server's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The treatment of an existing file.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct ForceArgs {
    /// Replace the file if it exists
    #[arg(short, long)]
    force: bool,
}

impl ForceArgs {
    /// Returns the chosen treatment.
    pub(crate) fn existing(self) -> Existing {
        if self.force { Existing::Replaced } else { Existing::Kept }
    }
}

/// Copy the data of all rooms into one file
///
/// Takes a backup while rooms go on: every room is in it as it was at one and the same moment, with all writes
/// acknowledged before. If a server runs on the data folder, the server makes the backup. Otherwise this command
/// reads the folder. With --to a server elsewhere makes it. The file is read back before it gets its name. It holds
/// everything that the rooms store: keep it as safe as the data itself.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room backup monday.room\n  room backup \
/backups/chat.room --data /srv/chat --force\n  room backup monday.room --json | jq .bytes")]
pub(crate) struct BackupArgs {
    /// The file to write
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) elsewhere: ElsewhereArgs,
    #[command(flatten)]
    pub(crate) force: ForceArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Restore the data of all rooms from a backup
///
/// Writes a backup of `room backup` into a data folder that is empty or does not exist. The next server on it serves
/// the rooms as they were. Existing data is never replaced: move it away first. The whole backup is checked before
/// anything is written. It is for a folder of this machine: restore a server elsewhere where its data folder is, into
/// `projects/NAME/rooms`, while it does not run.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room restore monday.room --data restored\n  \
mv .room/state .room/state.old && room restore monday.room")]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// Print a room's stored data, as lines of JSON
///
/// The first line has the room's name and the time of its alarm. Each further line is a key with its value: `json` if
/// the value is JSON, otherwise `text`, otherwise `base64`. The room may go on during the export: the lines are its
/// state at one moment. `room import` reads them back.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room export lobby --to https://rooms.example.com\n  room export lobby\n  room export lobby -o lobby.jsonl\n  \
room export game-7 --party game | jq -r 'select(.key) | .key'"
)]
pub(crate) struct ExportArgs {
    /// The room's name
    #[arg(value_name = "ROOM")]
    pub(crate) room: String,
    /// The room's party
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) party: String,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) elsewhere: ElsewhereArgs,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) force: ForceArgs,
}

/// Replace a room's stored data
///
/// Reads lines as `room export` prints them, from a file or from stdin, and puts them in place of all that is stored
/// for the room. A room that does not exist is made. All lines are checked first. If a server runs on the data folder
/// and the room is in use, the server stops the room and closes its clients with 1012. They come back and find the
/// new content.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room import lobby.jsonl\n  room import lobby.jsonl --room \
lobby-2\n  room export lobby --data old | room import -"
)]
pub(crate) struct ImportArgs {
    /// The file with the lines; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The room's name [default: the one in the file]
    #[arg(long, value_name = "NAME")]
    pub(crate) room: Option<String>,
    /// The room's party [default: the one in the file]
    #[arg(long, value_name = "NAME")]
    pub(crate) party: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) elsewhere: ElsewhereArgs,
}

/// Show every limit, its value and what happens at it
///
/// Lists every bound of the runtime. If there is a project here, it shows and marks the values of its
/// `room.toml [limits]`.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room limits\n  room limits --json | jq '.[] | \
select(.overridden)'")]
pub(crate) struct LimitsArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Explain a kind of mistake
///
/// Prints the meaning of a code such as R0012 in `error[R0012]`, what leads to it, and how to correct it. Without a
/// code, lists them all.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room explain\n  room explain R0012\n  \
room explain --json | jq -r '.[].code'")]
pub(crate) struct ExplainArgs {
    /// The code
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the shell's completions
///
/// Prints a script that completes room's commands and flags.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room completions bash > \
~/.local/share/bash-completion/completions/room\n  room completions fish > \
~/.config/fish/completions/room.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Splits `KEY=VALUE` into the pair.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests;
