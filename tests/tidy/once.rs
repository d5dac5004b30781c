//! What is written in one place, and called from all others.

use super::{none, rust};

/// A poisoned lock is used on. Why, says `lock.rs`, and nobody else has to.
#[test]
fn poisoned_locks_are_handled_in_one_place() {
    let homes = [
        "runtime/core/src/lock.rs",
        // It builds guests for tests of crates that do not know the runtime.
        "tests/guest/src/lib.rs",
        "tests/tidy/once.rs",
    ];
    let mut found = Vec::new();
    for folder in ["runtime", "cli", "tests"] {
        for source in rust(folder).iter().filter(|source| !homes.contains(&source.path.as_str())) {
            for (number, line) in source.text.lines().enumerate() {
                if line.contains("PoisonError") {
                    found.push(format!("{}:{} {}", source.path, number + 1, line.trim()));
                }
            }
        }
    }
    none("a poisoned lock outside lock.rs: call `lock(&mutex)` or `unpoisoned(guard)`", found);
}
