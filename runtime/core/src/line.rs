//! A line of tasks that wait for space. Owns which task is first.
//!
//! Invariant: first come, first served. A task that frees space wakes only the first, and the next follow
//! when it has left. Where no task waits, the line costs one look at a number. It does not know what the
//! space is.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Mutex, MutexGuard};

/// The waiting tasks.
#[derive(Debug, Default)]
pub struct WaitingLine {
    first: Mutex<()>,
    count: AtomicUsize,
}

/// The first place in a line, until it is dropped.
pub struct FirstInLine<'a> {
    _first: MutexGuard<'a, ()>,
    _place: LinePosition<'a>,
}

/// A place in a line.
struct LinePosition<'a>(&'a AtomicUsize);

impl WaitingLine {
    /// Returns true if no task waits.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Waits until every earlier task has left the line.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, its place in the line is given up.
    pub async fn first(&self) -> FirstInLine<'_> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let place = LinePosition(&self.count);
        FirstInLine { _first: self.first.lock().await, _place: place }
    }
}

impl Drop for LinePosition<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_waiter_that_gives_up_leaves_the_line() {
        let line = WaitingLine::default();
        assert!(line.is_empty());
        let first = line.first().await;
        let mut second = Box::pin(line.first());
        let mut third = Box::pin(line.first());
        assert!(
            second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none()
        );
        drop(second);
        drop(first);
        let third = third.await;
        assert!(!line.is_empty());
        drop(third);
        assert!(line.is_empty());
    }
}
