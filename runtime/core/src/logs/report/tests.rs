//! What is reported is in both logs, with the same words.

use super::*;
use crate::clock::Clock;
use crate::id::PartyName;
use crate::limits::Limits;
use crate::lock::lock;
use crate::logs::{LogFilter, WatchStart, WatchedLines};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The process's log of a test: `LEVEL target text field=value`.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<String>>>);

impl Subscriber for Traced {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let (mut words, about) = (Words::default(), event.metadata());
        event.record(&mut words);
        let guest = if about.target() == "room::guest" { "guest " } else { "" };
        lock(&self.0).push(format!("{} {guest}{}{}", about.level(), words.text, words.fields));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Words {
    text: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.text = format!("{value:?}"),
            name => self.fields += &format!(" {name}={value:?}"),
        }
    }
}

/// Returns what both logs got from a call: the process's, then the room's.
fn reported(report: impl FnOnce(RoomLog<'_>)) -> (String, String) {
    let logs = Logs::of(&Limits::default(), Clock::system(), "games");
    let room = RoomId::new(PartyName::parse("main").unwrap(), "lobby", 256).unwrap();
    let traced = Traced::default();
    tracing::subscriber::with_default(traced.clone(), || report(logs.of_room(&room)));
    let mut watcher = logs.watch(WatchStart::Oldest, LogFilter::default()).unwrap();
    let mut kept = watcher.read().unwrap().into_iter().map(|seen| match seen {
        WatchedLines::Line(line) => {
            assert_eq!(line.room.as_ref(), Some(&room));
            format!("{} {}", line.level.name(), line.text)
        }
        seen => panic!("{seen:?}"),
    });
    let mut lines = lock(&traced.0).clone().into_iter();
    let both = (lines.next().unwrap(), kept.next().unwrap());
    assert_eq!((lines.next(), kept.next()), (None, None));
    both
}

#[test]
fn both_logs_get_one_text_and_the_process_gets_the_fields() {
    let (traced, kept) = reported(|log| {
        let tries = 3;
        report!(warn, log, [tries, retry = true], "the alarm failed, try {}", tries);
    });
    let fields = r#"project="games" room=main/lobby tries=3 retry=true"#;
    assert_eq!(traced, format!("WARN the alarm failed, try 3 {fields}"));
    assert_eq!(kept, "warn the alarm failed, try 3");
    let (traced, kept) = reported(|log| report!(debug, log, [], "activated"));
    assert_eq!(traced, r#"DEBUG activated project="games" room=main/lobby"#);
    assert_eq!(kept, "debug activated");
}

#[test]
fn lines_of_guests_faults_and_clients_are_in_both_logs() {
    let parts = r#"project="games" party=main room="lobby""#;
    let (traced, kept) = reported(|log| log.guest(LogLevel::Info, "dealt\nERROR forged"));
    assert_eq!(traced, format!(r"INFO guest dealt\nERROR forged {parts}"));
    assert_eq!(kept, r"info dealt\nERROR forged");
    let (traced, kept) = reported(|log| log.fault("alarm", "turn dropped"));
    assert_eq!(traced, format!(r#"ERROR guest turn dropped {parts} event="alarm""#));
    assert_eq!(kept, "error alarm: turn dropped");
    let (traced, kept) = reported(|log| log.client(LogLevel::Info, "a client was turned away"));
    assert_eq!(traced, r#"DEBUG a client was turned away project="games" room=main/lobby"#);
    assert_eq!(kept, "info a client was turned away");
}
