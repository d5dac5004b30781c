//! The bytes that a room stores, with a turn's writes. Owns their measure.
//!
//! Invariant: only what needs an exact number waits for the store. It does not know what a turn writes next.

use super::{Cleared, ReadError, Refusal, Turn, View, Writes};
use crate::span::Overlay;

impl Turn {
    /// Returns the bytes of the room's keys and values, as this turn sees them. May wait for pending commits.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub fn bytes(&mut self) -> Result<u64, Refusal> {
        let bytes = stored_with(&*self.view, &self.effects.writes, &Overlay::new());
        bytes.map_err(|error| self.unavailable(error))
    }

    /// Returns true if the room stays within its bytes with these changes, which make the turn's writes
    /// `bytes`. Only a room near its bound is measured exactly.
    pub(super) fn has_room_for(
        &mut self,
        changes: &Overlay,
        bytes: usize,
    ) -> Result<bool, Refusal> {
        let max = self.limits.room_bytes_max;
        let stored_at_most = match self.effects.writes.cleared {
            Cleared::Yes => 0,
            Cleared::No => self.view.bytes_at_most(),
        };
        if stored_at_most.saturating_add(bytes as u64) <= max {
            return Ok(true);
        }
        let (view, writes) = (&*self.view, &self.effects.writes);
        let nothing = Overlay::new();
        // A change that does not enlarge the room is accepted, even where the room exceeds a limit that was
        // lowered.
        let measured = stored_with(view, writes, changes)
            .and_then(|bytes| Ok(bytes <= max || bytes <= stored_with(view, writes, &nothing)?));
        measured.map_err(|error| self.unavailable(error))
    }
}

/// Returns the room's bytes after some writes and then some changes.
fn stored_with(view: &dyn View, writes: &Writes, changes: &Overlay) -> Result<u64, ReadError> {
    let earlier = writes.keys.iter().filter(|(key, _)| !changes.contains_key(*key));
    let mut bytes = match writes.cleared {
        Cleared::Yes => 0,
        Cleared::No => view.bytes(),
    };
    for (key, value) in earlier.chain(changes) {
        if writes.cleared == Cleared::No
            && let Some(old) = view.value_len(key)?
        {
            bytes = bytes.saturating_sub((key.len() + old) as u64);
        }
        bytes += value.as_ref().map_or(0, |value| (key.len() + value.len()) as u64);
    }
    Ok(bytes)
}
