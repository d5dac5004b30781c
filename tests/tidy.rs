//! The house's rules as tests: which part may know which, how large files get, what docs must say.
//!
//! They read the sources as text, so that they cost nothing and need no build. A rule that fails says which file
//! breaks it. The reason of a rule is beside the rule.

#[path = "tidy/gallery.rs"]
mod gallery;
#[path = "tidy/once.rs"]
mod once;
#[path = "tidy/words.rs"]
mod words;

use std::path::{Path, PathBuf};

/// One source file.
struct Source {
    /// Its path below the repository's root, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Folders without sources of ours.
const NOT_OURS: [&str; 5] = ["target", "node_modules", ".git", ".room", "dist"];

/// Returns the files below a folder whose names end so.
fn files(folder: &str, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                if !NOT_OURS.contains(&name.as_str()) && !name.starts_with("target") {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let below = path.strip_prefix(root()).expect("it was found below the root");
                let below = below.to_string_lossy().replace('\\', "/");
                if let Ok(text) = std::fs::read_to_string(&path) {
                    found.push(Source { path: below, text });
                }
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "nothing found below {folder}");
    found
}

fn rust(folder: &str) -> Vec<Source> {
    files(folder, &[".rs"])
}

impl Source {
    /// Returns its code without unit tests. Tests are `mod tests` at the end of a file, or files of their own.
    fn code(&self) -> &str {
        if self.is_test() {
            return "";
        }
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        &self.text[..end]
    }

    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.contains("/tests/") || matches!(name, "tests.rs" | "testing.rs")
    }

    /// Returns its lines of code with their numbers, without comments.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code()
            .lines()
            .enumerate()
            .map(|(number, line)| (number + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Returns the line of its code in which this library is named: `word::`. A module of our own by that name does
    /// not count, nor does text in backticks.
    fn names(&self, word: &str) -> Option<usize> {
        let path = format!("{word}::");
        if self.lines().any(|(_, line)| line == format!("mod {word};")) {
            return None;
        }
        let found = self.lines().find(|(_, line)| {
            line.match_indices(&path).any(|(at, _)| {
                // `crate::x` and `super::x` are modules of our own, `::x` is the library.
                let before = line[..at].trim_end_matches("::");
                let own = before.len() < at && before.ends_with(|c: char| c.is_alphanumeric());
                !own && !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '`'))
            })
        });
        found.map(|(number, _)| number)
    }
}

/// Fails with all findings.
fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// The places where HTTP is served: to clients, to operators of rooms and, in a server, to operators of projects.
const SERVING: [&str; 6] = [
    "runtime/door/src/",
    "runtime/operator/src/",
    "runtime/src/server/api.rs",
    "runtime/src/server/failure.rs",
    "runtime/src/server/guard.rs",
    "runtime/src/server/hosts.rs",
];

/// The places that know HTTP's own types: where it is served, and where other servers are asked.
const HTTP: [&str; 7] =
    [SERVING[0], SERVING[1], SERVING[2], SERVING[3], SERVING[4], SERVING[5], "runtime/fetch/src/"];

/// A library has one home, so that replacing it touches one place.
#[test]
fn each_library_has_one_home() {
    let homes: [(&str, &[&str]); 28] = [
        ("wasmtime", &["runtime/guest/src/"]),
        ("wasmtime_wasi", &["runtime/guest/src/"]),
        ("sled", &["runtime/store/src/sled.rs"]),
        ("axum", &SERVING),
        ("hyper", &["runtime/door/src/", "runtime/fetch/src/"]),
        ("hyper_util", &["runtime/door/src/", "runtime/fetch/src/"]),
        (
            "tokio_rustls",
            &["runtime/door/src/", "runtime/fetch/src/", "runtime/database/src/connect.rs"],
        ),
        ("rustls", &["runtime/door/src/", "runtime/fetch/src/", "runtime/database/src/connect.rs"]),
        ("rustls_native_certs", &["runtime/fetch/src/", "runtime/database/src/connect.rs"]),
        ("tokio_postgres", &["runtime/database/src/"]),
        ("tokio_postgres_rustls", &["runtime/database/src/connect.rs"]),
        ("deadpool_postgres", &["runtime/database/src/"]),
        ("ring::aead", &["runtime/src/server/vault.rs"]),
        ("url", &["runtime/fetch/src/"]),
        ("ring::hmac", &["runtime/auth/src/", "runtime/fetch/src/signature.rs"]),
        ("ring::signature", &["runtime/auth/src/"]),
        ("tokio_tungstenite", &["runtime/door/src/"]),
        ("http", &HTTP),
        ("bytestring", &["runtime/core/src/event/text.rs"]),
        ("rand", &["runtime/guest/src/"]),
        ("rustix", &["runtime/core/src/clock.rs"]),
        ("metrics", &["runtime/core/src/metrics.rs"]),
        ("metrics_exporter_prometheus", &["runtime/core/src/metrics.rs"]),
        ("croner", &["runtime/core/src/schedule.rs"]),
        ("chrono", &["runtime/core/src/schedule.rs", "runtime/core/src/schedule/"]),
        ("chrono_tz", &["runtime/core/src/schedule.rs"]),
        ("clap", &[]),
        ("anyhow", &[]),
    ];
    let mut found = Vec::new();
    for source in rust("runtime") {
        for (library, homes) in homes {
            if !homes.iter().any(|home| source.path.starts_with(home))
                && let Some(line) = source.names(library)
            {
                found.push(format!("{}:{line} names {library}", source.path));
            }
        }
    }
    none("a library outside its home", found);
}

