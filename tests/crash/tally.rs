//! The counts of a run. Owns the line that prints them.
//!
//! Invariant: a broken rule is counted by its meaning to a user, and nothing is left out of the line. It does not
//! know how it is found.

use crate::audit::{Kind, Problem};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// The counts of one run.
pub(crate) struct Tally {
    what: &'static str,
    pub(crate) crashes: u64,
    /// Of these, those while the folder was being opened.
    pub(crate) while_opening: u64,
    pub(crate) folders: u64,
    pub(crate) counts: u64,
    pub(crate) sets: u64,
    pub(crate) messages: u64,
    pub(crate) alarms: u64,
    /// The calls that were answered.
    pub(crate) calls: u64,
    /// The fetches that were answered.
    pub(crate) fetches: u64,
    /// Requests of fetches that were sent again.
    pub(crate) repeated: u64,
    /// The webhooks that were received.
    pub(crate) webhooks: u64,
    /// Requests that were given up before their answer.
    pub(crate) given_up: u64,
    /// Files that were overwritten with noise.
    pub(crate) garbled: u64,
    /// Starts that failed.
    pub(crate) not_opened: u64,
    /// The longest start.
    pub(crate) start_max: Duration,
    problems: BTreeMap<Kind, u64>,
    start: Instant,
}

impl Tally {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            crashes: 0,
            while_opening: 0,
            folders: 0,
            counts: 0,
            sets: 0,
            messages: 0,
            alarms: 0,
            calls: 0,
            fetches: 0,
            repeated: 0,
            webhooks: 0,
            given_up: 0,
            garbled: 0,
            not_opened: 0,
            start_max: Duration::ZERO,
            problems: BTreeMap::new(),
            start: Instant::now(),
        }
    }

    pub(crate) fn found(&mut self, problem: &Problem) {
        *self.problems.entry(problem.kind).or_default() += 1;
    }

    fn of(&self, kind: Kind) -> u64 {
        self.problems.get(&kind).copied().unwrap_or_default()
    }

    /// Returns true if no rule was broken and every folder opened.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.not_opened == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, crashes, while_opening, folders, counts, sets, messages, alarms, .. } =
            self;
        let seconds = self.start.elapsed().as_secs_f64();
        write!(f, "{crashes} {what} ({while_opening} while opening) of {folders} folders: ")?;
        write!(f, "{counts} acknowledged increments, {sets} sets checked, ")?;
        write!(f, "{messages} messages seen, {alarms} alarms, {} calls, ", self.calls)?;
        write!(f, "{} fetches and {} repetitions, ", self.fetches, self.repeated)?;
        write!(f, "{} webhooks, ", self.webhooks)?;
        write!(f, "{} given up, {} files garbled; ", self.given_up, self.garbled)?;
        write!(f, "lost {}, early {}, ", self.of(Kind::Lost), self.of(Kind::Early))?;
        write!(f, "torn {}, forged {}, ", self.of(Kind::Torn), self.of(Kind::Forged))?;
        write!(f, "out of order {}, twice {}, ", self.of(Kind::Order), self.of(Kind::Twice))?;
        write!(f, "alarms wrong {}, broken {}, ", self.of(Kind::Alarm), self.of(Kind::Broken))?;
        write!(f, "not opened {}; longest start {:?}; ", self.not_opened, self.start_max)?;
        write!(f, "{seconds:.1} s, {:.1} a second", *crashes as f64 / seconds)
    }
}
