//! Locks that outlive a panic of their holder. Owns the decision to keep using a poisoned lock.
//!
//! Invariant: no thread fails because another thread panicked. The standard library poisons a lock whose holder
//! panicked, as the value may be half changed. Here it is not: a holder changes the value by steps that
//! cannot panic, or leaves a value from which the next holder can continue. A panic is a fault of one room or one request,
//! and must not end its neighbours. It does not know what the locks guard.

use std::sync::{LockResult, Mutex, MutexGuard, PoisonError};

/// Locks a mutex, also after a holder of it panicked.
#[inline]
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    unpoisoned(mutex.lock())
}

/// Returns the guard of a lock, also after a holder of the lock panicked. For read-write locks and condition variables.
#[inline]
pub fn unpoisoned<T>(guard: LockResult<T>) -> T {
    guard.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, RwLock};
    use std::time::Duration;

    /// Panics in another thread, while that thread holds what `hold` returns.
    fn panic_with<T>(hold: impl FnOnce() -> T + Send) {
        let ended = std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _held = hold();
                panic!("while it holds the lock");
            });
            holder.join()
        });
        assert!(ended.is_err());
    }

    #[test]
    fn a_mutex_is_used_on_after_its_holder_panicked() {
        let mutex = Mutex::new(1);
        panic_with(|| mutex.lock());
        assert!(mutex.is_poisoned());
        *lock(&mutex) += 1;
        assert_eq!(*lock(&mutex), 2);
        let waited = Condvar::new().wait_timeout(lock(&mutex), Duration::ZERO);
        assert_eq!(*unpoisoned(waited).0, 2);
    }

    #[test]
    fn a_read_write_lock_is_used_on_after_its_holder_panicked() {
        let shared = RwLock::new(1);
        panic_with(|| shared.write());
        assert!(shared.is_poisoned());
        *unpoisoned(shared.write()) += 1;
        assert_eq!(*unpoisoned(shared.read()), 2);
    }
}
