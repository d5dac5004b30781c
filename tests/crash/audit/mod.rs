//! The messages that were sent and seen for each room, against the room's content after a crash. Owns the rules.
//!
//! Invariant: a rule depends only on messages that a client saw or sent, so a correct store breaks none, whatever was
//! on its way when it died. Pure; it does not know processes, sockets or disks.
//!
//! | kind | rule |
//! |---|---|
//! | lost | every value that was acknowledged to its sender is there, every acknowledged request is heard and answered, and every connection has its webhook |
//! | early | every value that another client, room or server received is there, nothing of a failed turn is sent or kept, and no webhook is without its connection |
//! | torn | each set of parts is complete and has one stamp; no turn is missing before a present one |
//! | forged | every value was requested by a client |
//! | order | the messages of one connection are of all turns, in their order |
//! | alarm | an acknowledged alarm is waiting or has rung, not before its time |
//! | twice | each call is heard once, each answer has one turn, and each fetch and webhook has one key of its own |
//! | broken | the server serves, closes no connection by itself, and finds no error in its own books |

mod requests;
mod state;
#[cfg(test)]
mod tests;
mod webhooks;
mod witness;

pub(crate) use requests::{Echo, Notes, Receipt, audit_keys};
pub(crate) use state::State;
pub(crate) use webhooks::{Admitted, Hook, audit_hooks, missing_hooks};
pub(crate) use witness::{Heard, Witness};

use requests::RequestsKnown;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// The kind of a broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Lost,
    Early,
    Torn,
    Forged,
    Order,
    Alarm,
    Twice,
    Broken,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// A number that only grows, as clients know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The largest number that its sender received.
    pub(crate) acked: u64,
    /// The largest number that any client received.
    pub(crate) told: u64,
    /// The largest possible number: the count of requests.
    pub(crate) sent: u64,
}

impl Known {
    fn merge(&mut self, other: Self) {
        self.acked = self.acked.max(other.acked);
        self.told = self.told.max(other.told);
        self.sent = self.sent.max(other.sent);
    }

    /// Compares the stored number with the known ones.
    fn audit(self, what: &str, there: u64, problems: &mut Vec<Problem>) {
        if there < self.acked {
            let text = format!("{what} is {there}, {} was acknowledged", self.acked);
            problems.push(Problem::new(Kind::Lost, text));
        } else if there < self.told {
            let text = format!("{what} is {there}, {} was acknowledged", self.told);
            problems.push(Problem::new(Kind::Early, text));
        }
        if there > self.sent {
            let text = format!("{what} is {there}, {} was requested", self.sent);
            problems.push(Problem::new(Kind::Forged, text));
        }
    }
}

/// An alarm as clients know it.
#[derive(Clone, Copy, Debug)]
struct AlarmKnown {
    /// No client may receive it before.
    not_before: Instant,
    /// The time that it was promised for, on the server's clock, and the kind of a broken promise; `None` until a
    /// client has received it.
    promised: Option<(u64, Kind)>,
    rang: bool,
}

/// The largest difference between the clocks of two server processes: each reads the system's once.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_millis(200);

/// The known facts about one room.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    turn_acked: u64,
    turn_told: u64,
    counts: BTreeMap<String, Known>,
    stamps: BTreeMap<String, Known>,
    alarms: BTreeMap<String, AlarmKnown>,
    requests: RequestsKnown,
}

impl History {
    /// Returns the number of alarms that clients received.
    pub(crate) fn alarms_rang(&self) -> u64 {
        self.alarms.values().filter(|alarm| alarm.rang).count() as u64
    }

    /// Takes over the messages that the connections of one server's life sent and received.
    pub(crate) fn learn(&mut self, witnesses: Vec<Witness>) -> Vec<Problem> {
        let mut problems = Vec::new();
        // The connection that asked for an alarm may have received fewer messages about it than the others.
        for (id, not_before) in witnesses.iter().flat_map(|witness| &witness.asked) {
            let known = AlarmKnown { not_before: *not_before, promised: None, rang: false };
            self.alarms.insert(id.clone(), known);
        }
        for witness in witnesses {
            self.turn_acked = self.turn_acked.max(witness.turn_acked);
            self.turn_told = self.turn_told.max(witness.turn_told);
            for (who, known) in witness.counts {
                self.counts.entry(who).or_default().merge(known);
            }
            for (who, known) in witness.stamps {
                self.stamps.entry(who).or_default().merge(known);
            }
            for (id, due, kind) in witness.promised {
                self.promised(&id, due, kind, &mut problems);
            }
            for (id, heard) in witness.rang {
                self.heard(&id, heard, &mut problems);
            }
            problems.extend(self.requests.learn(
                witness.requested,
                witness.noted,
                witness.answered,
            ));
            problems.extend(witness.problems);
        }
        problems
    }

