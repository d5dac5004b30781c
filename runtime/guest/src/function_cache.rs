//! Compiled functions, kept in memory. Owns the bound on their bytes.
//!
//! Invariant: the cache holds at most [`FUNCTION_CACHE_BYTES_MAX`], and returns a function as it came in. It
//! does not know when two functions are the same: the compiler's key decides that.
//!
//! An edit changes few functions of a module. The compiler takes the others from here when it compiles the
//! module again.

use hashbrown::HashMap;
use room_core::limits::fixed::FUNCTION_CACHE_BYTES_MAX;
use room_core::lock::lock;
use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard};
use wasmtime::CacheStore;

/// The functions compiled since the process started, as far as they fit.
#[derive(Debug, Default)]
pub(super) struct FunctionCache {
    kept: Mutex<CachedFunctions>,
}

#[derive(Debug, Default)]
struct CachedFunctions {
    functions: HashMap<Vec<u8>, Vec<u8>>,
    /// The bytes of keys and functions.
    bytes: usize,
}

impl FunctionCache {
    fn kept(&self) -> MutexGuard<'_, CachedFunctions> {
        lock(&self.kept)
    }
}

impl CacheStore for FunctionCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.kept().functions.get(key).cloned().map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.kept().insert(key, value, FUNCTION_CACHE_BYTES_MAX)
    }
}

impl CachedFunctions {
    /// Keeps a function. If it does not fit beside the others, they are dropped. Returns whether it fits at
    /// all. Keys count, too.
    fn insert(&mut self, key: &[u8], value: Vec<u8>, bytes_max: usize) -> bool {
        let bytes = key.len() + value.len();
        if bytes > bytes_max {
            return false;
        }
        if self.bytes + bytes > bytes_max {
            *self = Self::default();
        }
        self.bytes += bytes;
        if let Some(replaced) = self.functions.insert(key.to_owned(), value) {
            self.bytes -= key.len() + replaced.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_function_is_returned_unchanged() {
        let cache = FunctionCache::default();
        assert_eq!(cache.get(b"one"), None);
        assert!(cache.insert(b"one", b"code".to_vec()));
        assert_eq!(cache.get(b"one").as_deref(), Some(b"code".as_slice()));
    }

    #[test]
    fn the_cache_never_holds_more_than_its_bytes() {
        let mut kept = CachedFunctions::default();
        for round in 0..100_u8 {
            assert!(kept.insert(&[round % 7], vec![round; usize::from(round % 11)], 40));
            let held = kept.functions.iter().map(|(key, code)| key.len() + code.len());
            assert_eq!(held.sum::<usize>(), kept.bytes);
            assert!(kept.bytes <= 40, "{}", kept.bytes);
        }
        assert!(!kept.insert(b"long", vec![0; 40], 40), "more than fits");
    }
}
