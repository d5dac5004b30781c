//! The content of a room, as the room reports it. Owns the rules about the content alone.
//!
//! Invariant: the rules do not depend on what any client saw. Pure.

use super::{Kind, Notes, Problem};
use crate::layout::{PARTS, part_bytes};
use serde_json::Value;
use std::collections::BTreeMap;

/// The answer of the ledger to a GET; `tests/guests/ledger` says what each field is.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) turn: u64,
    pub(crate) asked: u64,
    pub(crate) rings: u64,
    pub(crate) early: u64,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) stamps: BTreeMap<String, u64>,
    pub(crate) parts: Vec<(String, u64, Option<u64>)>,
    pub(crate) pending: Vec<(String, u64)>,
    pub(crate) rang: Vec<String>,
    pub(crate) ghosts: Vec<String>,
    pub(crate) alarm: Option<u64>,
    pub(crate) now: u64,
    pub(crate) requests: Notes,
}

impl State {
    /// Reads it from JSON; `None` if that is not an answer of a ledger.
    pub(crate) fn parse(value: Value) -> Option<Self> {
        let number = |key: &str| value[key].as_u64();
        let field = |key: &str| value[key].clone();
        Some(Self {
            turn: number("turn")?,
            asked: number("asked")?,
            rings: number("rings")?,
            early: number("early")?,
            counts: serde_json::from_value(field("counts")).ok()?,
            stamps: serde_json::from_value(field("stamps")).ok()?,
            parts: serde_json::from_value(field("parts")).ok()?,
            pending: serde_json::from_value(field("pending")).ok()?,
            rang: serde_json::from_value(field("rang")).ok()?,
            ghosts: serde_json::from_value(field("ghosts")).ok()?,
            alarm: number("alarm"),
            now: number("now")?,
            requests: Notes::parse(&value["requests"])?,
        })
    }

    /// Returns the alarms that are due and have not rung.
    pub(crate) fn overdue(&self) -> impl Iterator<Item = &str> {
        let overdue = self.pending.iter().filter(|(_, due)| *due <= self.now);
        overdue.map(|(id, _)| id.as_str())
    }

    /// Returns the problems that do not depend on what was sent and seen.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let counts: u64 = self.counts.values().sum();
        let stamps: u64 = self.stamps.values().sum();
        let turns = counts + stamps + self.asked + self.rings + self.requests.turns();
        if self.turn != turns {
            let text = format!("the turn is {}, but {turns} turns are there", self.turn);
            problems.push(Problem::new(Kind::Torn, text));
        }
        if self.asked != (self.pending.len() + self.rang.len()) as u64 {
            let (asked, waiting, rang) = (self.asked, self.pending.len(), self.rang.len());
            let text = format!("{asked} alarms were requested, {waiting} wait, {rang} rang");
            problems.push(Problem::new(Kind::Torn, text));
        }
        problems.extend(self.requests.problems());
        for ghost in &self.ghosts {
            let text = format!("a turn that failed left {ghost}");
            problems.push(Problem::new(Kind::Early, text));
        }
        if self.early > 0 {
            let text = format!("{} alarms came with nothing due", self.early);
            problems.push(Problem::new(Kind::Alarm, text));
        }
        let first = self.pending.iter().map(|(_, due)| *due).min();
        if self.alarm != first {
            let text = format!("the alarm is {:?}, the first that waits {first:?}", self.alarm);
            problems.push(Problem::new(Kind::Torn, text));
        }
        self.torn_sets(&mut problems);
        problems
    }

    /// Checks that each set is whole, and what its stamp says.
    fn torn_sets(&self, problems: &mut Vec<Problem>) {
        let mut sets: BTreeMap<&str, BTreeMap<u64, Option<u64>>> = BTreeMap::new();
        for (who, index, stamp) in &self.parts {
            sets.entry(who).or_default().insert(*index, *stamp);
        }
        for who in self.stamps.keys() {
            sets.entry(who).or_default();
        }
        for (who, there) in sets {
            let wanted = self.stamps.get(who).map(|stamp| {
                let parts = (0..PARTS).filter(|index| part_bytes(*stamp, *index).is_some());
                parts.map(|index| (index, Some(*stamp))).collect::<BTreeMap<_, _>>()
            });
            if wanted.as_ref() != Some(&there) {
                let stamp = self.stamps.get(who);
                let text = format!("the set of {who} at {stamp:?} has the parts {there:?}");
                problems.push(Problem::new(Kind::Torn, text));
            }
        }
    }
}
