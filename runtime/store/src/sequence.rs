//! The numbers of a room's events and outputs. Owns that none is given twice.
//!
//! Invariant: each event and each output gets the next number of its room. A number is an epoch and a
//! position. Within an epoch the positions have no gap. Each activation of a room starts an epoch that no
//! earlier activation had, after the last durable position. So a number that a crash leaves unknown never
//! belongs to something else. It does not know what is numbered.

use room_core::id::SequenceNumber;
use std::sync::atomic::{AtomicU64, Ordering};

/// The numbers of one room, while it is in memory.
pub struct Sequence {
    epoch: u64,
    /// The last position that was given. Only the room itself takes positions, one turn after the other.
    last: AtomicU64,
}

impl Sequence {
    /// Continues after the last durable number, in this epoch or, if that number has a later one, in the
    /// epoch after that.
    pub(super) fn behind(durable: SequenceNumber, epoch: u64) -> Self {
        let epoch = epoch.max(durable.epoch.saturating_add(1));
        Self { epoch, last: AtomicU64::new(durable.seq) }
    }

    /// Takes this many numbers, and returns the first of them.
    #[inline]
    pub fn take(&self, count: usize) -> SequenceNumber {
        let last = self.last();
        let first = last.after(1);
        self.last.store(last.after(count as u64).seq, Ordering::Relaxed);
        first
    }

    /// Returns the last number that was taken, or the last durable one if none was.
    pub fn last(&self) -> SequenceNumber {
        SequenceNumber { epoch: self.epoch, seq: self.last.load(Ordering::Relaxed) }
    }
}

/// The epochs of a store's rooms: the upper bits hold the time of the store's opening, the lower bits count
/// activations.
pub(super) struct Epochs(AtomicU64);

/// Bits for the activations of one opening. Further activations use the epochs of a millisecond later.
const ACTIVATION_BITS: u32 = 22;

impl Epochs {
    /// Makes the epochs of an opening. `opened` is greater than at every earlier opening.
    pub(super) fn of_opening(opened: u64) -> Self {
        Self(AtomicU64::new(opened << ACTIVATION_BITS))
    }

    /// Returns an epoch that no activation had.
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_within_an_epoch_and_continue_after_the_durable_ones() {
        let number = |epoch, seq| SequenceNumber { epoch, seq };
        let sequence = Sequence::behind(number(3, 40), 7);
        assert_eq!(sequence.last(), number(7, 40));
        assert_eq!(
            [sequence.take(1), sequence.take(3), sequence.take(1)],
            [41, 42, 45].map(|at| number(7, at))
        );
        assert_eq!((sequence.take(0), sequence.last()), (number(7, 46), number(7, 45)));
        // A restored copy may come from a store whose clock was ahead.
        assert_eq!(Sequence::behind(number(9, 1), 7).take(1), number(10, 2));
    }

    #[test]
    fn epochs_grow_with_each_activation_and_each_opening() {
        let (one, two) = (Epochs::of_opening(5), Epochs::of_opening(6));
        let first = one.next();
        assert!(first < one.next() && one.next() < two.next());
    }
}
