//! The command line of `room bench`. Owns its words, defaults and bounds.
//!
//! Invariant: every number has bounds, so that a run comes to an end. It does not know how a load is made.

use clap::{Args as ClapArgs, ValueEnum};
use serde::Serialize;

/// Load a server and measure it
///
/// Loads the room `rooms-examples/bench`, which `room dev rooms-examples/bench` serves, from this process, on one
/// thread. It checks the answers: messages are numbered, so it finds one that is lost, repeated or out of order. The
/// exit code is then 2. Without a SCENARIO: echo, fanout and durable, one after the other.
///
/// Without a rate, each client has --in-flight messages on their way and sends the next when one comes back. A
/// fanout's broadcast is back when it has reached every member. With --rate, messages are due at fixed times, and
/// latency counts from those times, however late the server made them: a pause of the server counts for every message
/// that waited for it.
///
/// The load needs a core for itself: on one core with the server, both are measured. Ctrl-C ends the run and prints
/// the results so far.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room bench http://127.0.0.1:1999\n  room bench \
http://127.0.0.1:1999 echo --clients 500 --rate 10000 --seconds 30\n  room bench http://127.0.0.1:1999 \
fanout --rooms 1 --clients 5000 --rate 2\n  room bench http://127.0.0.1:1999 idle --clients 10000 --rooms \
10000\n  room bench http://127.0.0.1:1999 cold durable --json | jq '.runs[].latency_us.p99'")]
pub(crate) struct BenchArgs {
    /// Where clients reach the server, as http://127.0.0.1:1999
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// The scenarios, one after the other
    #[arg(value_name = "SCENARIO", value_enum)]
    pub(crate) scenarios: Vec<Scenario>,
    /// Connections; for connect and cold, the most at a time [default: by scenario]
    #[arg(short, long, value_name = "N", value_parser = count(1, 1_000_000))]
    pub(crate) clients: Option<u64>,
    /// Rooms that the clients are spread over [default: by scenario]
    #[arg(short, long, value_name = "N", value_parser = count(1, 1_000_000))]
    pub(crate) rooms: Option<u64>,
    /// Messages of each client that are on their way, if there is no rate; for fanout, of each room
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = count(1, 65_536))]
    pub(crate) in_flight: u64,
    /// Messages a second, over all clients, instead of as fast as possible; mixed has a tenth as many broadcasts, a
    /// fifth as many increments, and a fiftieth as many new connections
    #[arg(long, value_name = "N", value_parser = count(1, 10_000_000))]
    pub(crate) rate: Option<u64>,
    /// How long each scenario is measured
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = count(1, 86_400))]
    pub(crate) seconds: u64,
    /// How long it runs before anything counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(0, 3_600))]
    pub(crate) warmup_seconds: u64,
    /// Size of a message in bytes; increments have their own size
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = count(64, 16_000_000))]
    pub(crate) payload: u64,
    /// The party of the room for benchmarks
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) party: String,
    /// The server's process, if idle cannot find it by its port
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

/// A scenario of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// Messages that come back to their sender; 100 clients in rooms of their own
    Echo,
    /// Broadcasts, with the latency of the last member; 1,000 clients in 10 rooms
    Fanout,
    /// Connections that are opened, greeted and closed; 10 at a time
    Connect,
    /// First visits to rooms that are not in memory, beside visits to one that is; one at a time
    Cold,
    /// Increments that the room answers when they are on the disk, counted without a gap; 16 clients in rooms of
    /// their own
    Durable,
    /// Connections that do nothing, and the server's memory for each; 1,000 clients in 10 rooms
    Idle,
    /// Echo, fanout, durable and connect at the same time, at rates; 1,000 echoes a second
    Mixed,
}

impl Scenario {
    /// Returns its name on the command line.
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
