//! The search for unused rooms. Owns the reading of rooms in the order of their last uses.
//!
//! Invariant: the cost of a search is that of its results, however many rooms are stored. It does not know
//! what time it is, or when a room is unused for too long.

use crate::{Store, StoreError, blocking, keys};
use room_core::id::{PartyName, RoomId};
use room_core::span::Direction;
use std::ops::ControlFlow;

impl Store {
    /// Shows the rooms of a party that were last used before this time, in the order of these times, until
    /// `show` stops the search.
    ///
    /// # Errors
    /// [`StoreError`] if the uses cannot be read.
    pub fn used_before(
        &self,
        party: &PartyName,
        before_ms: u64,
        mut show: impl FnMut(u64, RoomId) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let (tree, span) = (self.applier.shared().tree(), keys::touched_before(party, before_ms));
        if span.is_empty() {
            return Ok(());
        }
        blocking(|| {
            for key in tree.keys(&span) {
                match keys::decode_touched(&key?) {
                    Ok((at_ms, room)) => {
                        if show(at_ms, room).is_break() {
                            break;
                        }
                    }
                    // One that cannot be read must not hide the others.
                    Err(error) => tracing::error!(%error, "a room's use cannot be read"),
                }
            }
            Ok(())
        })
    }

    /// Returns the last noted use of any room, or 0 if no use is noted. Reads one key a party.
    ///
    /// # Errors
    /// [`StoreError`] if the uses cannot be read.
    pub(crate) fn last_use(&self) -> Result<u64, StoreError> {
        let tree = self.applier.shared().tree();
        blocking(|| {
            let (mut last_ms, mut span) = (0, keys::all_touched());
            loop {
                span.direction = Direction::Reverse;
                let Some(key) = tree.keys(&span).next() else { return Ok(last_ms) };
                let (at_ms, room) = keys::decode_touched(&key?)?;
                last_ms = last_ms.max(at_ms);
                span = keys::touched_below(room.party());
            }
        })
    }
}
