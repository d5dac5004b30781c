//! The number of times connections with one id took each other's place, counted as the runtime does.
//!
//! Invariant: at most [`REPLACEMENTS_MAX`] follow each other within [`REPLACEMENT_WINDOW_MS`]. It does not know who
//! they are.

use super::limits::{REPLACEMENT_WINDOW_MS, REPLACEMENTS_MAX};

/// What a connection knows of those that had its id before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replacements {
    /// When the first one was replaced.
    since_ms: u64,
    count: u64,
    /// True if a newcomer was refused since.
    refused: bool,
}

/// What becomes of a newcomer whose id is in use.
pub(super) enum Newcomer {
    /// It takes the place, and knows this.
    Replaces(Replacements),
    /// It is turned away, and is the first one or not.
    Refused { first: bool },
}

impl Replacements {
    /// Decides about a newcomer at this time.
    pub(super) fn meet(&mut self, now_ms: u64) -> Newcomer {
        let ended = now_ms.saturating_sub(self.since_ms) >= REPLACEMENT_WINDOW_MS;
        if self.count == 0 || ended {
            return Newcomer::Replaces(Self { since_ms: now_ms, count: 1, refused: false });
        }
        if self.count < REPLACEMENTS_MAX {
            return Newcomer::Replaces(Self { count: self.count + 1, ..*self });
        }
        Newcomer::Refused { first: !std::mem::replace(&mut self.refused, true) }
    }
}
