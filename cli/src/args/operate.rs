//! The command line of the questions to a running server. Owns its words and manual pages.
//!
//! Invariant: all of these commands find their server, name their room and print JSON in the same way. It does not
//! know what the commands do.

use super::DataArgs;
use super::remote::ElsewhereArgs;
use clap::{Args as ClapArgs, Subcommand, ValueEnum, ValueHint};
use room_runtime::event::CloseFrame;
use std::path::PathBuf;

/// The server to ask, and the format of its answer.
#[derive(Debug, ClapArgs)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) elsewhere: ElsewhereArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// One room.
#[derive(Debug, ClapArgs)]
pub(crate) struct RoomArgs {
    /// The room's name
    #[arg(value_name = "ROOM")]
    pub(crate) room: String,
    /// The room's party
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) party: String,
}

/// List the rooms of a server
///
/// Shows rooms that are in memory and rooms that are only stored. Sorted by name, the shorter of two names comes
/// first, and a million rooms are paged through without reading them all. Sorted by bytes, a page reads all stored
/// rooms once. Sorted by connections, messages or last activity, only rooms in memory are shown, as the others have
/// no counters. The server is the one that runs on the data folder, or the one of --to.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room rooms\n  room rooms --to https://rooms.example.com --name chat\n  room rooms --search 'game-*' --sort connections\n  \
room rooms --all --json | jq -r '.rooms[].room'"
)]
pub(crate) struct RoomsArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Only rooms of this party
    #[arg(long, value_name = "NAME")]
    pub(crate) party: Option<String>,
    /// Only rooms whose whole name matches; `*` is any text, `?` any one character
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) search: Option<String>,
    /// What to sort by; the largest comes first, except for names
    #[arg(long, value_enum, default_value_t = RoomSort::Name)]
    pub(crate) sort: RoomSort,
    /// Reverse the order
    #[arg(long)]
    pub(crate) reverse: bool,
    /// The number of rooms to show, at most the limit admin_page_entries_max
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: u64,
    /// Where to continue: the `next` at the end of a page of the same order
    #[arg(long, value_name = "NEXT", conflicts_with = "all")]
    pub(crate) after: Option<String>,
    /// Show all pages, one after the other; as JSON, each is a value of its own
    #[arg(long)]
    pub(crate) all: bool,
}

/// The sort key of a list of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoomSort {
    /// Party, then name
    Name,
    /// Open connections
    Connections,
    /// Messages either way, since the room came into memory
    Messages,
    /// Stored bytes
    Bytes,
    /// Last activity
    Active,
}

/// Show one room
///
/// Shows its phase (running, hibernated, broken, asleep), its code, its connections with their state and how far each
/// is behind, its storage, its alarm and timers, when it expires, its recent faults with their backtraces, and how long its
/// callbacks take. Looking does not wake a room. The values of the query in clients' addresses are left out, as
/// clients put secrets there. A room that does not answer within `inspect_ms_max` is shown as busy, with the facts
/// known without it.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room inspect lobby\n  room inspect game-7 --party game \
--json | jq '.recent_faults[0].backtrace'")]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The number of connections to show
    #[arg(short, long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) connections: u64,
    /// Show the connections after this one: the `next` of an answer
    #[arg(long, value_name = "NEXT")]
    pub(crate) after: Option<u64>,
}

/// Show and change a room's stored data
///
/// A running room makes a change itself, between two events. Then it drops its instance, so that nothing in its
/// memory hides the change: `on_start` runs before its next event. Its connections stay.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room storage list lobby\n  room storage get lobby count\n  \
room storage set lobby count 7\n  room storage delete lobby count"
)]
pub(crate) struct StorageArgs {
    #[command(subcommand)]
    pub(crate) what: StorageCommand,
}

/// What a command does with the storage.
#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    List(StorageListArgs),
    Get(StorageKeyArgs),
    Set(StorageSetArgs),
    Delete(StorageKeyArgs),
}

/// List keys with their values, in byte order
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room storage list lobby\n  \
room storage list lobby --prefix user: --json")]
pub(crate) struct StorageListArgs {
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Only keys that start with this
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// The number of keys to show
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: u64,
    /// Where to continue: the `next` at the end of a page
    #[arg(long, value_name = "NEXT")]
    pub(crate) after: Option<String>,
}

/// One key.
#[derive(Debug, ClapArgs)]
pub(crate) struct KeyArgs {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// KEY is percent-encoded: `%FF` is one byte; for keys that are not text
    #[arg(short, long)]
    pub(crate) encoded: bool,
}

