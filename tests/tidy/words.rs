//! The rules about words: names of types and of tests, and phrases that readers have to read twice.
//!
//! Invariant: a type's name is declared once in the runtime, the name of a test starts with its subject, and no comment
//! or page has a phrase of the list here. It does not know what the code does.

use super::{files, none, rust};
use std::collections::{BTreeMap, HashSet};

/// A search for a type's name finds one type: the runtime's crates, and the command, use no name for two things.
#[test]
fn no_type_name_is_declared_twice() {
    for folder in ["runtime", "cli/src", "sdk/src"] {
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for source in rust(folder) {
            if source.path == "sdk/src/bindings.rs" {
                continue;
            }
            for (number, line) in source.lines() {
                if let Some(name) = declared(line) {
                    let place = format!("{}:{number}", source.path);
                    places.entry(name.to_owned()).or_default().push(place);
                }
            }
        }
        assert!(places.len() > 20, "only {} types were found in {folder}", places.len());
        let twice = places.into_iter().filter(|(_, places)| places.len() > 1);
        let twice = twice.map(|(name, places)| format!("{name}: {}", places.join(", "))).collect();
        none("a type name that is declared twice: add the role to each, as in `RoomSlot`", twice);
    }
}

/// Returns the name of the type that this line declares. Types inside functions and modules are indented and do not
/// count.
fn declared(line: &str) -> Option<&str> {
    let bare = match line.strip_prefix("pub(") {
        Some(scoped) => scoped.split_once(") ")?.1,
        None => line.strip_prefix("pub ").unwrap_or(line),
    };
    let kinds = ["struct ", "enum ", "trait ", "union "];
    let rest = kinds.iter().find_map(|kind| bare.strip_prefix(kind))?;
    rest.split(|c: char| !c.is_ascii_alphanumeric()).next()
}

/// Phrases of texts without an actor, and what to write instead.
const UNCLEAR: [(&str, &str); 12] = [
    ("anew", "again, or a verb with re-: rebuilt, restarts"),
    ("whoever", "the actor: the caller, the client, the operator"),
    ("for ever", "forever"),
    ("what is no ", "invalid, or: not a …"),
    ("who is no ", "not a …"),
    ("once more", "again"),
    ("let in", "admitted"),
    ("is told", "is notified, signalled, logged, reported or returned"),
    ("was told", "was notified, signalled, logged, reported or returned"),
    ("are told", "are notified, signalled, logged, reported or returned"),
    ("hears of", "receives, or is notified of"),
    ("of whom", "a sentence with that actor as its subject"),
];

/// A comment is read once: it names who acts.
#[test]
fn no_comment_or_page_uses_unclear_phrases() {
    let mut found = Vec::new();
    for source in files(".", &[".rs", ".md"]) {
        let is_page = source.path.ends_with(".md");
        for (number, line) in source.text.lines().enumerate() {
            let line = line.trim_start();
            if !is_page && !line.starts_with("//") {
                continue;
            }
            let lower = format!(" {} ", line.to_lowercase());
            let phrase = UNCLEAR.iter().find(|(phrase, _)| {
                lower.match_indices(phrase).any(|(at, _)| {
                    let ends =
                        |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                    ends(lower[..at].chars().next_back())
                        && (phrase.ends_with(' ')
                            || ends(lower[at + phrase.len()..].chars().next()))
                })
            });
            if let Some((phrase, instead)) = phrase {
                found.push(format!("{}:{} \"{phrase}\": {instead}", source.path, number + 1));
            }
        }
    }
    none("a phrase that has to be read twice", found);
}

/// The name of a test is a sentence that could be false, so it starts with its subject.
#[test]
fn names_of_tests_start_with_a_subject() {
    let vague = ["what_", "who_", "whoever_", "whose_", "of_", "where_", "when_", "if_"];
    let mut found = Vec::new();
    for source in files(".", &[".rs"]) {
        let mut is_test = false;
        for (number, line) in source.text.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && let Some((_, name)) = line.split_once("fn ") {
                is_test = false;
                let dialect = ["_anew", "_is_none", "_is_no_", "_told_", "_whoever_"];
                if vague.iter().any(|word| name.starts_with(word))
                    || dialect.iter().any(|words| name.contains(words))
                {
                    found.push(format!("{}:{} {name}", source.path, number + 1));
                }
            }
        }
    }
    none("the name of a test without a subject, or without an actor", found);
}

/// Two tests of one name in one binary hide each other in its report.
#[test]
fn tests_of_whole_nodes_have_names_of_their_own() {
    let mut seen = HashSet::new();
    let mut twice = Vec::new();
    for source in rust("tests/it") {
        let mut lines = source.text.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("#[tokio::test") {
                let name = lines.next().unwrap_or_default().to_owned();
                if !seen.insert(name.clone()) {
                    twice.push(name);
                }
            }
        }
    }
    none("a name that two tests have", twice);
}
