//! A server as an operator asks it about rooms. Owns the way from a command line to the server's answer.
//!
//! Invariant: an answer is JSON or an error with a way out. It does not know what is asked. `place` and `server` know
//! where the server is and how it is reached, so both ways look the same here.

use crate::args::operate::{KeyArgs, RoomArgs, ServerArgs};
use crate::codes::Code;
use crate::data::path_of;
use crate::mistake::Mistake;
use crate::place::{Elsewhere, RoomsPlace};
use crate::print;
use crate::project::shown;
use crate::server::Server;
use anyhow::Context as _;
use room_runtime::clock::Clock;
use serde_json::Value;

/// The server that a command line names.
pub(crate) struct Operator {
    place: RoomsPlace,
    /// The one that runs here, if it is not elsewhere.
    here: Option<Server>,
    json: bool,
}

/// A room of it.
pub(crate) struct Chosen {
    /// As people write it.
    pub(crate) name: String,
    /// Its path, with a slash at the end.
    path: String,
}

impl Operator {
    /// Returns the server that runs on the data folder, or the one elsewhere.
    ///
    /// # Errors
    /// A mistake: none runs here, or it is not clear which is meant.
    pub(crate) fn find(args: &ServerArgs) -> anyhow::Result<Self> {
        let place = RoomsPlace::find(&args.data, &args.elsewhere)?;
        let here = match &place {
            RoomsPlace::Elsewhere(_) => None,
            RoomsPlace::Here(folder) => Some(Server::running_on(&folder.dir).ok_or_else(|| {
                let message = format_args!("no server runs on {}", shown(&folder.dir)).to_string();
                Mistake::new(Code::NoServer, message).help(
                    "start it first: `room dev`; --data names another server's data folder, --to a \
                     server elsewhere",
                )
            })?),
        };
        Ok(Self { place, here, json: args.json })
    }

    fn server(&self) -> anyhow::Result<&Server> {
        match &self.place {
            RoomsPlace::Elsewhere(Elsewhere { server, .. }) => Ok(server),
            RoomsPlace::Here(_) => self.here.as_ref().context("no server was found"),
        }
    }

    /// Returns a room of this server.
    ///
    /// # Errors
    /// A mistake: its name is invalid.
    pub(crate) fn room(&self, args: &RoomArgs) -> anyhow::Result<Chosen> {
        let room = self.place.room(&args.party, &args.room)?;
        Ok(Chosen { name: room.to_string(), path: path_of(&room, "") })
    }

    /// Sends a request, and reads the answer. Paths are relative to the path of all operators' work.
    ///
    /// # Errors
    /// A mistake if the server refused.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Value> {
        let mut answer = Vec::new();
        self.server()?.ask(method, path, body, &mut answer)?;
        serde_json::from_slice(&answer).context("the server's answer is not JSON")
    }

    /// As [`Operator::ask`], about a room. What follows its path is `rest`.
    ///
    /// # Errors
    /// As [`Operator::ask`].
    pub(crate) fn about(
        &self,
        room: &Chosen,
        (method, rest): (&str, &str),
        body: &[u8],
    ) -> anyhow::Result<Value> {
        let path = match rest {
            rest if rest.is_empty() || rest.starts_with('?') => {
                format!("{}{rest}", room.path.trim_end_matches('/'))
            }
            rest => format!("{}{rest}", room.path),
        };
        let mut answer = Vec::new();
        self.server()?.ask(method, &path, body, &mut answer)?;
        serde_json::from_slice(&answer).context("the server's answer is not JSON")
    }

    /// Prints an answer as it is if JSON was requested, otherwise as text for people.
    pub(crate) fn print(
        &self,
        answer: &Value,
        told: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<()> {
        match self.json {
            true => print::data(serde_json::to_string_pretty(answer)?),
            false => print::data(told(answer).trim_end()),
        }
        Ok(())
    }
}

/// Returns a parameter of a query, with `&` before it. Returns an empty text if there is no value.
pub(crate) fn word(name: &str, value: Option<&str>) -> String {
    value.map(|value| format!("&{name}={}", encoded(value.as_bytes()))).unwrap_or_default()
}

/// Returns a key as it stands in a path.
///
/// # Errors
/// A mistake: it is empty, or claims to be percent-encoded and is not.
pub(crate) fn key(args: &KeyArgs) -> anyhow::Result<String> {
    let bytes = match args.encoded {
        false => args.key.clone().into_bytes(),
        true => decoded(&args.key).ok_or_else(|| {
            Mistake::new(Code::BadKey, format_args!("{:?} is not percent-encoded", args.key))
                .help("each % is followed by two hexadecimal digits: `%FF`; a % itself is `%25`")
        })?,
    };
    if bytes.is_empty() {
        return Err(Mistake::new(Code::BadKey, "the key is empty")
            .help("keys have at least one byte")
            .into());
    }
    Ok(encoded(&bytes))
}

/// Percent-encodes every byte that could have a meaning on the way.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(*byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        out.push(match byte {
            b'%' => u8::try_from(digit(bytes.next()?)? * 16 + digit(bytes.next()?)?).ok()?,
            byte => byte,
        });
    }
    Some(out)
}

/// Returns how long ago, or in how long, in words.
pub(crate) fn ago(at_ms: u64) -> String {
    let now = Clock::system().wall_ms();
    match at_ms > now {
        true => format!("in {}", span(at_ms - now)),
        false => format!("{} ago", span(now - at_ms)),
    }
}

/// Returns a time with its largest unit.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_bytes_can_be_addressed() {
        let named = |key: &str, encoded| {
            super::key(&KeyArgs { key: key.to_owned(), encoded }).map_err(|err| err.to_string())
        };
        assert_eq!(named("a/é.%", false).as_deref(), Ok("a%2F%C3%A9%2E%25"));
        assert_eq!(named("%ff%00a", true).as_deref(), Ok("%FF%00a"));
        for bad in ["%", "%f", "%xx", "%+1"] {
            assert!(named(bad, true).unwrap_err().contains("is not percent-encoded"), "{bad}");
        }
        assert!(named("", false).unwrap_err().contains("the key is empty"));
    }

    #[test]
    fn times_are_printed_in_their_largest_unit() {
        let told = [0, 999, 1_000, 119_999, 120_000, 7_200_000, 172_800_000].map(span);
        assert_eq!(told, ["0 ms", "999 ms", "1 s", "119 s", "2 min", "2 h", "2 d"]);
    }
}
