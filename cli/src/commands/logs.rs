//! `room logs`. Owns that a followed log continues, whatever happens to its server.
//!
//! Invariant: no line is shown twice, and none is left out without a notice. Text of others cannot steer the
//! terminal. It does not know how the server is found and asked.

use crate::args::LogsArgs;
use crate::codes::Code;
use crate::data::encoded;
use crate::log;
use crate::mistake::Mistake;
use crate::place::RoomsPlace;
use crate::print::{self, DIM, WARN, counted, styled};
use crate::project::shown;
use crate::server::{Server, Unanswered};
use crate::stream::{Event, Events};
use anyhow::Context as _;
use serde::Deserialize;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// The number of lines with which a followed log starts.
const TAIL: u64 = 20;
/// The pause before the next attempt to find a server that is gone.
const RETRY: Duration = Duration::from_millis(300);

/// Shows the log of the running server, and follows it.
pub(crate) fn run(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let place = RoomsPlace::find(&args.data, &args.elsewhere)?;
    let mut reader = LogReader { args, last: None };
    let mut away = false;
    loop {
        match open(&place, &reader.path()) {
            Ok(events) => {
                if std::mem::take(&mut away) {
                    print::talk(styled(DIM, "· the server is back"));
                }
                match reader.read(events)? {
                    End::NobodyReads => return Ok(ExitCode::SUCCESS),
                    End::Said if !args.follow => return Ok(ExitCode::SUCCESS),
                    End::Said => {}
                    End::BrokeOff(err) if !args.follow => {
                        return Err(err).context("the log broke off");
                    }
                    End::BrokeOff(_) => {}
                }
            }
            Err(Unanswered::Refused(err)) => return Err(err),
            // The user may have named by mistake a server that never was there.
            Err(Unanswered::Away(why)) if reader.last.is_none() => {
                return Err(away_from(&place, &why).into());
            }
            Err(Unanswered::Away(_)) => {
                if !std::mem::replace(&mut away, true) {
                    let text = "· lost the connection to the server; waiting until it is back, Ctrl-C stops";
                    print::talk(styled(DIM, text));
                }
            }
        }
        std::thread::sleep(RETRY);
    }
}

/// Returns why there is no log, worded for the user.
fn away_from(place: &RoomsPlace, why: &str) -> Mistake {
    let (place, help) = match place {
        RoomsPlace::Here(folder) => (
            shown(&folder.dir).to_string(),
            "start one with `room dev`; --data names another folder, --to a server elsewhere",
        ),
        RoomsPlace::Elsewhere(elsewhere) => (
            elsewhere.name.clone(),
            "is `room serve` running there, and is this its address for operators?",
        ),
    };
    let message = format!("there is no server on {place} whose log could be shown: {why}");
    Mistake::new(Code::NoServer, message).help(help)
}

/// Asks the current server: after a restart it is another one, at another address.
fn open(place: &RoomsPlace, path: &str) -> Result<Events, Unanswered> {
    let folder = match place {
        RoomsPlace::Here(folder) => folder,
        RoomsPlace::Elsewhere(elsewhere) => return elsewhere.server.stream(path),
    };
    let mut why = "none has announced an address".to_owned();
    for dir in folder.announcements() {
        let Some(server) = Server::announced(dir) else { continue };
        match server.stream(path) {
            Err(Unanswered::Away(this)) => why = this,
            answer => return answer,
        }
    }
    Err(Unanswered::Away(why))
}

/// The reader of a log, and its position.
struct LogReader<'a> {
    args: &'a LogsArgs,
    /// The number after which it continues.
    last: Option<u64>,
}

/// The end of one answer's events.
enum End {
    /// The server announced it: it stops, or there are no more events.
    Said,
    /// The connection is gone.
    BrokeOff(io::Error),
    /// The reader of the output has ended.
    NobodyReads,
}

/// A line as the server sends it.
#[derive(Deserialize)]
struct Line {
    time_ms: i64,
    level: String,
    kind: String,
    party: Option<String>,
    room: Option<String>,
    text: String,
}

impl LogReader<'_> {
    /// Returns the path of the request.
    fn path(&self) -> String {
        let LogsArgs { follow, room, party, level, grep, tail, .. } = self.args;
        let level = level.map(|level| level.name().to_owned());
        let mut path = format!("logs?follow={}", u8::from(*follow));
        let filters = [("room", room), ("party", party), ("level", &level), ("grep", grep)];
        for (name, value) in filters {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        match (self.last, tail.or(follow.then_some(TAIL))) {
            (Some(last), _) => path.push_str(&format!("&after={last}")),
            (None, Some(tail)) => path.push_str(&format!("&tail={tail}")),
            (None, None) => {}
        }
        path
    }

    /// Shows events until they end.
    ///
    /// # Errors
    /// The events are not a log.
    fn read(&mut self, mut events: Events) -> anyhow::Result<End> {
        loop {
            let event = match events.next() {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(End::Said),
                Err(err) => return Ok(End::BrokeOff(err)),
            };
            if let Some(text) = self.drawn(&event)?
                && print::more_data(text).is_err()
            {
                return Ok(End::NobodyReads);
            }
            self.last = event.id.or(self.last);
        }
    }

    /// Returns an event as text; `None` if it is not shown.
    fn drawn(&self, event: &Event) -> anyhow::Result<Option<String>> {
        let Some(data) = &event.data else { return Ok(None) };
        let drawn = match (event.name.as_deref(), self.args.json) {
            (None, true) | (Some("missed"), true) => data.clone(),
            (None, false) => line(&serde_json::from_str(data).context("this is not a log line")?),
            (Some("missed"), false) => {
                let missed: serde_json::Value = serde_json::from_str(data)?;
                styled(WARN, format_args!("… {} missed", counted(&missed["missed"], "line")))
            }
            (Some("restarted"), true) => r#"{"restarted":true}"#.to_owned(),
            (Some("restarted"), false) => {
                styled(WARN, "… the server restarted; its log starts over")
            }
            // From a server that is newer than this command.
            (Some(_), _) => return Ok(None),
        };
        Ok(Some(drawn))
    }
}

/// Returns a line for people. The platform's lines are marked where no guest can write.
fn line(line: &Line) -> String {
    let who = match (&line.party, &line.room) {
        (Some(party), Some(room)) => format!("{party}/{room}"),
        _ => "room".to_owned(),
    };
    let who = if line.kind == "guest" { who } else { format!("· {who}") };
    log::drawn(&log::time(line.time_ms), &line.level, &who, &line.text)
}