    fn promised(&mut self, id: &str, due: u64, kind: Kind, problems: &mut Vec<Problem>) {
        match self.alarms.get_mut(id) {
            // An acknowledgement weighs more than messages to others.
            Some(alarm) if alarm.promised.is_none() || kind == Kind::Lost => {
                alarm.promised = Some((due, kind));
            }
            Some(_) => {}
            None => problems.push(Problem::new(Kind::Forged, format!("alarm {id} was promised"))),
        }
    }

    fn heard(&mut self, id: &str, at: Instant, problems: &mut Vec<Problem>) {
        match self.alarms.get_mut(id) {
            Some(alarm) => {
                alarm.rang = true;
                if at + CLOCKS_DIFFER_MAX < alarm.not_before {
                    let early = alarm.not_before - at;
                    let text = format!("alarm {id} rang {early:?} before its time");
                    problems.push(Problem::new(Kind::Alarm, text));
                }
            }
            None => problems.push(Problem::new(Kind::Forged, format!("alarm {id} rang"))),
        }
    }

    /// Compares the content of a room with the known facts. The content is known from then on, as the server has sent
    /// it.
    pub(crate) fn audit(&mut self, state: &State) -> Vec<Problem> {
        let mut problems = Vec::new();
        if state.turn < self.turn_acked {
            let text = format!("the turn is {}, {} was acknowledged", state.turn, self.turn_acked);
            problems.push(Problem::new(Kind::Lost, text));
        } else if state.turn < self.turn_told {
            let text = format!("the turn is {}, {} was acknowledged", state.turn, self.turn_told);
            problems.push(Problem::new(Kind::Early, text));
        }
        self.turn_told = self.turn_told.max(state.turn);
        for (what, known, there) in
            [("count", &mut self.counts, &state.counts), ("stamp", &mut self.stamps, &state.stamps)]
        {
            for who in there.keys() {
                known.entry(who.clone()).or_default();
            }
            for (who, known) in known {
                let there = there.get(who).copied().unwrap_or_default();
                known.audit(&format!("{what} of {who}"), there, &mut problems);
                known.told = known.told.max(there);
            }
        }
        problems.extend(state.problems());
        self.audit_alarms(state, &mut problems);
        problems
    }

    /// Compares the notes of a room about its requests with the known facts, and with what others heard.
    pub(crate) fn audit_requests(&mut self, notes: &Notes, echo: &Echo) -> Vec<Problem> {
        self.requests.audit(notes, echo)
    }

    fn audit_alarms(&mut self, state: &State, problems: &mut Vec<Problem>) {
        let pending: BTreeMap<&str, u64> =
            state.pending.iter().map(|(id, due)| (id.as_str(), *due)).collect();
        let rang: BTreeSet<&str> = state.rang.iter().map(String::as_str).collect();
        for (id, alarm) in &mut self.alarms {
            let id = id.as_str();
            if let Some((due, kind)) = alarm.promised
                && !rang.contains(id)
                && pending.get(id) != Some(&due)
            {
                let text = format!("alarm {id}, promised for {due}, neither waits nor has rung");
                problems.push(Problem::new(kind, text));
            }
            if alarm.rang && !rang.contains(id) {
                let text = format!("a client saw alarm {id}, which has not rung");
                problems.push(Problem::new(Kind::Early, text));
            }
            // The state has been sent, too.
            alarm.rang |= rang.contains(id);
            if let (None, Some(due)) = (alarm.promised, pending.get(id)) {
                alarm.promised = Some((*due, Kind::Early));
            }
        }
        for id in pending.keys().chain(&rang).filter(|id| !self.alarms.contains_key(**id)) {
            problems.push(Problem::new(Kind::Forged, format!("no client requested alarm {id}")));
        }
    }
}
