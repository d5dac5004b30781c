//! The flags of `room ticket`. Owns their help.
//!
//! Invariant: as of the flags of all verbs. It does not know what a ticket is made of.

use super::operate::ServerArgs;
use clap::{Args as ClapArgs, ValueEnum};
use std::time::Duration;

/// Make a ticket, with which a client enters a room for a short time
///
/// For projects with `[auth]`. A client sends the ticket in place of a token: as `?ticket=TICKET` in the URL of a
/// WebSocket, an EventSource or an image, or as `Authorization: Bearer TICKET`. The time is that for entering; how long
/// the client stays is up to the room. A ticket that is valid once is remembered until its end, and a restart of the
/// server ends it. The server is the one that runs on the data folder, or the one of --to.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room ticket main/lobby\n  room ticket main/lobby --for 30s --read-only --once\n  \
room ticket 'main/*' --for 1h --claims '{\"sub\":\"ann\"}'"
)]
pub(crate) struct TicketArgs {
    /// The room that it opens, or `PARTY/*` for every room of a party
    #[arg(value_name = "PARTY/ROOM")]
    pub(crate) rooms: String,
    /// How long it can be used: a whole number with s, m, h or d, at most `ticket_ms_max`
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) lasting: Duration,
    /// Its client may read and nothing else
    #[arg(long, conflicts_with = "allow")]
    pub(crate) read_only: bool,
    /// What its client may do [default: everything]
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) allow: Vec<CapabilityName>,
    /// It can be used once
    #[arg(long)]
    pub(crate) once: bool,
    /// The claims that the room gets, a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) claims: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CapabilityName {
    /// It gets what the room sends
    Read,
    /// It may send
    Write,
    /// The room may show it to others
    Presence,
}

impl CapabilityName {
    /// Returns its name in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Presence => "presence",
        }
    }
}

/// Reads a time.
fn time(text: &str) -> Result<Duration, String> {
    let form = "write a whole number with s, m, h or d, such as 60s";
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(form.to_owned()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| form.to_owned())?;
    count.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| form.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("2h"), Ok(Duration::from_secs(7_200)));
        for text in ["", "s", "60", "1.5h", "-1s", "1w", "99999999999999999999s", "é"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
