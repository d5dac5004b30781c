//! Checks that the received messages are the sent ones. Owns the row of numbers that a connection should see. Pure.
//!
//! Invariant: each number is classified once: the next one, one that later ones overtook, a repeated one, or one that
//! was never sent. It does not know what carries the numbers.

use serde::Serialize;
use std::collections::BTreeSet;

/// The number of overtaken numbers that are remembered. Beyond it, a late number counts as repeated. The run has
/// failed either way.
const MISSING_MAX: usize = 4_096;

/// The class of a number in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Its first arrival, before all later numbers.
    Once,
    /// Its first arrival, after a later number.
    Late,
    /// It arrived before.
    Twice,
    /// It was not sent.
    Unsent,
}

/// The numbers that one connection sees.
#[derive(Debug, Default)]
pub(crate) struct MessageSequence {
    /// One more than the highest number that came.
    next: u64,
    /// The lower numbers that did not come.
    missing: BTreeSet<u64>,
}

impl MessageSequence {
    /// Returns a row that starts with this number.
    pub(crate) fn from(next: u64) -> Self {
        Self { next, missing: BTreeSet::new() }
    }

    /// Takes a number. The numbers below `sent` were sent.
    pub(crate) fn take(&mut self, number: u64, sent: u64) -> Came {
        if number >= sent {
            return Came::Unsent;
        }
        if number < self.next {
            return if self.missing.remove(&number) { Came::Late } else { Came::Twice };
        }
        let space = MISSING_MAX.saturating_sub(self.missing.len());
        self.missing.extend((self.next..number).take(space));
        self.next = number + 1;
        Came::Once
    }

    /// Returns how many numbers below the highest did not come, at most [`MISSING_MAX`].
    pub(crate) fn gaps(&self) -> u64 {
        self.missing.len() as u64
    }
}

/// The number of checks and of the faults that they found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// Messages, connections or increments that were checked.
    pub(crate) looked_at: u64,
    /// Sent, and never received.
    pub(crate) lost: u64,
    /// Received more than once.
    pub(crate) twice: u64,
    /// Received after a later one.
    pub(crate) out_of_order: u64,
    /// Received with other content than sent.
    pub(crate) altered: u64,
    /// Counts that no client received, or that went back.
    pub(crate) wrong_counts: u64,
    /// Connections that the server ended or refused while they were used.
    pub(crate) broken: u64,
    /// The reasons of the first few of them.
    pub(crate) broken_by: Vec<String>,
}

impl Check {
    /// The number of reasons that are kept.
    const REASONS_MAX: usize = 3;

    /// Counts a received number.
    pub(crate) fn came(&mut self, came: Came) {
        self.looked_at += 1;
        match came {
            Came::Once => {}
            Came::Late => self.out_of_order += 1,
            Came::Twice => self.twice += 1,
            Came::Unsent => self.altered += 1,
        }
    }

    /// Counts a connection that broke.
    pub(crate) fn broke(&mut self, why: impl std::fmt::Display) {
        self.broken += 1;
        let why = why.to_string();
        if self.broken_by.len() < Self::REASONS_MAX && !self.broken_by.contains(&why) {
            self.broken_by.push(why);
        }
    }

    /// Returns the faults, in words. `None` means that nothing is at fault.
    pub(crate) fn faults(&self) -> Option<String> {
        let found = [
            (self.lost, "lost"),
            (self.twice, "came twice"),
            (self.out_of_order, "came out of order"),
            (self.altered, "not as sent"),
            (self.wrong_counts, "wrong counts"),
            (self.broken, "connections broke"),
        ];
        let found: Vec<_> = found
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if found.is_empty() {
            return None;
        }
        let why = match self.broken_by.is_empty() {
            true => String::new(),
            false => format!(" ({})", self.broken_by.join("; ")),
        };
        Some(found.join(", ") + &why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(numbers: &[u64]) -> Vec<Came> {
        let mut row = MessageSequence::default();
        numbers.iter().map(|number| row.take(*number, 10)).collect()
    }

    #[test]
    fn each_number_is_classified_by_its_order() {
        use Came::{Late, Once, Twice, Unsent};
        assert_eq!(taken(&[0, 1, 2]), [Once, Once, Once]);
        assert_eq!(taken(&[0, 2, 1, 1]), [Once, Once, Late, Twice]);
        assert_eq!(taken(&[3, 3, 10, 4]), [Once, Twice, Unsent, Once]);
        let mut row = MessageSequence::from(5);
        assert_eq!((row.take(4, 9), row.take(7, 9), row.gaps()), (Twice, Once, 2));
    }

    proptest! {
        #[test]
        fn skipped_numbers_are_missing_and_swapped_ones_are_late(
            kept in prop::collection::vec(any::<bool>(), 1..200),
            swapped in 0usize..200,
        ) {
            let mut numbers: Vec<u64> =
                (0u64..).zip(&kept).filter(|(_, kept)| **kept).map(|(number, _)| number).collect();
            let at = swapped % kept.len();
            let swaps = at + 1 < numbers.len();
            if swaps {
                numbers.swap(at, at + 1);
            }
            let (mut row, mut check) = (MessageSequence::default(), Check::default());
            for number in &numbers {
                check.came(row.take(*number, kept.len() as u64));
            }
            let highest = numbers.iter().max().map_or(0, |highest| highest + 1);
            prop_assert_eq!(row.gaps(), highest - numbers.len() as u64);
            prop_assert_eq!(check.out_of_order, u64::from(swaps));
            prop_assert_eq!((check.twice, check.altered), (0, 0));
        }

        #[test]
        fn the_check_uses_bounded_memory_for_any_input(numbers in prop::collection::vec(any::<u64>(), 0..20)) {
            let mut row = MessageSequence::default();
            for number in numbers {
                row.take(number, u64::MAX);
            }
            prop_assert!(row.missing.len() <= MISSING_MAX);
        }
    }

    #[test]
    fn each_kind_of_fault_has_a_sentence() {
        let mut check = Check { lost: 2, ..Check::default() };
        check.broke("closed with 1013");
        check.broke("closed with 1013");
        let told = check.faults();
        assert_eq!(told.as_deref(), Some("2 lost, 2 connections broke (closed with 1013)"));
        assert_eq!(Check { looked_at: 7, ..Check::default() }.faults(), None);
    }
}
