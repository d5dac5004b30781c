//! Code that exists in one place, which all others call, and values that must be the same where they are written twice.

use super::{none, root, rust};

/// A poisoned lock stays in use. `lock.rs` has the reason, and is the only place that handles poison.
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

/// A notable event of a room is in the room's log and in the process's log, with the same text. `report!` and the
/// methods of `RoomLog` do both. The store has no log of a room; the room reports what the store could not do.
#[test]
fn notable_events_of_a_room_are_reported_by_one_call() {
    let mut found = Vec::new();
    let own = |path: &str| path.contains("/logs/") || path.contains("/store/");
    for source in rust("runtime").iter().filter(|source| !own(&source.path)) {
        let code: String = source.lines().map(|(_, line)| line.to_owned() + "\n").collect();
        let traced = code.split("tracing::").skip(1).filter_map(|rest| rest.split(");").next());
        let about_a_room =
            |call: &str| [" %room", "(%room", "room = "].iter().any(|field| call.contains(field));
        for call in traced.filter(|call| about_a_room(call) && !call.contains("_span!(")) {
            found.push(format!("{} tracing::{call}", source.path));
        }
        for (number, line) in source.lines().filter(|(_, line)| line.contains(".keep(LogLevel")) {
            found.push(format!("{}:{number} {}", source.path, line.trim()));
        }
    }
    none("one log without the other: write `report!(warn, log, [fields], \"text\")`", found);
}

/// A room in a test meets the same limits as on a server with the defaults.
#[test]
fn the_mock_host_has_the_runtimes_limits() {
    let text = std::fs::read_to_string(root().join("sdk/src/test/limits.rs")).unwrap();
    let defaults = room_runtime::Limits::default();
    let (mut same, mut found) = (0, Vec::new());
    for line in text.lines() {
        let Some((_, constant)) = line.split_once("const ") else { continue };
        let (name, rest) = constant.split_once(':').unwrap();
        let value = rest.split_once('=').unwrap().1.trim_end_matches(';');
        let factors = value.split('*').map(|factor| factor.trim().replace('_', ""));
        let value: Option<u64> = factors.map(|factor| factor.parse::<u64>().ok()).product();
        let limit = defaults.value_of(&name.to_lowercase());
        // Its pages are small, so that tests of rooms cross them.
        if name != "LIST_PAGE_ENTRIES_MAX" && limit.is_some() {
            same += 1;
            if value != limit {
                found.push(format!("{name} is {value:?}, and not {limit:?}"));
            }
        }
    }
    assert!(same >= 10, "only {same} limits were found");
    none("limits of the mock host that are others than the runtime's", found);
}
