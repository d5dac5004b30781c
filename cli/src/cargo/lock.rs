//! Cargo's locks. Owns the message about a wait for one.
//!
//! Invariant: it takes no lock that it does not give back at once. It does not know what is built under one.

use crate::print;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// The time between two attempts.
const TICK: Duration = Duration::from_millis(50);
/// The wait after which a message is printed.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Waits while another cargo has one of these locks, and prints a message after a second.
///
/// # Cancel safety
/// Nothing is held while it waits.
pub(super) async fn wait(locks: &[PathBuf]) {
    let start = Instant::now();
    let mut said = false;
    while let Some(busy) = locks.iter().find(|lock| is_held(lock)) {
        if !said && start.elapsed() >= SILENCE_MAX {
            said = true;
            let text = format!("waiting for another cargo, which holds {}", busy.display());
            print::talk(print::styled(print::WARN, text));
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Returns true if a process has it now. A missing lock, or one on a disk without locks, is free.
fn is_held(lock: &Path) -> bool {
    let Ok(file) = File::open(lock) else { return false };
    // Closing the file gives it back.
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".cargo-lock");
        assert!(!is_held(&path));
        let file = File::create(&path).unwrap();
        assert!(!is_held(&path));
        file.lock().unwrap();
        assert!(is_held(&path));
        file.unlock().unwrap();
        assert!(!is_held(&path));
    }
}