/// Print one key's value, or remove the key
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room storage get lobby count\n  \
room storage delete lobby count\n  room storage get lobby --encoded %FF%00 --json")]
pub(crate) struct StorageKeyArgs {
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Set one key
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room storage set lobby count 7\n  \
room storage set lobby motd '\"hello\"'\n  room storage set lobby note --text hello\n  \
room storage set lobby image --file image.png")]
pub(crate) struct StorageSetArgs {
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    /// The value, as JSON, the format in which the SDK's rooms store values
    #[arg(value_name = "JSON", required_unless_present_any = ["text", "file"])]
    pub(crate) value: Option<String>,
    /// The value, as it is
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["value", "file"])]
    pub(crate) text: Option<String>,
    /// The file with the value, as it is; `-` is stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// List the crons of a project, and run one now
///
/// Shows each cron of `[crons]` with its schedule, the rooms that it calls, how its last calls ended, and its next
/// planned time. The server is the one that runs on the data folder, or the one of --to.
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_long_help = "Examples:\n  room crons\n  room crons --json | jq -r '.crons[].name'\n  \
room crons run prune"
)]
pub(crate) struct CronsArgs {
    #[command(subcommand)]
    pub(crate) what: Option<CronsCommand>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What a command does with the crons.
#[derive(Debug, Subcommand)]
pub(crate) enum CronsCommand {
    Run(CronRunArgs),
}

/// Call the rooms of a cron now
///
/// Calls each of its rooms once, with the present time as the planned one. Its planned times stay as they are. A room
/// that fails is not called again. The command waits for the calls, at most `request_ms_max`; those that take longer
/// go on, and `room crons` shows how they ended.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Example:\n  room crons run prune")]
pub(crate) struct CronRunArgs {
    /// The cron's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// List the webhooks of a project, and send or discard some
///
/// Shows the receiver of `[webhooks]`, the webhooks that wait for it with their tries and their last error, and the dead
/// letters: those that were given up. At most 100 of each are shown. The server is the one that runs on the data folder,
/// or the one of --to.
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_long_help = "Examples:\n  room webhooks\n  room webhooks --json | jq -r '.letters[].id'\n  \
room webhooks retry --all\n  room webhooks discard msg_chat.main.lobby.1-2-1"
)]
pub(crate) struct WebhooksArgs {
    #[command(subcommand)]
    pub(crate) what: Option<WebhooksCommand>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What a command does with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Send a webhook now, or all dead letters
    ///
    /// A dead letter gets all its tries again. A webhook that waits for its next try does not wait any longer.
    #[command(after_long_help = "Examples:\n  room webhooks retry msg_chat.main.lobby.1-2-1\n  \
room webhooks retry --all")]
    Retry(WebhookChoiceArgs),
    /// Discard a webhook, or all dead letters
    ///
    /// The receiver does not get it.
    #[command(after_long_help = "Examples:\n  room webhooks discard msg_chat.main.lobby.1-2-1\n  \
room webhooks discard --all")]
    Discard(WebhookChoiceArgs),
}

/// Which webhooks a command means.
#[derive(Debug, ClapArgs)]
pub(crate) struct WebhookChoiceArgs {
    /// The webhook's id, as `room webhooks` shows it
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) id: Option<String>,
    /// All dead letters
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Close one connection of a room
///
/// The server closes the client with 4403 unless --code says otherwise. The client of `/_room/client.js` stays away
/// after 44xx. The stock partysocket comes back after every code, unless its page says otherwise by
/// `shouldReconnectOnClose`.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room kick lobby alice\n  \
room kick lobby alice --code 4001 --reason 'be nice'")]
pub(crate) struct KickArgs {
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    /// The connection's id, as `room inspect` shows it
    #[arg(value_name = "CONNECTION")]
    pub(crate) connection: String,
    #[arg(long, default_value_t = 4403, help = format!("The close code: {}", CloseFrame::CODES))]
    pub(crate) code: u16,
    /// The reason that the client receives, at most 123 bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Close all connections of a room and let it leave memory
///
/// Clients are closed with 1012, so they come back, to a room that has restarted. As when a server stops, the room
/// first finishes the events that it has, and `on_close` is not called.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Example:\n  room close lobby")]
pub(crate) struct CloseArgs {
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Delete a room with everything that is stored for it
///
/// Deletes its keys, its alarm and its timers, and closes its clients with 4410. This cannot be undone: `room export` keeps a
/// copy. A client that connects to the name later meets a new room.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room delete-room lobby\n  room export old -o old.jsonl && \
room delete-room old --yes"
)]
pub(crate) struct DeleteRoomArgs {
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    /// Do not ask for confirmation; required without a terminal
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
