//! The bytes that a node holds for others. Owns their total.
//!
//! Invariant: never more is granted than the budget has, and a grant comes back with its permit. It does not
//! know what the bytes are for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes are granted in pages: a holder of less than one costs nothing, and takes nothing.
const PAGE: u64 = 4096;

/// The budget of the bytes that a node may hold for clients and rooms together: unfinished messages,
/// mailboxes, outboxes, bodies. Cheap to clone; clones are the same budget.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<BudgetPages>);

#[derive(Debug)]
struct BudgetPages {
    granted: AtomicU64,
    max: u64,
}

/// The right of one holder to keep bytes. It grows and shrinks with the bytes, and ends with its holder.
#[derive(Debug)]
pub struct BytePermit {
    budget: ByteBudget,
    pages: u64,
}

impl ByteBudget {
    /// Makes a budget of this many bytes, all free.
    pub fn new(bytes_max: u64) -> Self {
        Self(Arc::new(BudgetPages { granted: AtomicU64::new(0), max: bytes_max / PAGE }))
    }

    /// Returns the bytes that are granted.
    pub fn granted(&self) -> u64 {
        self.0.granted.load(Ordering::Relaxed) * PAGE
    }

    /// Returns a permit for no bytes yet.
    pub fn permit(&self) -> BytePermit {
        BytePermit { budget: self.clone(), pages: 0 }
    }
}

impl BytePermit {
    /// Extends the permit to this many bytes. Returns false, and leaves it unchanged, if the budget does not
    /// have as many.
    #[must_use]
    #[inline]
    pub fn cover(&mut self, bytes: usize) -> bool {
        let pages = bytes as u64 / PAGE;
        if pages > self.pages {
            let (more, max) = (pages - self.pages, self.budget.0.max);
            let grown = |granted: u64| granted.checked_add(more).filter(|sum| *sum <= max);
            let granted = &self.budget.0.granted;
            if granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_err() {
                return false;
            }
        } else if pages < self.pages {
            self.budget.0.granted.fetch_sub(self.pages - pages, Ordering::Relaxed);
        }
        self.pages = pages;
        true
    }

    /// Reduces the permit to at most this many bytes.
    #[inline]
    pub fn shrink(&mut self, bytes: usize) {
        if (bytes as u64) / PAGE < self.pages {
            let _smaller_is_always_granted = self.cover(bytes);
        }
    }
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granted_bytes_are_bounded_and_are_returned_on_drop() {
        let budget = ByteBudget::new(10 * PAGE);
        let (mut one, mut other) = (budget.permit(), budget.permit());
        assert!(one.cover(6 * 4096) && other.cover(4 * 4096 + 4095));
        assert_eq!(budget.granted(), 10 * PAGE);
        assert!(!one.cover(7 * 4096), "more than there is");
        assert!(one.cover(2 * 4096), "less is always granted");
        assert!(other.cover(8 * 4096));
        other.shrink(9 * 4096);
        assert_eq!(budget.granted(), 10 * PAGE);
        drop(one);
        assert_eq!(budget.granted(), 8 * PAGE);
        other.shrink(100);
        assert_eq!(budget.granted(), 0);
    }

    #[test]
    fn concurrent_requests_stay_within_the_budget() {
        let budget = ByteBudget::new(64 * PAGE);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut permit = budget.permit();
                    for round in 0..2_000_usize {
                        let _may_be_refused = permit.cover((round % 40) * 4096);
                        assert!(budget.granted() <= 64 * PAGE);
                    }
                });
            }
        });
        assert_eq!(budget.granted(), 0);
    }
}