/// The environment and the clock reach the runtime in one place each, so that tests own both.
#[test]
fn the_environment_and_the_clock_have_one_home_each() {
    let mut found = Vec::new();
    for source in rust("runtime") {
        for (number, line) in source.lines() {
            let env = line.contains("std::env") && !source.path.ends_with("core/src/config.rs");
            let time = line.contains("std::time::")
                && (line.contains("Instant") || line.contains("SystemTime"))
                && !source.path.ends_with("/clock.rs");
            let print = ["println!(", "print!(", "eprintln!(", "eprint!(", "dbg!("];
            let prints = print.iter().any(|word| line.contains(word));
            if env || time || prints {
                found.push(format!("{}:{number} {}", source.path, line.trim()));
            }
        }
    }
    none("std::env, the clock or printing outside its home", found);
}

/// The crates of the runtime that each of them may know. Cargo holds the arrows; this is the drawing.
const CRATES: &[(&str, &str)] = &[
    ("core", ""),
    ("database", "core"),
    ("store", "core database"),
    ("auth", "core"),
    ("guest", "core auth"),
    ("fetch", "core"),
    ("rooms", "core database store auth guest fetch"),
    ("door", "core auth guest fetch rooms"),
    ("operator", "core store guest rooms door"),
    ("runtime", "core database store auth guest rooms door operator"),
];

/// The modules that each module of a crate may know, where the crate has more than one part.
const LAYERS: &[(&str, &[(&str, &str)])] = &[
    (
        "core",
        &[
            ("limits", ""),
            ("assets", ""),
            ("byte_budget", ""),
            ("clock", ""),
            ("line", ""),
            ("lock", ""),
            ("metrics", ""),
            ("ttl", ""),
            ("id", "limits"),
            ("identity", ""),
            ("span", "limits"),
            ("encoding", "span"),
            ("rate", ""),
            ("schedule", "limits"),
            ("exchange", "limits encoding"),
            ("fetch", "limits exchange"),
            ("jobs", "limits id span encoding exchange fetch"),
            ("webhooks", "limits id jobs schedule"),
            ("config", "limits id ttl event schedule webhooks"),
            ("connection", "limits id identity encoding"),
            ("event", "limits id identity encoding connection exchange jobs"),
            ("presence", "limits id identity"),
            ("turn", "limits id encoding connection event span jobs presence"),
            ("logs", "limits id clock lock"),
            ("lib", "*"),
        ],
    ),
    (
        "rooms",
        &[
            ("taps", ""),
            ("cluster", ""),
            ("room", "taps cluster"),
            ("rooms", "taps cluster room"),
            ("alarms", "rooms"),
            ("expiry", "rooms"),
            ("crons", "room rooms"),
            ("webhooks", "rooms"),
            ("lib", "*"),
        ],
    ),
    ("runtime", &[("node", ""), ("runtime", "node"), ("server", "node"), ("lib", "*")]),
];

/// Returns the crate of a source of the runtime, and its path below that crate's `src`.
fn crate_of(path: &str) -> (&str, &str) {
    let below = path.strip_prefix("runtime/").expect("a source of the runtime");
    match below.strip_prefix("src/") {
        Some(below) => ("runtime", below),
        None => below.split_once("/src/").expect("each crate has its sources in `src`"),
    }
}

