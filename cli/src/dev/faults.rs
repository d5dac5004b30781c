//! The faults of rooms, as they are logged. Owns the way from the log to the pages that show the last one.
//!
//! Invariant: it only listens, and keeps no more than the last fault and the last lines of one room, as a panic's
//! line has its reason. It does not know how a fault is shown.

use room_runtime::lock::lock;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The number of lines before a fault that are kept; the log bounds each line.
const LINES_MAX: usize = 20;

/// The receiver of faults.
pub(crate) struct Faults(watch::Receiver<Option<String>>);

/// Listens to the log.
pub(crate) struct Listener {
    send: watch::Sender<Option<String>>,
    before: Mutex<Before>,
}

/// The warnings, since its last fault, of the room that logged last.
#[derive(Default)]
struct Before {
    room: String,
    lines: VecDeque<String>,
}

/// Returns both ends. The first one goes into the log, with a filter that leaves everything else out.
pub(crate) fn listen<S: Subscriber + for<'a> LookupSpan<'a>>() -> (impl Layer<S>, Faults) {
    let (send, hear) = watch::channel(None);
    let filter = Targets::new().with_target(crate::log::GUEST, Level::WARN);
    (Listener { send, before: Mutex::default() }.with_filter(filter), Faults(hear))
}

impl Faults {
    /// Waits for the next fault, or the last one of several; forever if nothing is logged.
    ///
    /// # Cancel safety
    /// Loses nothing.
    pub(super) async fn next(&mut self) -> String {
        loop {
            if self.0.changed().await.is_err() {
                return std::future::pending().await;
            }
            if let Some(fault) = self.0.borrow_and_update().clone() {
                return fault;
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = FaultFields::default();
        event.record(&mut words);
        let FaultFields { party, room, message, event } = words;
        let room = format!("{party}/{room}");
        let mut before = lock(&self.before);
        if before.room != room {
            *before = Before { room: room.clone(), ..Before::default() };
        }
        // A room's own line has no event: only the platform knows in which one the room failed.
        let Some(event) = event else {
            before.lines.push_back(message);
            if before.lines.len() > LINES_MAX {
                before.lines.pop_front();
            }
            return;
        };
        // The room's own lines come first: a panic's message is worth more than the place where it was caught.
        let said: String = before.lines.drain(..).map(|line| line + "\n").collect();
        let text = format!("{room} failed in {event}\n\n{said}{message}\n");
        self.send.send_replace(Some(text));
    }
}

#[derive(Default)]
struct FaultFields {
    message: String,
    party: String,
    room: String,
    event: Option<String>,
}

impl FaultFields {
    fn take(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            "party" => self.party = text,
            "room" => self.room = text,
            "event" => self.event = Some(text),
            _ => {}
        }
    }
}

impl Visit for FaultFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}"));
    }
}
