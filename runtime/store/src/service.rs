//! A store's notes about the time for which it was served. Owns what is noted.
//!
//! Invariant: if the notes are lost or too old, the calculations that use them come out later, never earlier. They are
//! not part of a backup. It does not know what is calculated.

use crate::notes::{Noted, merged_by_name};
use crate::{Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The file's name in the store's folder.
pub(super) const FILE: &str = "service";

/// The service of a store so far, and the ttls of its parties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Milliseconds of service, over all starts.
    pub served_ms: u64,
    /// The parties whose rooms expire.
    pub ttls: BTreeMap<String, TtlNote>,
}

/// A party's ttl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TtlNote {
    /// The ttl in milliseconds.
    pub ttl_ms: u64,
    /// The time since which the ttl has not been longer, in milliseconds of service.
    pub since_ms: u64,
}

impl Noted for Service {
    fn merged(before: &Self, new: Self, stored: Self) -> Self {
        let is_own = stored.served_ms == before.served_ms;
        let served_ms = if is_own { new.served_ms } else { new.served_ms.max(stored.served_ms) };
        Self { served_ms, ttls: merged_by_name(&before.ttls, new.ttls, stored.ttls) }
    }
}

impl Store {
    /// Returns the notes. If the last noted use of any room is later than the noted service, that use counts.
    ///
    /// # Errors
    /// [`StoreError`] if the last uses cannot be read.
    pub fn service(&self) -> Result<Service, StoreError> {
        let known = self.service.known();
        Ok(Service { served_ms: known.served_ms.max(self.last_use()?), ..known })
    }

    /// Replaces the notes. Blocks until the disk has them.
    ///
    /// # Errors
    /// [`StoreError`]: the notes are lost when the store is closed.
    pub fn keep_service(&self, service: Service) -> Result<(), StoreError> {
        self.service.keep(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::limits::Limits;

    #[test]
    fn the_service_clock_is_persisted_and_a_damaged_file_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(dir.path(), &Limits::default()).unwrap();
        let note = TtlNote { ttl_ms: 1_000, since_ms: 7 };
        let service = Service { served_ms: 9, ttls: [("main".to_owned(), note)].into() };
        let store = open();
        assert_eq!(store.service().unwrap(), Service::default());
        store.keep_service(service.clone()).unwrap();
        store.close();
        drop(store);
        let store = open();
        assert_eq!(store.service().unwrap(), service);
        store.close();
        drop(store);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(open().service().unwrap(), Service::default());
    }
}
