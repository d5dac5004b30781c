//! What a store remembers of being served. Owns the file in which that lies.
//!
//! Invariant: it is replaced as a whole, and one that is lost or older than it should be delays what is
//! reckoned by it, and never hastens it. It is no part of a backup. It does not know what is reckoned.

use super::{Store, StoreError, blocking, files};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file's name in the store's folder.
pub(super) const FILE: &str = "service";

/// For how long a store was served, and to what its parties are held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    /// Milliseconds, with all starts.
    pub(crate) served_ms: u64,
    /// The parties whose rooms end when nobody uses them.
    pub(crate) ttls: BTreeMap<String, TtlNote>,
}

/// A party's ttl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TtlNote {
    pub(crate) ttl_ms: u64,
    /// Since when it is as short, in milliseconds of service.
    pub(crate) since_ms: u64,
}

/// The file and what is in it.
#[derive(Debug, Default)]
pub(super) struct ServiceFile {
    path: Option<PathBuf>,
    known: Mutex<Service>,
}

impl ServiceFile {
    /// What the file in a folder says. One that cannot be understood says nothing.
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
    /// What is remembered. The last use that any room has noted is behind nobody's service.
    ///
    /// # Errors
    /// [`StoreError`] if the notes cannot be read.
    pub(crate) fn service(&self) -> Result<Service, StoreError> {
        let known = self.service.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Service { served_ms: known.served_ms.max(self.last_use()?), ..known })
    }

    /// Remembers this from now on. Blocks until the disk has it.
    ///
    /// # Errors
    /// [`StoreError`]: it is forgotten when the store is closed.
    pub(crate) fn keep_service(&self, service: Service) -> Result<(), StoreError> {
        let json =
            serde_json::to_vec(&service).map_err(|error| StoreError::Io(error.to_string()))?;
        *self.service.known.lock().unwrap_or_else(PoisonError::into_inner) = service;
        let path = self.service.path.as_ref();
        path.map_or(Ok(()), |path| blocking(|| files::replace(path, &json)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn what_was_served_is_remembered_and_a_damaged_file_is_no_obstacle() {
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
