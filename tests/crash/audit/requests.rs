//! The rules about calls and fetches: what the room noted, against what others heard. Owns them.
//!
//! Invariant: a request that was given up may have been heard or not, and has no answer. All others are heard and
//! answered, once the room waits for nothing. Pure.

use super::{Kind, Problem};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The notes of a ledger about its requests; `tests/guests/ledger` says what each field is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) calls: BTreeMap<String, u64>,
    pub(crate) fetches: BTreeMap<String, u64>,
    pub(crate) gave_up: BTreeSet<String>,
    pub(crate) failed: BTreeMap<String, String>,
    pub(crate) heard: BTreeMap<String, u64>,
}

/// What others heard of a room's requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Echo {
    /// The calls that its mirror heard, and how often.
    pub(crate) calls: BTreeMap<String, u64>,
    /// The fetches that the server of the test received.
    pub(crate) fetches: BTreeSet<String>,
}

/// A request that the server of the test received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) room: String,
    pub(crate) id: String,
    pub(crate) key: Option<String>,
}

/// The known facts about the requests of one room.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestsKnown {
    /// The ids that clients asked for.
    asked: BTreeSet<String>,
    /// The requests that a turn made, as clients know, and the kind of problem if the note of one is missing.
    noted: BTreeMap<String, Kind>,
    /// The turns with answers that clients know.
    answered: BTreeMap<String, u64>,
    /// The calls that the mirror had heard at an earlier audit.
    heard: BTreeSet<String>,
}

impl Notes {
    /// Reads them from JSON; `None` if that is not what a ledger stores.
    pub(super) fn parse(value: &Value) -> Option<Self> {
        let field = |key: &str| value[key].clone();
        Some(Self {
            calls: serde_json::from_value(field("calls")).ok()?,
            fetches: serde_json::from_value(field("fetches")).ok()?,
            gave_up: serde_json::from_value(field("gave_up")).ok()?,
            failed: serde_json::from_value(field("failed")).ok()?,
            heard: serde_json::from_value(field("heard")).ok()?,
        })
    }

    fn all(&self) -> impl Iterator<Item = (&String, u64)> {
        self.calls.iter().chain(&self.fetches).map(|(id, answers)| (id, *answers))
    }

    /// Returns the number of turns that they stand for.
    pub(super) fn turns(&self) -> u64 {
        self.all().map(|(_, answers)| 1 + answers).sum()
    }

    /// Returns the requests that wait for their answer.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &str> {
        let waits = |(id, answers): &(&String, u64)| *answers == 0 && !self.gave_up.contains(*id);
        self.all().filter(waits).map(|(id, _)| id.as_str())
    }

    /// Returns the problems that do not depend on what was sent and heard.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (id, answers) in self.all() {
            if answers > 1 {
                let text = format!("request {id} has {answers} answers");
                problems.push(Problem::new(Kind::Twice, text));
            }
            if answers > 0 && self.gave_up.contains(id) {
                let text = format!("request {id} has an answer, and was given up");
                problems.push(Problem::new(Kind::Forged, text));
            }
        }
        for (id, times) in self.heard.iter().filter(|(_, times)| **times > 1) {
            problems.push(Problem::new(Kind::Twice, format!("call {id} was heard {times} times")));
        }
        for (id, failure) in &self.failed {
            problems.push(Problem::new(Kind::Broken, format!("request {id} failed: {failure}")));
        }
        problems
    }
}

impl RequestsKnown {
    /// Takes over what one connection asked for and received.
    pub(super) fn learn(
        &mut self,
        requested: Vec<String>,
        noted: Vec<(String, Kind)>,
        answered: Vec<(String, u64)>,
    ) -> Vec<Problem> {
        self.asked.extend(requested);
        for (id, kind) in noted {
            // An acknowledgement weighs more than messages to others.
            let known = self.noted.entry(id).or_insert(kind);
            *known = if kind == Kind::Lost { kind } else { *known };
        }
        let mut problems = Vec::new();
        for (id, turn) in answered {
            let first = *self.answered.entry(id.clone()).or_insert(turn);
            if first != turn {
                let text = format!("the answer to {id} had the turns {first} and {turn}");
                problems.push(Problem::new(Kind::Twice, text));
            }
        }
        problems
    }

