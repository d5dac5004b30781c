//! The messages that one connection sent and received while one server lived. Owns the reading of the ledger's
//! messages.
//!
//! Invariant: a message is noted before it is sent, and a message that arrived counts as received, even if the server
//! was dead by then. It does not know how messages travel.

use super::{Kind, Known, Problem};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The meaning of a message for the connection that received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The answer to something it had sent.
    Answer,
    /// An action of another connection, or an alarm.
    News,
}

/// The notes of one connection.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) room: String,
    pub(crate) who: String,
    pub(super) turn_acked: u64,
    pub(super) turn_told: u64,
    pub(super) counts: BTreeMap<String, Known>,
    pub(super) stamps: BTreeMap<String, Known>,
    /// The alarms that it asked for, and the earliest time at which each may ring.
    pub(super) asked: Vec<(String, Instant)>,
    /// The alarms that it was promised, with their times, and the kind of problem if one is missing.
    pub(super) promised: Vec<(String, u64, Kind)>,
    /// The alarms that it received, and when.
    pub(super) rang: Vec<(String, Instant)>,
    /// The requests that it asked for.
    pub(super) requested: Vec<String>,
    /// The requests that a turn made, and the kind of problem if the note of one is missing.
    pub(super) noted: Vec<(String, Kind)>,
    /// The requests whose answers had their turns, and those turns.
    pub(super) answered: Vec<(String, u64)>,
    pub(super) problems: Vec<Problem>,
    /// The last turn that it received on this connection.
    last: Option<u64>,
    pub(crate) messages: u64,
    pub(crate) acked_counts: u64,
}

impl Witness {
    /// Returns a connection that has sent nothing yet, of a client whose count and stamp have these values.
    pub(crate) fn new(room: &str, who: &str, count: u64, stamp: u64) -> Self {
        let known = |sent| BTreeMap::from([(who.to_owned(), Known { sent, ..Known::default() })]);
        Self {
            room: room.to_owned(),
            who: who.to_owned(),
            turn_acked: 0,
            turn_told: 0,
            counts: known(count),
            stamps: known(stamp),
            asked: Vec::new(),
            promised: Vec::new(),
            rang: Vec::new(),
            requested: Vec::new(),
            noted: Vec::new(),
            answered: Vec::new(),
            problems: Vec::new(),
            last: None,
            messages: 0,
            acked_counts: 0,
        }
    }

    /// Notes that it will ask for one more count.
    pub(crate) fn sends_count(&mut self) {
        self.counts.entry(self.who.clone()).or_default().sent += 1;
    }

    /// Notes that it will ask for the next stamp.
    pub(crate) fn sends_set(&mut self) {
        self.stamps.entry(self.who.clone()).or_default().sent += 1;
    }

    /// Notes that it will ask for an alarm.
    pub(crate) fn sends_alarm(&mut self, id: &str, after: Duration) {
        self.asked.push((id.to_owned(), Instant::now() + after));
    }

    /// Notes that it will ask for a call or a fetch.
    pub(crate) fn sends_request(&mut self, id: &str) {
        self.requested.push(id.to_owned());
    }

    /// Notes that the server ended the connection while it should have lived.
    pub(crate) fn ends(&mut self, how: &str) {
        let text = format!("{how} while the server should serve");
        self.problem(Kind::Broken, text);
    }

    /// Reads a message.
    pub(crate) fn hears(&mut self, text: &str) -> Heard {
        self.messages += 1;
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().ok();
        let heard = match words.first() {
            Some(&"did") => Heard::Answer,
            _ => Heard::News,
        };
        let turn = words.get(1).copied().and_then(number);
        match (words.first().copied(), turn, words.get(2..).unwrap_or_default()) {
            (Some("did" | "saw"), Some(turn), [what @ ("inc" | "set"), who, value]) => {
                self.turn(turn, heard);
                self.value(what, who, number(value).unwrap_or_default(), heard);
            }
            (Some("did" | "saw"), Some(turn), ["alarm", id, due]) => {
                self.turn(turn, heard);
                let kind = if heard == Heard::Answer { Kind::Lost } else { Kind::Early };
                self.promised.push(((*id).to_owned(), number(due).unwrap_or_default(), kind));
            }
            (Some("did" | "saw"), Some(turn), ["call" | "fetch", id]) => {
                self.turn(turn, heard);
                let kind = if heard == Heard::Answer { Kind::Lost } else { Kind::Early };
                self.noted.push(((*id).to_owned(), kind));
            }
            (Some("saw"), Some(turn), ["answer", id]) => {
                self.turn(turn, heard);
                self.answered.push(((*id).to_owned(), turn));
            }
            (Some("saw"), Some(turn), ["ring", now, alarms @ ..]) => {
                self.turn(turn, heard);
                self.ring(number(now).unwrap_or_default(), alarms);
            }
            (Some("ghost"), ..) => {
                self.problem(Kind::Early, "a client saw the output of a failed turn".to_owned());
            }
            _ => self.problem(Kind::Forged, format!("unknown message {text:?}")),
        }
        heard
    }

    /// Checks the number of a turn. Every turn sends a message to every connection, so each is followed by the next.
    fn turn(&mut self, turn: u64, heard: Heard) {
        if let Some(last) = self.last.replace(turn)
            && turn != last + 1
        {
            self.problem(Kind::Order, format!("turn {turn} arrived after turn {last}"));
        }
        self.turn_told = self.turn_told.max(turn);
        if heard == Heard::Answer {
            self.turn_acked = self.turn_acked.max(turn);
        }
    }

    fn value(&mut self, what: &str, who: &str, value: u64, heard: Heard) {
        let known = if what == "inc" { &mut self.counts } else { &mut self.stamps };
        let known = known.entry(who.to_owned()).or_default();
        let last = known.told.max(known.acked);
        known.told = known.told.max(value);
        if heard == Heard::Answer {
            known.acked = known.acked.max(value);
            self.acked_counts += u64::from(what == "inc");
        }
        if value <= last {
            self.problem(Kind::Order, format!("{what} {value} of {who} arrived after {last}"));
        }
    }

    fn ring(&mut self, now: u64, alarms: &[&str]) {
        for alarm in alarms.chunks(2) {
            let [id, due] = *alarm else { continue };
            if due.parse().map_or(true, |due: u64| due > now) {
                self.problem(Kind::Alarm, format!("alarm {id}, due at {due}, rang at {now}"));
            }
            self.rang.push((id.to_owned(), Instant::now()));
        }
    }

    fn problem(&mut self, kind: Kind, text: String) {
        let text = format!("{} in {}: {text}", self.who, self.room);
        self.problems.push(Problem { kind, text });
    }
}
