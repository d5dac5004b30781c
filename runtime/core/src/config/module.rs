//! The module of a party, before it is compiled. Owns that its bytes are read only where they are needed.
//!
//! Invariant: the hash and the length are those of the bytes. It does not know where they are stored, or what is in
//! them.

use crate::id::ModuleHash;
use std::fmt;
use std::sync::Arc;

/// Reads the bytes, or says why that is impossible.
type Read = dyn Fn() -> Result<Arc<[u8]>, String> + Send + Sync;

/// A module: a WebAssembly component of the world `room:runtime/module`. Cheap to clone.
///
/// A process compiles the same module once, however many projects run it, and its bytes are read only then.
#[derive(Clone)]
pub struct ModuleSource {
    hash: ModuleHash,
    bytes: u64,
    read: Arc<Read>,
}

impl ModuleSource {
    /// Returns a module that is stored somewhere. The caller knows that `read` returns this many bytes with this hash,
    /// or an error.
    pub fn stored(
        hash: ModuleHash,
        bytes: u64,
        read: impl Fn() -> Result<Arc<[u8]>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { hash, bytes, read: Arc::new(read) }
    }

    /// Returns the hash of its bytes.
    pub fn hash(&self) -> ModuleHash {
        self.hash
    }

    /// Returns the number of its bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns its bytes. May block.
    ///
    /// # Errors
    /// A text that says why they cannot be read.
    pub fn read(&self) -> Result<Arc<[u8]>, String> {
        (self.read)()
    }
}

impl From<Arc<[u8]>> for ModuleSource {
    fn from(bytes: Arc<[u8]>) -> Self {
        let (hash, length) = (ModuleHash::of(&bytes), bytes.len() as u64);
        Self::stored(hash, length, move || Ok(bytes.clone()))
    }
}

impl From<Vec<u8>> for ModuleSource {
    fn from(bytes: Vec<u8>) -> Self {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl fmt::Debug for ModuleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleSource({})", self.hash)
    }
}
