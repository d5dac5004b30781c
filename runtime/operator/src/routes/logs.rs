//! `GET /logs`: the node's log as server-sent events. Owns the parameters and the format.
//!
//! Invariant: a client that reads nothing costs the memory of one batch, and nothing waits for it. A stream that was
//! cut resumes after its last event: no line is repeated, and the client gets the number of missed lines. It does not
//! know what is logged.
//!
//! ```text
//! follow=1      continues with new lines until the node stops; otherwise ends with the last kept line
//! room=game-*   rooms with such names: `*` any text, `?` any character   party=NAME    rooms of a party
//! level=warn    this level and above                                     grep=TEXT     lines that contain this text
//! tail=N        starts with the last N lines that pass the filter        after=SEQ     starts after a number
//!
//! id: 17…       of each event; EventSource sends it by itself to resume after it (`Last-Event-ID`)
//! data: {…}     a line: seq, time_ms, level, kind (guest, platform), party and room (or null), text
//! event: missed        data: {"missed":N}: N lines, of any kind, were dropped before the client read them
//! event: restarted     data: {}: the number is of an earlier start; the lines of this start follow
//! ```

use crate::{Operator, OperatorError};
use axum::extract::RawQuery;
use axum::response::Response;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use room_core::id::PartyName;
use room_core::limits::{Limits, ms, size};
use room_core::logs::{Glob, LogFilter, LogLevel, WatchStart, WatchedLines, Watcher};
use room_door::events::{self, Events, RETRY_MS};
use std::fmt::Write;

/// The header in which EventSource sends the id of its last event.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Streams the log to the operator.
pub(super) async fn watch(
    operator: Operator,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, OperatorError> {
    let limits = &operator.0.limits;
    let query = query.as_deref().unwrap_or_default();
    let LogQuery { follow, mut begin, filter } = LogQuery::of(query, limits)?;
    if let Some(id) = headers.get(LAST_EVENT_ID) {
        let id = id.to_str().ok().and_then(|id| id.parse().ok());
        begin =
            WatchStart::After(id.ok_or_else(|| wrong("Last-Event-ID", "is not a line number"))?);
    }
    let watcher = operator.0.rooms.logs().watch(begin, filter)?;
    Ok(events::stream(LogEventStream { watcher, follow }, ms(limits.log_heartbeat_ms)))
}

/// Whether a stream continues after the kept lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FollowMode {
    Yes,
    No,
}

/// The parameters of a query.
#[derive(Debug, PartialEq, Eq)]
struct LogQuery {
    follow: FollowMode,
    begin: WatchStart,
    filter: LogFilter,
}

impl LogQuery {
    /// Parses a query. The last value of a name counts.
    fn of(query: &str, limits: &Limits) -> Result<Self, OperatorError> {
        let (mut follow, mut tail, mut after) = (FollowMode::No, None, None);
        let mut filter = LogFilter::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(name, value)?;
            match name {
                "follow" => follow = follow_of(&value)?,
                "room" => filter.room = Some(Glob::new(bounded("room", &value, limits)?)),
                "party" => filter.party = Some(party_of(&value)?),
                "level" => filter.level = Some(level_of(&value)?),
                "grep" => filter.grep = Some(bounded("grep", &value, limits)?.to_owned()),
                "tail" => tail = Some(size(number("tail", &value)?)),
                "after" => after = Some(number("after", &value)?),
                _ => {
                    let known = "there are follow, room, party, level, grep, tail and after";
                    return Err(wrong(name, &format!("is not known; {known}")));
                }
            }
        }
        let begin = match (tail, after) {
            (Some(_), Some(_)) => return Err(wrong("tail", "cannot be given together with after")),
            (Some(count), None) => WatchStart::Tail(count),
            (None, Some(seq)) => WatchStart::After(seq),
            (None, None) => WatchStart::Oldest,
        };
        Ok(Self { follow, begin, filter })
    }
}

fn wrong(name: &str, problem: &str) -> OperatorError {
    OperatorError::Parameter { name: name.to_owned(), problem: problem.to_owned() }
}

/// Decodes a value as forms are decoded.
fn decoded(name: &str, value: &str) -> Result<String, OperatorError> {
    let spaced = value.replace('+', " ");
    let text = percent_decode_str(&spaced).decode_utf8();
    text.map(Into::into).map_err(|_| wrong(name, "is not valid UTF-8 after percent-decoding"))
}

fn follow_of(value: &str) -> Result<FollowMode, OperatorError> {
    match value {
        "1" | "true" | "" => Ok(FollowMode::Yes),
        "0" | "false" => Ok(FollowMode::No),
        _ => Err(wrong("follow", &format!("is {value:?}; it can be 1 or 0"))),
    }
}

fn party_of(value: &str) -> Result<PartyName, OperatorError> {
    PartyName::parse(value)
        .map_err(|error| wrong("party", &format!("is not a party name: {error}")))
}

fn level_of(value: &str) -> Result<LogLevel, OperatorError> {
    LogLevel::parse(value).ok_or_else(|| {
        let names = LogLevel::ALL.map(LogLevel::name).join(", ");
        wrong("level", &format!("is {value:?}; it can be one of {names}"))
    })
}

