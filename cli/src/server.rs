//! A server, as a command asks it. Owns the little HTTP that this takes.
//!
//! Invariant: an answer is whole or an error: its length is announced before it, or the end of its chunks marks it.
//! It does not know what is asked.

use crate::codes::Code;
use crate::control::Control;
use crate::link::{Address, NoLink, ServerLink};
use crate::mistake::Mistake;
use crate::stream::Events;
use anyhow::bail;
use room_runtime::server::API_VERSION;
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::path::Path;
use std::time::Duration;

/// The longest silence of a server before its answer. It may have to make the copy of everything first.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// The longest silence of a server within a stream: it sends signs of life.
const STREAM_SILENCE_MAX: Duration = Duration::from_secs(60);
/// The longest text of a refusal, in bytes.
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;
/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// The bytes of a body that are sent between two reports of progress.
const PIECE_BYTES: usize = 64 * 1024;
/// The path below which operators ask for everything.
const BASE: &str = "/_room/admin/";

/// A running server.
pub(crate) struct Server {
    address: Address,
    /// The path below which it is asked.
    base: String,
    token: String,
    known_by: KnownBy,
}

/// How a command came to know a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KnownBy {
    /// By the file in the data folder that it has open.
    Folder,
    /// By the user's command line.
    User,
}

impl From<Control> for Server {
    fn from(Control { address, token, .. }: Control) -> Self {
        let (address, base) = (Address::here(address), BASE.to_owned());
        Self { address, base, token, known_by: KnownBy::Folder }
    }
}

/// The head of a server's answer.
struct Head {
    status: u16,
    length: BodyLength,
}

/// The length of an answer's body.
#[derive(Clone, Copy)]
enum BodyLength {
    Bytes(u64),
    Chunked,
}

/// The reason why there is no stream.
pub(crate) enum Unanswered {
    /// No server answers now; that may change.
    Away(String),
    /// The server refused.
    Refused(anyhow::Error),
}

impl Server {
    /// Returns the server that has this folder open.
    ///
    /// # Errors
    /// A mistake: the process that has it open cannot be reached.
    pub(crate) fn of(dir: &Path) -> anyhow::Result<Self> {
        Control::read(dir).map(Self::from).ok_or_else(|| in_use("it has not announced an address"))
    }

    /// Returns the server at an address that the user named.
    pub(crate) fn at(address: Address, token: String) -> Self {
        Self { address, base: BASE.to_owned(), token, known_by: KnownBy::User }
    }

    /// Returns the part of a server that answers for one of its projects, as a server with no others.
    pub(crate) fn of_project(self, name: &str) -> Self {
        let name = crate::data::encoded(name);
        Self { base: format!("{BASE}projects/{name}/node/"), ..self }
    }

    /// Returns the server that left its address in this folder, if one has.
    pub(crate) fn announced(dir: &Path) -> Option<Self> {
        Control::read(dir).map(Self::from)
    }

