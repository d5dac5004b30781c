//! A store's notes about the time for which it was served. Owns the file with these notes.
//!
//! Invariant: the file is replaced as a whole. If it is lost or too old, the calculations that use it come
//! out later, never earlier. It is not part of a backup. It does not know what is calculated.

use crate::{Store, StoreError, blocking, files};
use room_core::lock::lock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

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

/// The file and its contents.
#[derive(Debug, Default)]
pub(super) struct ServiceFile {
    path: Option<PathBuf>,
    known: Mutex<Service>,
}

impl ServiceFile {
    /// Reads the file of a folder. A file that cannot be understood counts as empty.
    pub(super) fn read(dir: &Path) -> Self {
        let path = dir.join(FILE);
        let known = match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).unwrap_or_else(|error| {
                tracing::warn!(%error, "{} is not a file of this store; it is written again", path.display());
                Service::default()
            }),
            Err(_) => Service::default(),
        };
        Self { path: Some(path), known: Mutex::new(known) }
    }
}

impl Store {
    /// Returns the notes. If the last noted use of any room is later than the noted service, that use counts.
    ///
    /// # Errors
    /// [`StoreError`] if the last uses cannot be read.
    pub fn service(&self) -> Result<Service, StoreError> {
        let known = lock(&self.service.known).clone();
        Ok(Service { served_ms: known.served_ms.max(self.last_use()?), ..known })
    }

    /// Replaces the notes. Blocks until the disk has them.
    ///
    /// # Errors
    /// [`StoreError`]: the notes are lost when the store is closed.
    pub fn keep_service(&self, service: Service) -> Result<(), StoreError> {
        let json =
            serde_json::to_vec(&service).map_err(|error| StoreError::Io(error.to_string()))?;
        *lock(&self.service.known) = service;
        let path = self.service.path.as_ref();
        path.map_or(Ok(()), |path| blocking(|| files::replace(path, &json)))
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