fn number(name: &str, value: &str) -> Result<u64, OperatorError> {
    value.parse().map_err(|_| wrong(name, &format!("is {value:?}; it must be a whole number")))
}

fn bounded<'a>(name: &str, value: &'a str, limits: &Limits) -> Result<&'a str, OperatorError> {
    let max = limits.log_filter_bytes_max;
    if value.len() as u64 > max {
        let found = value.len();
        return Err(wrong(name, &format!("has {found} bytes, log_filter_bytes_max allows {max}")));
    }
    Ok(value)
}

/// A response that is being sent.
struct LogEventStream {
    watcher: Watcher,
    follow: FollowMode,
}

impl Events for LogEventStream {
    fn greeting(&self) -> String {
        // With the first id, a client that is cut off at once resumes here, and not at the end. If the client is about
        // to get `restarted`, the greeting has no id, so that the client asks again with the id that it has.
        let last = self.watcher.last();
        let id = (!self.watcher.is_restarted()).then(|| format!("id: {last}\n"));
        format!("retry: {RETRY_MS}\n{}\n", id.unwrap_or_default())
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            match self.watcher.read() {
                Some(seen) if seen.is_empty() => {
                    // The filter may drop many lines in a row, and other tasks use this thread.
                    tokio::task::yield_now().await;
                }
                Some(seen) => return Some(written(&seen, self.watcher.last())),
                None if self.follow == FollowMode::No => return None,
                None if self.watcher.wait().await => {}
                None => return None,
            }
        }
    }

    fn sign_of_life(&self) -> String {
        // Lines that the filter dropped are not read again, so the id is sent without an event.
        format!(": alive\nid: {}\n\n", self.watcher.last())
    }
}

/// Formats a batch as server-sent events. The last id is always `last`, so a client resumes there even if the filter
/// dropped the newest lines.
fn written(seen: &[WatchedLines], last: u64) -> String {
    let mut out = String::new();
    let mut told = None;
    for seen in seen {
        // Writing to a string cannot fail, and neither can converting a line to JSON.
        let _ = match seen {
            WatchedLines::Restarted => write!(out, "event: restarted\ndata: {{}}\n\n"),
            WatchedLines::Missed { count, last } => {
                told = Some(*last);
                write!(out, "id: {last}\nevent: missed\ndata: {{\"missed\":{count}}}\n\n")
            }
            WatchedLines::Line(line) => {
                told = Some(line.seq);
                let json = serde_json::to_string(&**line).unwrap_or_default();
                write!(out, "id: {}\ndata: {json}\n\n", line.seq)
            }
        };
    }
    if told != Some(last) {
        let _ = write!(out, "id: {last}\n\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    #[test]
    fn every_parameter_of_a_log_query_is_read() {
        let query = "follow=1&room=game-*&party=ChatRoom&level=WARN&grep=a+b%26c&after=12";
        let asked = LogQuery::of(query, &Limits::default()).unwrap();
        let filter = LogFilter {
            room: Some(Glob::new("game-*")),
            party: Some(PartyName::parse("chat-room").unwrap()),
            level: Some(LogLevel::Warn),
            grep: Some("a b&c".to_owned()),
        };
        assert_eq!(
            asked,
            LogQuery { follow: FollowMode::Yes, begin: WatchStart::After(12), filter }
        );
        let asked = LogQuery::of("tail=0&follow=0", &Limits::default()).unwrap();
        assert_eq!((asked.follow, asked.begin), (FollowMode::No, WatchStart::Tail(0)));
        assert_eq!(LogQuery::of("", &Limits::default()).unwrap().begin, WatchStart::Oldest);
    }

    #[test]
    fn an_invalid_parameter_is_named() {
        let wrong = |query: &str| LogQuery::of(query, &Limits::default()).unwrap_err().to_string();
        let queries =
            ["level=loud", "follow=maybe", "tail=-1", "after=", "party=a/b", "grep=%FF", "lvl=1"];
        let mut all: Vec<String> = queries.iter().map(|query| wrong(query)).collect();
        all.push(wrong("tail=1&after=1"));
        all.push(wrong(&format!("room={}", "x".repeat(1_025))));
        expect![[r#"
            the parameter level is "loud"; it can be one of trace, debug, info, warn, error
            the parameter follow is "maybe"; it can be 1 or 0
            the parameter tail is "-1"; it must be a whole number
            the parameter after is ""; it must be a whole number
            the parameter party is not a party name: the party name has '/' in it, which is not allowed
            the parameter grep is not valid UTF-8 after percent-decoding
            the parameter lvl is not known; there are follow, room, party, level, grep, tail and after
            the parameter tail cannot be given together with after
            the parameter room has 1025 bytes, log_filter_bytes_max allows 1024"#]]
        .assert_eq(&all.join("\n"));
    }

    proptest! {
        #[test]
        fn parsing_any_query_never_panics(query in "[ -~é]{0,60}", pairs in "((room|grep|tail)=[a-z0-9%*?&]{0,9}&){0,4}") {
            let _ = LogQuery::of(&query, &Limits::default());
            let _ = LogQuery::of(&pairs, &Limits::default());
        }
    }
}