#[test]
fn crates_of_the_runtime_know_only_what_is_below_them() {
    let mut found = Vec::new();
    for (name, below) in CRATES {
        let path = match *name {
            "runtime" => "runtime/Cargo.toml".to_owned(),
            name => format!("runtime/{name}/Cargo.toml"),
        };
        let manifest = std::fs::read_to_string(root().join(&path)).expect("a manifest");
        let used = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for (other, _) in CRATES {
            let known = used.lines().any(|line| {
                line.strip_prefix("room-")
                    .and_then(|rest| rest.strip_prefix(other))
                    .is_some_and(|rest| rest.starts_with([' ', '.']))
            });
            if known != below.split(' ').any(|below| below == *other) {
                found.push(format!("{path}: {other}"));
            }
        }
    }
    none("an arrow that is not in the drawing, or one of the drawing that nobody uses", found);
}

#[test]
fn parts_of_the_runtime_know_only_what_is_below_them() {
    let mut found = Vec::new();
    for source in rust("runtime") {
        let (in_crate, below) = crate_of(&source.path);
        // A path upward reaches the crate's own modules, and would not be seen below.
        let depth = below.trim_end_matches("/mod.rs").split('/').count();
        if source.code().contains(&"super::".repeat(depth)) {
            found.push(format!("{} goes up to the crate by super::", source.path));
        }
        let Some((_, layers)) = LAYERS.iter().find(|(name, _)| *name == in_crate) else {
            continue;
        };
        let part = below.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some((_, allowed)) = layers.iter().find(|(name, _)| *name == part) else {
            found
                .push(format!("{} belongs to no layer: give it one in tests/tidy.rs", source.path));
            continue;
        };
        for used in used_of_crate(source.code()) {
            let known = *allowed == "*" || used == part || allowed.split(' ').any(|a| a == used);
            if layers.iter().any(|(name, _)| *name == used) && !known {
                found.push(format!("{} {part} knows {used}", source.path));
            }
        }
    }
    none("an arrow that points up", found);
}

