//! Replacements of connections with one id. Owns their count, and the decision that there are too many.
//!
//! Invariant: at most [`Limits::replacements_max`] follow each other within
//! [`Limits::replacement_window_ms`], so that two clients that share an id cannot replace each other forever.
//! Pure: it does not know who they are.

use room_core::limits::Limits;

/// A connection's knowledge of the earlier connections with its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replacements {
    /// When the first of them was replaced, in milliseconds since 1970.
    since_ms: u64,
    count: u64,
    /// True if a newcomer was refused since.
    refused: bool,
}

/// The decision about a newcomer whose id is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplacementDecision {
    /// It replaces the old connection, and gets this knowledge.
    Replaces(Replacements),
    /// It is refused.
    Refused {
        /// True once a window, so that the log gets one line a window.
        first: bool,
    },
}

impl Replacements {
    /// Decides about a newcomer at this time, in milliseconds since 1970.
    pub(super) fn meet(&mut self, now_ms: u64, limits: &Limits) -> ReplacementDecision {
        let ended = now_ms.saturating_sub(self.since_ms) >= limits.replacement_window_ms;
        if self.count == 0 || ended {
            return ReplacementDecision::Replaces(Self {
                since_ms: now_ms,
                count: 1,
                refused: false,
            });
        }
        if self.count < limits.replacements_max {
            return ReplacementDecision::Replaces(Self { count: self.count + 1, ..*self });
        }
        ReplacementDecision::Refused { first: !std::mem::replace(&mut self.refused, true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { replacements_max: 3, replacement_window_ms: 100, ..Limits::default() }
    }

    #[test]
    fn replacements_beyond_the_bound_are_refused_until_the_window_ends() {
        let mut known = Replacements::default();
        for now_ms in [1_000, 1_001, 1_050] {
            let ReplacementDecision::Replaces(next) = known.meet(now_ms, &limits()) else {
                panic!("refused at {now_ms}")
            };
            known = next;
        }
        assert_eq!(known.meet(1_060, &limits()), ReplacementDecision::Refused { first: true });
        assert_eq!(known.meet(1_099, &limits()), ReplacementDecision::Refused { first: false });
        let ReplacementDecision::Replaces(mut next) = known.meet(1_100, &limits()) else {
            panic!("the window ended")
        };
        assert!(matches!(next.meet(1_101, &limits()), ReplacementDecision::Replaces(_)));
    }

    #[test]
    fn a_clock_that_stands_still_keeps_the_bound() {
        let mut known = Replacements::default();
        let mut replaced = 0;
        while let ReplacementDecision::Replaces(next) = known.meet(7, &limits()) {
            known = next;
            replaced += 1;
        }
        assert_eq!(replaced, 3);
    }
}