    /// Requests a stream. Paths are relative to the path of all operators' work.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(crate) fn stream(&self, path: &str) -> Result<Events, Unanswered> {
        let away =
            |err: io::Error| Unanswered::Away(format!("{}: {err}", self.address.authority()));
        let mut link = match self.address.connect(STREAM_SILENCE_MAX) {
            Ok(link) => link,
            Err(NoLink::Away(err)) => return Err(away(err)),
            Err(NoLink::Untrusted(err)) => return Err(Unanswered::Refused(err)),
        };
        let head = self.head("GET", path, 0);
        let sent = link.write_all(head.as_bytes()).and_then(|()| link.flush()).map(|()| link);
        let mut answer = BufReader::new(sent.map_err(away)?);
        let Head { status, length } = read_head(&mut answer).map_err(away)?;
        match (status, length) {
            (200, BodyLength::Chunked) => Ok(Events::new(Box::new(answer))),
            (200, BodyLength::Bytes(_)) => {
                Err(Unanswered::Refused(anyhow::anyhow!("the server has no such answer")))
            }
            (status, length) => {
                let text = refusal(answer, length).map_err(away)?;
                Err(match status {
                    // The announcement in the folder may be older than the server.
                    401 if self.known_by == KnownBy::Folder => {
                        Unanswered::Away("it does not know the token in control.json".to_owned())
                    }
                    503 => Unanswered::Away(text),
                    status => Unanswered::Refused(self.refused(status, &text)),
                })
            }
        }
    }

    /// Returns the head of a request with a body of `length` bytes.
    fn head(&self, method: &str, path: &str, length: usize) -> String {
        let Self { address, base, token, .. } = self;
        let host = address.authority();
        format!(
            "{method} {base}{path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
             room-api: {API_VERSION}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )
    }

    /// Returns the server that serves this folder's data now; `None` if no server answers at the announced address.
    pub(crate) fn running_on(dir: &Path) -> Option<Self> {
        let server = Self::announced(dir)?;
        server.address.connect(SILENCE_MAX).is_ok().then_some(server)
    }

    /// Sends a request, writes the answer's body, and returns its number of bytes. Paths are relative to the path of
    /// all operators' work.
    ///
    /// # Errors
    /// A mistake if the server refused. Otherwise a failure, after which a part of the body may have been written.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        out: &mut dyn Write,
    ) -> anyhow::Result<u64> {
        self.send((method, path), body, &mut |_| {}, out)
    }

    /// As [`Server::ask`], and reports how many more bytes of the request's body are on their way.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub(crate) fn send(
        &self,
        (method, path): (&str, &str),
        body: &[u8],
        told: &mut dyn FnMut(usize),
        out: &mut dyn Write,
    ) -> anyhow::Result<u64> {
        let address = self.address.authority();
        let mut link = self.address.connect(SILENCE_MAX).map_err(|err| match err {
            NoLink::Away(err) => {
                self.unreachable(&format!("no server answers at {address}: {err}"))
            }
            NoLink::Untrusted(err) => err,
        })?;
        let sent = write(&mut link, &self.head(method, path, body.len()), body, told);
        let mut answer = BufReader::new(link);
        // A server that refuses may do so before it has read everything.
        let Head { status, length } = match (read_head(&mut answer), sent) {
            (Ok(head), _) => head,
            (Err(_), Err(err)) => bail!("the server does not take what is sent: {err}"),
            (Err(err), Ok(())) => bail!("the server does not answer as expected: {err}"),
        };
        if status != 200 {
            return Err(self.refused(status, &refusal(answer, length)?));
        }
        let BodyLength::Bytes(length) = length else { bail!("the server's answer has no length") };
        let got = io::copy(&mut answer.take(length), out)?;
        if got < length {
            bail!("the answer of the server broke off after {got} of {length} bytes");
        }
        Ok(got)
    }

    /// Returns the error for a refusal, worded for the user who asked.
    fn refused(&self, status: u16, text: &str) -> anyhow::Error {
        // Some answers are JSON, and their error is a sentence.
        let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
        let sentence = json.as_ref().and_then(|json| json["error"].as_str());
        let text = sentence.unwrap_or(text).trim_end();
        match (status, self.known_by) {
            (401, KnownBy::Folder) => {
                self.unreachable("it does not know the token in control.json")
            }
            (401 | 403, KnownBy::User) => Mistake::new(Code::BadToken, text)
                .help("`room token list` shows which there are; `room token create` makes more")
                .into(),
            (503, _) => {
                Mistake::new(Code::ServerBusy, format_args!("the server cannot do it now: {text}"))
                    .help("try again a little later; if no project is served yet, build it first")
                    .into()
            }
            (507, _) => Mistake::new(Code::ServerRefused, text)
                .help("free space on the server's disk and try again; the served version continues")
                .into(),
            (400..=499, _) => Mistake::new(Code::ServerRefused, text).into(),
            _ => anyhow::anyhow!("the server failed: {text}"),
        }
    }

    fn unreachable(&self, why: &str) -> anyhow::Error {
        match self.known_by {
            KnownBy::Folder => in_use(why),
            KnownBy::User => Mistake::new(Code::NoServer, why)
                .help("is `room serve` running there, and is this its address for operators?")
                .into(),
        }
    }
}

/// Sends a request, piece by piece.
fn write(
    link: &mut ServerLink,
    head: &str,
    body: &[u8],
    told: &mut dyn FnMut(usize),
) -> io::Result<()> {
    link.write_all(head.as_bytes())?;
    for piece in body.chunks(PIECE_BYTES) {
        link.write_all(piece)?;
        told(piece.len());
    }
    link.flush()
}

/// Returns the text of a refusal.
fn refusal(answer: BufReader<ServerLink>, length: BodyLength) -> io::Result<String> {
    let mut text = String::new();
    let max = match length {
        BodyLength::Bytes(length) => length.min(REFUSAL_BYTES_MAX),
        BodyLength::Chunked => 0,
    };
    answer.take(max).read_to_string(&mut text)?;
    Ok(text)
}

fn read_head(from: &mut BufReader<ServerLink>) -> io::Result<Head> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut lines = from.take(HEAD_BYTES_MAX).lines();
    let first = lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| wrong("the answer is not HTTP"))?;
    let mut length = None;
    for line in lines {
        let line = line?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().ok().map(BodyLength::Bytes);
            }
            Some((name, value)) if name.eq_ignore_ascii_case("transfer-encoding") => {
                length =
                    value.trim().eq_ignore_ascii_case("chunked").then_some(BodyLength::Chunked);
            }
            Some(_) => {}
            None if line.is_empty() => {
                let length = length.ok_or_else(|| wrong("the answer has no length"))?;
                return Ok(Head { status, length });
            }
            None => break,
        }
    }
    Err(wrong("its head has no end"))
}

fn in_use(why: &str) -> anyhow::Error {
    Mistake::new(
        Code::InUse,
        format_args!(
            "the data folder is in use, and the process that uses it cannot be reached: {why}"
        ),
    )
    .help("wait for the other command, or stop the process that uses the folder")
    .into()
}
