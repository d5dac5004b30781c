//! The command line of `room bench`. Owns its words, defaults and bounds.
//!
//! Invariant: every number has bounds, so that a run comes to an end. It does not know how a load is made.

use clap::{Args as ClapArgs, ValueEnum};
use serde::Serialize;

/// Load a server and tell how it holds up
///
/// Loads the room `rooms-examples/bench`, which `room dev rooms-examples/bench` serves, from this process, on one
/// thread. What comes back is checked: messages are numbered, so that one that is lost, comes twice or out
/// of order is found; then the exit code is 2. Without a SCENARIO: echo, fanout and durable, one after the other.
///
/// As fast as they go, each client has --in-flight messages on their way and sends the next when one comes
/// back; a fanout's broadcast is back when it has reached everybody. With --rate, messages are due at fixed
/// times, and latency counts from those times, however late the server made them: a pause of the server is
/// charged for everything that waited for it.
///
/// The load needs a core for itself: on one core with the server, both are measured. Ctrl-C ends the run and
/// prints what there is.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room bench http://127.0.0.1:1999\n  room bench \
http://127.0.0.1:1999 echo --clients 500 --rate 10000 --seconds 30\n  room bench http://127.0.0.1:1999 \
fanout --rooms 1 --clients 5000 --rate 2\n  room bench http://127.0.0.1:1999 idle --clients 10000 --rooms \
10000\n  room bench http://127.0.0.1:1999 cold durable --json | jq '.runs[].latency_us.p99'")]
pub(crate) struct BenchArgs {
    /// Where clients reach the server, as http://127.0.0.1:1999
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// What to do, one after the other
    #[arg(value_name = "SCENARIO", value_enum)]
    pub(crate) scenarios: Vec<Scenario>,
    /// Connections; for connect and cold, at most so many at a time [default: by scenario]
    #[arg(short, long, value_name = "N", value_parser = count(1, 1_000_000))]
    pub(crate) clients: Option<u64>,
    /// Rooms that the clients are spread over [default: by scenario]
    #[arg(short, long, value_name = "N", value_parser = count(1, 1_000_000))]
    pub(crate) rooms: Option<u64>,
    /// Messages of each client that are on their way, where there is no rate; for fanout, of each room
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = count(1, 65_536))]
    pub(crate) in_flight: u64,
    /// How many a second, over all clients, instead of as fast as they go; mixed has a tenth as many
    /// broadcasts, a fifth as many increments, and a fiftieth as many new connections
    #[arg(long, value_name = "N", value_parser = count(1, 10_000_000))]
    pub(crate) rate: Option<u64>,
    /// How long each scenario is measured
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = count(1, 86_400))]
    pub(crate) seconds: u64,
    /// How long it runs before anything counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(0, 3_600))]
    pub(crate) warmup_seconds: u64,
    /// Size of a message in bytes; increments are as short as they are
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = count(64, 16_000_000))]
    pub(crate) payload: u64,
    /// The party that the room for benchmarks is
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) party: String,
    /// The server's process, where idle cannot find it by its port
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Returns a parser of whole numbers within bounds.
fn count(min: u64, max: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(min..=max)
}

/// What a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// Messages that come back to their sender; 100 clients in rooms of their own
    Echo,
    /// Broadcasts, and how late the last of a room hears one; 1,000 clients in 10 rooms
    Fanout,
    /// Connections that are opened, greeted and closed; 10 at a time
    Connect,
    /// First visits to rooms that are not in memory, beside visits to one that is; one at a time
    Cold,
    /// Increments that are answered when they are on the disk, counted without a gap; 16 clients in rooms of
    /// their own
    Durable,
    /// Connections that do nothing, and the server's memory for each; 1,000 clients in 10 rooms
    Idle,
    /// Echo, fanout, durable and connect at the same time, at rates; 1,000 echoes a second
    Mixed,
}

impl Scenario {
    /// As the command line calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Fanout => "fanout",
            Self::Connect => "connect",
            Self::Cold => "cold",
            Self::Durable => "durable",
            Self::Idle => "idle",
            Self::Mixed => "mixed",
        }
    }
}