    /// Compares a room's notes with the known facts, and with what others had heard when the notes had been read. No
    /// client asks the room for anything in the meantime.
    pub(super) fn audit(&mut self, notes: &Notes, echo: &Echo) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |kind, text: String| problems.push(Problem::new(kind, text));
        let answers = |id: &String| notes.calls.get(id).or_else(|| notes.fetches.get(id));
        for (id, _) in notes.all().filter(|(id, _)| !self.asked.contains(*id)) {
            problem(Kind::Forged, format!("no client asked for the request {id}"));
        }
        for (id, kind) in self.noted.iter().filter(|(id, _)| answers(id).is_none()) {
            problem(*kind, format!("request {id} was acknowledged, and has no note"));
        }
        for id in self.answered.keys().filter(|id| answers(id).is_none_or(|count| *count == 0)) {
            problem(Kind::Early, format!("a client saw the answer to {id}, which has no turn"));
        }
        for id in echo.calls.keys().filter(|id| !notes.calls.contains_key(*id)) {
            problem(Kind::Early, format!("call {id} was heard, and its turn is not there"));
        }
        for id in echo.fetches.iter().filter(|id| !notes.fetches.contains_key(*id)) {
            problem(Kind::Early, format!("fetch {id} was received, and its turn is not there"));
        }
        for id in self.heard.iter().filter(|id| !echo.calls.contains_key(*id)) {
            problem(Kind::Lost, format!("the mirror has forgotten call {id}"));
        }
        let is_answered = |(_, count): &(&String, &u64)| **count > 0;
        for (id, _) in notes.calls.iter().filter(is_answered) {
            if !echo.calls.contains_key(id) {
                problem(Kind::Lost, format!("call {id} was answered, and nobody heard it"));
            }
        }
        for (id, _) in notes.fetches.iter().filter(is_answered) {
            if !echo.fetches.contains(id) {
                problem(Kind::Lost, format!("fetch {id} was answered, and nobody received it"));
            }
        }
        self.heard.extend(echo.calls.keys().cloned());
        // What was read must stay.
        for (id, _) in notes.all() {
            self.noted.entry(id.clone()).or_insert(Kind::Early);
        }
        problems
    }
}

/// Checks that all requests of one fetch have one key, and those of two fetches have two. All keys begin with the id of the
/// one store, which no crash changes.
pub(crate) fn audit_keys(receipts: &[Receipt]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut keys: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut owners: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let store = |key: &str| key.split('.').next().map(str::to_owned);
    let first_store = receipts.iter().find_map(|receipt| store(receipt.key.as_deref()?));
    for Receipt { room, id, key } in receipts {
        let own = (room.as_str(), id.as_str());
        let Some(key) = key.as_deref() else {
            problems.push(Problem::new(Kind::Twice, format!("{room}: fetch {id} has no key")));
            continue;
        };
        let first = *keys.entry(own).or_insert(key);
        if first != key {
            let text = format!("{room}: fetch {id} has the keys {first} and {key}");
            problems.push(Problem::new(Kind::Twice, text));
        }
        if store(key) != first_store {
            let text = format!("{room}: fetch {id} has the key {key} of another store");
            problems.push(Problem::new(Kind::Twice, text));
        }
        let owner = *owners.entry(key).or_insert(own);
        if owner != own {
            let text = format!("{room}: fetch {id} has the key of {owner:?}, {key}");
            problems.push(Problem::new(Kind::Twice, text));
        }
    }
    problems
}

#[cfg(test)]
mod tests;
