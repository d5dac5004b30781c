//! The lines of rooms and platform on the terminal. Owns their layout, and which this process shows of its own.
//!
//! Invariant: a guest's log text is data: nothing in it can steer the terminal. It does not know who logs: all lines
//! of this process come as tracing events, a room's under the target `room::guest`.

use crate::codes::Code;
use crate::dev::faults::{self, Faults};
use crate::mistake::Mistake;
use crate::print::{self, BAD, DIM, GOOD, WARN, styled};
use crate::traces::{self, Traces};
use anyhow::Context as _;
use chrono::{DateTime, Local};
use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::{self, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// The target under which rooms log.
pub(crate) const GUEST: &str = "room::guest";

/// Prints log lines from here on: rooms' own always, the platform's by `verbose` or by the filter. Sends spans to a
/// collector, if the environment names one. Returns the receiver of rooms' faults, and a guard that sends the last
/// spans when it is dropped.
///
/// # Errors
/// A mistake: the filter is invalid, or the collector cannot be used.
pub(crate) fn install(verbose: u8, filter: Option<&str>) -> anyhow::Result<(Faults, Traces)> {
    let directives = filter.unwrap_or(match verbose {
        0 => "warn,room::guest=trace",
        1 => "warn,room=info,room::guest=trace",
        _ => "info,room=trace,room::guest=trace",
    });
    let filter = EnvFilter::builder().parse(directives).map_err(|err| {
        Mistake::new(Code::BadFilter, format_args!("`{directives}` is not a log filter: {err}"))
            .help("write it as `debug`, or `warn,room=debug,room::guest=info`")
    })?;
    // Not `init`, which also brings in the `log` crate's records: the compiler of guests writes them
    // by the million, and asking about each takes longer than compiling.
    let (listener, faults) = faults::listen();
    let (spans, traces) = traces::from_env()?;
    let reads_spans = reads_spans(directives);
    let lines =
        tracing_subscriber::registry().with(spans).with(lines(filter, reads_spans)).with(listener);
    tracing::subscriber::set_global_default(lines).context("a second log was installed")?;
    Ok((faults, traces))
}

/// Returns true if the filter chooses events by the spans around them, as `[turn]=debug` does.
fn reads_spans(directives: &str) -> bool {
    directives.contains('[')
}

/// Returns the layer that prints. Unless the filter reads spans, it lets none be made: a line shows none, and to
/// make one is a good part of a turn.
fn lines<S>(filter: EnvFilter, reads_spans: bool) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let read = filter_fn(move |metadata| reads_spans || !metadata.is_span());
    Lines.with_filter(filter.and(read.with_max_level_hint(LevelFilter::TRACE)))
}

/// Prints each event as one line.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let mut words = LogFields::default();
        event.record(&mut words);
        print::talk(line(&now(), event.metadata().level(), event.metadata().target(), &words));
    }
}

/// The fields of an event, as text.
#[derive(Default)]
struct LogFields {
    message: String,
    project: String,
    party: String,
    room: String,
    rest: String,
}

impl LogFields {
    fn take(&mut self, field: &Field, text: &str) {
        match field.name() {
            "message" => self.message.push_str(text),
            "project" => self.project.push_str(text),
            "party" => self.party.push_str(text),
            "room" => self.room.push_str(text),
            name => {
                let _infallible = write!(self.rest, " {name}={text}");
            }
        }
    }
}

impl Visit for LogFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, &format!("{value:?}"));
    }
}

/// Returns a line such as `12:03:04 INFO main/lobby hello`.
fn line(time: &str, level: &Level, target: &str, words: &LogFields) -> String {
    let who = match (words.party.as_str(), words.room.as_str()) {
        ("", "") if target == GUEST => String::new(),
        ("", "") => "room".to_owned(),
        // The platform names a room as a whole, a guest's line by its parts.
        ("", room) => room.to_owned(),
        (party, "") => party.to_owned(),
        (party, room) => format!("{party}/{room}"),
    };
    // If one process serves several projects, the same room may be in each of them.
    let who = match words.project.as_str() {
        "" => who,
        project => format!("{project}:{who}"),
    };
    let rest = styled(DIM, harmless(&words.rest));
    drawn(time, level.as_str(), &who, &words.message) + &rest
}

/// Returns time, level (in letters of either case), room and text as one line, if `what` is one.
pub(crate) fn drawn(time: &str, level: &str, who: &str, what: &str) -> String {
    let level = level.to_ascii_uppercase();
    let style = match level.as_str() {
        "ERROR" => BAD,
        "WARN" => WARN,
        "INFO" => GOOD,
        _ => DIM,
    };
    let (time, level) = (styled(DIM, time), styled(style, format_args!("{:>5}", harmless(&level))));
    format!("{time} {level} {} {}", harmless(who), harmless(what))
}

/// Returns a time in milliseconds since 1970 as clocks here show it, with its day if that is not today.
pub(crate) fn time(ms: i64) -> String {
    let Some(utc) = DateTime::from_timestamp_millis(ms) else { return ms.to_string() };
    let (local, today) = (utc.with_timezone(&Local), Local::now().date_naive());
    let format = if local.date_naive() == today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    local.format(format).to_string()
}

/// Returns text without characters that a terminal acts on. Line breaks continue under the message.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => out.push_str("\n    "),
            '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn now() -> String {
    Local::now().format("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_nobody_reads_is_not_made() {
        for (directives, is_made) in [
            ("warn,room::guest=trace", false),
            ("info,room_runtime=trace,room::guest=trace", false),
            ("trace", false),
            ("warn,[turn]=debug", true),
        ] {
            let filter = EnvFilter::builder().parse(directives).unwrap();
            let (listener, _) = faults::listen();
            let (spans, _traces) = traces::from_env().unwrap();
            let log = tracing_subscriber::registry()
                .with(spans)
                .with(lines(filter, reads_spans(directives)))
                .with(listener);
            tracing::subscriber::with_default(log, || {
                let span = tracing::debug_span!(target: "room_rooms::room::turns", "turn");
                assert_eq!(!span.is_disabled(), is_made, "{directives}");
            });
        }
    }

    fn plain(target: &str, words: &LogFields) -> String {
        anstream::adapter::strip_str(&line("12:03:04", &Level::INFO, target, words)).to_string()
    }

    #[test]
    fn a_line_of_a_room_has_time_level_and_room() {
        let words = LogFields {
            message: "hello".into(),
            project: String::new(),
            party: "main".into(),
            room: "lobby".into(),
            rest: String::new(),
        };
        assert_eq!(plain(GUEST, &words), "12:03:04  INFO main/lobby hello");
        let words = LogFields { project: "chat".into(), ..words };
        assert_eq!(plain(GUEST, &words), "12:03:04  INFO chat:main/lobby hello");
    }

    #[test]
    fn a_guest_cannot_steer_the_terminal() {
        let words = LogFields { message: "a\x1b[2Jb\rc\nd".into(), ..LogFields::default() };
        assert!(!line("", &Level::INFO, GUEST, &words).contains("\x1b[2J"));
        assert_eq!(harmless(&words.message), "a\\u{1b}[2Jb\\rc\n    d");
    }
}
