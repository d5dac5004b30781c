//! An operator's change of one key. Owns what it may do.
//!
//! Invariant: the limits on a guest's writes hold for it, and it is one commit or nothing. It does not know
//! whether its room runs.

use super::RoomError;
use bytes::Bytes;
use room_core::limits::Limits;
use room_core::span::Key;
use room_core::turn::{Refusal, Turn, Writes};
use room_store::{RoomStore, StoreError};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A key with its new value, or `None` to remove the key.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The key.
    pub key: Key,
    /// Its new value.
    pub value: Option<Bytes>,
}

/// The sender for the outcome of an edit: whether the key existed before, or why nothing was changed.
pub(super) type EditReply = oneshot::Sender<Result<Result<bool, Refusal>, RoomError>>;

impl Edit {
    /// Returns its size in a mailbox, in bytes.
    pub(super) fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// Returns its writes, and whether the key existed before. The inner error names a limit that the change
    /// exceeds: the caller must write nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the room's storage cannot be read.
    pub fn writes(
        self,
        store: &RoomStore,
        limits: &Arc<Limits>,
    ) -> Result<Result<(Writes, bool), Refusal>, StoreError> {
        let mut turn = Turn::new(store.view(), Arc::default(), None, limits.clone());
        let written = turn.get(&self.key).and_then(|old| {
            match self.value {
                Some(value) => turn.put(vec![(self.key, value)])?,
                None => drop(turn.delete(vec![self.key])?),
            }
            Ok(old.is_some())
        });
        let effects = turn.finish().map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(written.map(|was_there| (effects.writes, was_there)))
    }
}
