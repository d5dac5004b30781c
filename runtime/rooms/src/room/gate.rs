//! The output gate: holds outgoing messages until the commits that they depend on are durable. Owns the order
//! of outputs.
//!
//! Invariant: outputs leave in the order of their turns, and none before the commits of its own and all
//! earlier turns are durable. Once a commit is lost, no later output ever leaves. Pure: it does not know what
//! the outputs are or how durability comes about.

use room_store::{Offset, Settled, StoreError};
use std::collections::VecDeque;

/// The output gate of one room.
pub(crate) struct OutputGate<T> {
    held: VecDeque<(Offset, T)>,
    /// The newest commit that was not known to be durable when its output came.
    last: Offset,
}

impl<T> Default for OutputGate<T> {
    fn default() -> Self {
        Self { held: VecDeque::new(), last: Offset::default() }
    }
}

impl<T> OutputGate<T> {
    /// Takes the output of a turn. `commit` is the offset at which its writes are durable, if it wrote.
    ///
    /// An output without writes waits only for earlier turns. If none is held, `hold` returns the output at
    /// once.
    pub(crate) fn hold(&mut self, commit: Option<Offset>, output: T) -> Option<T> {
        if commit.is_none() && self.held.is_empty() {
            return Some(output);
        }
        self.last = commit.unwrap_or(self.last);
        self.held.push_back((self.last, output));
        None
    }

    /// Returns the next output that may leave, if there is one.
    ///
    /// # Errors
    /// The error by which its commit was lost: no held output may ever leave.
    pub(crate) fn release(
        &mut self,
        settled: impl Fn(Offset) -> Settled,
    ) -> Result<Option<T>, StoreError> {
        let Some((offset, _)) = self.held.front() else {
            return Ok(None);
        };
        match settled(*offset) {
            Settled::Waiting => Ok(None),
            Settled::Durable => Ok(self.held.pop_front().map(|(_, output)| output)),
            Settled::Lost(error) => Err(error),
        }
    }

    /// Returns true if no output is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns the held outputs, so that their owner can answer the waiting callers.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.held).into_iter().map(|(_, output)| output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_store::testing::offset;

    fn up_to(durable: u64) -> impl Fn(Offset) -> Settled {
        move |at| {
            if at <= offset(durable) { Settled::Durable } else { Settled::Waiting }
        }
    }

    fn all(gate: &mut OutputGate<&'static str>, durable: u64) -> Vec<&'static str> {
        std::iter::from_fn(|| gate.release(up_to(durable)).unwrap()).collect()
    }

    #[test]
    fn a_turn_that_wrote_nothing_waits_only_for_earlier_ones() {
        let mut gate = OutputGate::default();
        assert_eq!(gate.hold(None, "free"), Some("free"));
        assert_eq!(gate.hold(Some(offset(1)), "wrote"), None);
        assert_eq!(gate.hold(None, "behind"), None);
        assert_eq!(all(&mut gate, 0), [""; 0]);
        assert_eq!(all(&mut gate, 1), ["wrote", "behind"]);
        assert_eq!(gate.hold(None, "free again"), Some("free again"));
    }

    #[test]
    fn outputs_leave_in_the_order_of_their_turns() {
        let mut gate = OutputGate::default();
        gate.hold(Some(offset(1)), "a");
        gate.hold(Some(offset(2)), "b");
        gate.hold(None, "c");
        gate.hold(Some(offset(3)), "d");
        assert_eq!(all(&mut gate, 2), ["a", "b", "c"]);
        assert_eq!(all(&mut gate, 3), ["d"]);
    }

    #[test]
    fn nothing_leaves_after_a_lost_commit() {
        let mut gate = OutputGate::default();
        gate.hold(Some(offset(1)), "lost");
        gate.hold(None, "after");
        let lost = |_| Settled::Lost(StoreError::Io("full".to_owned()));
        assert_eq!(gate.release(lost), Err(StoreError::Io("full".to_owned())));
        assert_eq!(gate.release(up_to(0)), Ok(None));
        assert_eq!(gate.abandon().collect::<Vec<_>>(), ["lost", "after"]);
    }
}