/// Returns the first names after `crate::` in this code, those in braces included.
fn used_of_crate(code: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut used = Vec::new();
    for rest in code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
        .split("crate::")
        .skip(1)
    {
        let Some(group) = rest.strip_prefix('{') else {
            used.push(name(rest));
            continue;
        };
        let (mut depth, mut start) = (1, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || (c == ',' && depth == 1) {
                used.push(name(&group[start..at]));
                start = at + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

#[test]
fn names_in_braces_are_seen_as_used() {
    let code = "use crate::{room, store::{self, Tree}, wasm as guests};\n// crate::door\nfn f(a: crate::id::RoomId) {}";
    assert_eq!(used_of_crate(code), ["room", "store", "wasm", "id"]);
}

/// Bounds that no operator and no author of a room runs into, beside the code that they bound.
const OWN_BOUNDS: [(&str, &str); 12] = [
    ("core/src/config/origin.rs", "HOST_BYTES_MAX"),
    ("core/src/config/prefix.rs", "PREFIX_BYTES_MAX"),
    ("door/src/hooks.rs", "LOOKS_MAX"),
    ("door/src/listener/proxy_header.rs", "LINE_BYTES_MAX"),
    ("door/src/upgrade/frames.rs", "HEAD_BYTES_MAX"),
    ("core/src/event.rs", "REASON_BYTES_MAX"),
    ("operator/src/sign_in.rs", "BODY_BYTES_MAX"),
    ("src/server/release.rs", "PROBLEMS_MAX"),
    ("store/src/testing.rs", "HOLD_MAX"),
    ("store/src/verify.rs", "PROBLEMS_MAX"),
    ("core/src/ttl.rs", "MAX"),
    ("guest/src/wasi.rs", "PRINT_BYTES_MAX"),
];

/// A user who meets a bound finds it in the table of `room limits`.
#[test]
fn every_bound_is_in_the_table_of_limits() {
    let mut found = Vec::new();
    for source in rust("runtime") {
        let path = source.path.trim_start_matches("runtime/");
        for (number, line) in source.lines() {
            let constant = line.split_once("const ").and_then(|(_, rest)| rest.split_once(':'));
            let Some((name, _)) = constant.filter(|(name, _)| name.ends_with("MAX")) else {
                continue;
            };
            if !path.starts_with("core/src/limits") && !OWN_BOUNDS.contains(&(path, name)) {
                found.push(format!("{path}:{number} {name}"));
            }
        }
    }
    none("a bound that is in no table: it belongs into limits.rs or limits/fixed.rs", found);
}

/// The contract between host and guest is the WIT, and nothing else.
#[test]
fn the_runtime_and_the_sdk_do_not_know_each_other() {
    let manifest = |path: &str| std::fs::read_to_string(root().join(path)).expect("a manifest");
    assert!(!manifest("runtime/Cargo.toml").contains("room-sdk"));
    assert!(!manifest("sdk/Cargo.toml").contains("room-runtime"));
    for folder in ["runtime", "cli/src"] {
        let knows = rust(folder).into_iter().filter(|source| source.names("room_sdk").is_some());
        none("the SDK outside rooms", knows.map(|source| source.path).collect());
    }
}

/// Lines of code at which a file must be split.
const LINES_MAX: usize = 600;
/// Lines of code at which a reviewer should look.
const LINES_ALARM: usize = 500;

#[test]
fn no_file_is_too_long() {
    let mut found = Vec::new();
    for folder in ["runtime", "cli/src", "sdk/src", "rooms-examples", "tests"] {
        for source in rust(folder) {
            // It is generated. Tests are as long as the list of what they test.
            if source.path == "sdk/src/bindings.rs" {
                continue;
            }
            let lines = source.code().lines().count();
            if lines > LINES_ALARM {
                say(&format!("{} has {lines} lines; can its interface be cut thin?", source.path));
            }
            if lines > LINES_MAX {
                found.push(format!("{} has {lines} lines", source.path));
            }
        }
    }
    none("a file too long", found);
}

#[expect(clippy::print_stderr, reason = "an alarm, to be read")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Returns the docs at the head of a file as one line.
fn head(source: &Source) -> String {
    let docs = source.text.lines().take_while(|line| line.starts_with("//!") || line.is_empty());
    docs.map(|line| line.trim_start_matches("//!").trim()).collect::<Vec<_>>().join(" ")
}

/// A module says what it owns, what it keeps true, and what it does not know.
#[test]
fn every_module_says_its_invariant_and_what_it_does_not_know() {
    let mut found = Vec::new();
    for folder in ["runtime", "cli/src", "sdk/src"] {
        for source in rust(folder) {
            let roots = ["runtime/src/lib.rs", "sdk/src/bindings.rs"];
            if source.is_test() || roots.contains(&source.path.as_str()) {
                continue;
            }
            let head = head(&source);
            // A pure module knows nothing but its arguments, which is as good an answer.
            let modest = head.to_ascii_lowercase().contains("not know") || head.contains("Pure");
            if !head.contains("nvariant") || !modest {
                found.push(source.path);
            }
        }
    }
    none("a module whose `//!` lacks `Invariant` or `does not know`", found);
}

/// Words that name nothing: a reader of them has to look inside.
#[test]
fn no_name_is_vague() {
    let banned = ["Manager", "Helper", "Util", "Utils", "Info", "Data"];
    let kinds = ["struct ", "enum ", "trait ", "type ", "mod "];
    let mut found = Vec::new();
    for folder in ["runtime", "cli/src", "sdk/src"] {
        for source in rust(folder).iter().filter(|source| source.path != "sdk/src/bindings.rs") {
            for (number, line) in source.lines() {
                let line =
                    line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
                let line = line.trim_start_matches("pub(super) ");
                let name = kinds.iter().find_map(|kind| line.strip_prefix(kind));
                let name = name.unwrap_or_default();
                let name: String =
                    name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let function = line.strip_prefix("fn ").or(line.strip_prefix("async fn "));
                let vague = function.is_some_and(|function| {
                    function.starts_with("do_") || function.starts_with("process_")
                });
                let lower =
                    ["manager", "helper", "helpers", "util", "utils"].contains(&name.as_str());
                let exempt = name == "ConnectionData";
                let empty = banned.iter().any(|word| name.ends_with(word)) && !exempt;
                if empty || lower || vague {
                    found.push(format!("{}:{number} {line}", source.path));
                }
            }
        }
    }
    none("a name that says nothing", found);
}

/// Postponed work is lost, and an ignored test tests nothing.
#[test]
fn no_work_is_postponed_and_no_test_is_ignored() {
    // Spelled in pieces, so that this file does not find itself.
    let banned = [["#[ign", "ore"], ["to", "do!("], ["TO", "DO"], ["FIX", "ME"], ["XX", "X"]];
    let banned: Vec<String> = banned.iter().map(|pieces| pieces.concat()).collect();
    let mut found = Vec::new();
    for folder in ["runtime", "cli", "sdk", "rooms-examples", "tests"] {
        for source in files(folder, &[".rs", ".mjs", ".toml", ".wit"]) {
            for (number, line) in source.text.lines().enumerate() {
                if banned.iter().any(|word| line.contains(word)) {
                    found.push(format!("{}:{} {}", source.path, number + 1, line.trim()));
                }
            }
        }
    }
    none("something put off", found);
}

/// A repository has no home: each clone has its own path.
#[test]
fn no_path_of_a_machine_is_written_down() {
    let banned = [["/wo", "rk/"], ["/ro", "ot/"], ["/home", "/"], ["/Use", "rs/"]];
    let banned: Vec<String> = banned.iter().map(|pieces| pieces.concat()).collect();
    let mut found = Vec::new();
    for folder in ["runtime", "cli", "sdk", "rooms-examples", "tests"] {
        for source in files(folder, &[".rs", ".mjs", ".toml", ".wit", ".md", ".html", ".json"]) {
            for (number, line) in source.text.lines().enumerate() {
                if banned.iter().any(|path| line.contains(path)) {
                    found.push(format!("{}:{}", source.path, number + 1));
                }
            }
        }
    }
    none("a path of somebody's machine", found);
}

/// A limit that nothing reads is a promise that nobody keeps.
#[test]
fn every_limit_is_used() {
    let sources = rust("runtime");
    let used = |name: &str| {
        sources.iter().filter(|source| !source.path.ends_with("/limits.rs")).any(|source| {
            source.lines().any(|(_, line)| {
                line.match_indices(name)
                    .any(|(at, _)| line[..at].ends_with('.') || line[..at].ends_with("limits."))
            })
        })
    };
    let unused = room_runtime::Limits::TABLE.iter().filter(|row| !used(row.name));
    none("a limit that nothing reads", unused.map(|row| row.name.to_owned()).collect());
}

/// Pages name the tests that keep promises. A renamed test must be renamed there, too.
#[test]
fn the_tests_that_pages_name_exist() {
    let read = |page: &str| std::fs::read_to_string(root().join(page)).expect("there is a page");
    let pages = ["ARCHITECTURE.md", "PROMISES.md", "DECISIONS.md", "PERFORMANCE.md"];
    let own = pages.iter().map(|page| format!("runtime/{page}"));
    let pages = own.chain(["rooms-examples/README.md".to_owned()]);
    let pages: Vec<String> = pages.map(|page| read(page.as_str())).collect();
    let mut sources = files(".", &[".rs", ".mjs"]);
    sources.retain(|source| !source.path.starts_with("sdk/src/bindings"));
    let mut found = Vec::new();
    let rows = pages.iter().flat_map(|page| page.lines().map(move |line| (page, line)));
    for (page, row) in rows.filter(|(_, line)| line.starts_with('|')) {
        let last = row.trim().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        for name in last.split('`').skip(1).step_by(2) {
            let bare = name.rsplit("::").next().unwrap_or(name).trim_end_matches("()");
            let file = name.contains('/') || (name.contains('.') && !name.contains(' '));
            let exists = if file {
                sources.iter().any(|source| source.path.ends_with(name))
                    || root().join(name).exists()
            } else {
                let function = format!("fn {bare}(");
                sources.iter().any(|source| {
                    source.text.contains(&function)
                        || (source.path.ends_with(".mjs") && source.text.contains(bare))
                })
            };
            // Other tables of the pages name limits and types. Only the names in tables of tests are checked.
            if is_test_table(page, row) && !exists {
                found.push(name.to_owned());
            }
        }
    }
    none("a test that a page names and nobody wrote", found);
}

/// Returns true if the row stands in a table whose last column is headed `test` or `guard`.
fn is_test_table(map: &str, row: &str) -> bool {
    let before = &map[..map.find(row).unwrap_or_default()];
    let table = before.rsplit("\n\n").next().unwrap_or_default();
    let heading = table.lines().find(|line| line.starts_with('|')).unwrap_or(row);
    let last = heading.trim().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
    last.to_ascii_lowercase().contains("test") || last.to_ascii_lowercase().contains("guard")
}
