//! A store's note about the tickets of its project. Owns where the key of tickets is kept.
//!
//! Invariant: the key is that of the folder as long as the file exists. It is not part of a backup: without it, tickets
//! that were made before are invalid, and they live for a short time only. It does not know what a ticket is.

use crate::notes::Noted;
use crate::{Store, StoreError};
use serde::{Deserialize, Serialize};

/// The file's name in the store's folder.
pub(super) const FILE: &str = "tickets";

/// The key, as its owner writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TicketNote {
    key: Option<String>,
}

impl Noted for TicketNote {
    fn merged(before: &Self, new: Self, stored: Self) -> Self {
        // The first of two nodes has made the key of both.
        if stored.key == before.key { new } else { stored }
    }
}

impl Store {
    /// Returns the key of tickets, if one was kept.
    pub fn ticket_key(&self) -> Option<String> {
        self.tickets.known().key
    }

    /// Keeps the key of tickets, unless another node has kept one since it was asked for. Blocks until the disk has it.
    ///
    /// # Errors
    /// [`StoreError`]: the key is lost when the store is closed.
    pub fn keep_ticket_key(&self, key: String) -> Result<(), StoreError> {
        self.tickets.keep(TicketNote { key: Some(key) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::limits::Limits;

    #[test]
    fn the_key_of_tickets_survives_a_restart_and_a_damaged_file_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(dir.path(), &Limits::default()).unwrap();
        let store = open();
        assert_eq!(store.ticket_key(), None);
        store.keep_ticket_key("k".to_owned()).unwrap();
        store.close();
        drop(store);
        assert_eq!(open().ticket_key().as_deref(), Some("k"));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(open().ticket_key(), None);
    }
}
