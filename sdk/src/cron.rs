//! What a room's project wants done at planned times.
//!
//! Owns [`Cron`]. Invariant: plain data, the same for each delivery of one planned time. It does not know schedules.

use crate::time::Timestamp;

/// A cron of the project that is due, as `[crons]` of `room.toml` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    name: String,
    at: Timestamp,
}

impl Cron {
    pub(crate) fn new(name: String, at_ms: u64) -> Self {
        Self { name, at: Timestamp::from_millis(at_ms) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The planned time. A crash may repeat a call, with the same time, so it can mark what was done already. Of
    /// planned times that were missed, this is the last one.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}
