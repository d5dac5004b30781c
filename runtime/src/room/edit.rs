//! A change that an operator makes to one key. Owns what it may do.
//!
//! Invariant: it is held to the limits that a guest is held to, and is one commit or nothing. It does not
//! know whether its room runs.

use super::RoomError;
use crate::limits::Limits;
use crate::span::Key;
use crate::store::{RoomStore, StoreError};
use crate::turn::{Refusal, Turn, Writes};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A key with its new value, or none for a key that goes.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) key: Key,
    pub(crate) value: Option<Bytes>,
}

/// Where the outcome of an edit goes: whether the key was there before, or why nothing was changed.
pub(super) type EditReply = oneshot::Sender<Result<Result<bool, Refusal>, RoomError>>;

impl Edit {
    /// Its size in a mailbox, in bytes.
    pub(super) fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// What it writes, and whether the key was there before. The inner error is a limit's: nothing may be
    /// written.
    ///
    /// # Errors
    /// [`StoreError`] if the room's storage cannot be read.
    pub(crate) fn writes(
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
