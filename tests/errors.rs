//! Every error text of the runtime, the SDK and the command, in one file that a reviewer reads as a whole when it
//! changes.
//!
//! Invariant: a new or changed text shows in `tests/errors.txt`, beside all others. No text has the words that this
//! project's readers have to read twice. It does not know when an error comes about.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use expect_test::expect_file;
use std::path::{Path, PathBuf};

/// The sources with error texts.
const SOURCES: [&str; 3] = ["runtime", "sdk/src", "cli/src"];

/// The code before the text of an error.
const OPENINGS: [&str; 5] =
    ["#[error(", "Mistake::new(", ".help(", "wrong(", "StoreError::Corrupt("];

/// Words in which a rule reads as if it described the input, or in which nobody acts.
const UNCLEAR: [&str; 11] = [
    " is no ",
    " are no ",
    " is none",
    " are none",
    "begins with",
    "begin with",
    "whoever",
    " is told",
    " for ever",
    " anew",
    "of which",
];

/// Words that may follow `is no`: that something does not exist.
const ABSENCE: [&str; 5] =
    ["there is no ", "There is no ", " is no longer", " is no more", "is no TLS"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the sources below a folder in the order of their names, without tests.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the first string literal in this text, with continued lines joined, if only a call's opening stands before
/// it.
fn literal(text: &str) -> Option<String> {
    let start = text.find('"')?;
    let before = &text[..start];
    if before.contains([';', '}']) || before.matches('\n').count() > 3 {
        return None;
    }
    let mut said = String::new();
    let mut chars = text[start + 1..].chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => return (said.contains(' ')).then_some(said),
            '\\' => match chars.next()? {
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                'n' => said.push_str(" / "),
                other => said.push(other),
            },
            other => said.push(other),
        }
    }
    None
}

/// Returns the texts of a file, in its order.
fn texts(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut found: Vec<(usize, String)> = Vec::new();
    for opening in OPENINGS {
        for (at, _) in source.match_indices(opening) {
            let inside = at.checked_sub(1).map(|at| source.as_bytes()[at]);
            if opening == "wrong("
                && inside.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                continue;
            }
            let rest = &source[at + opening.len()..];
            // An error that passes on another error's text has none of its own.
            if opening == "#[error(" && !rest.trim_start().starts_with('"') {
                continue;
            }
            found.extend(literal(rest).map(|text| (at, text)));
        }
    }
    found.sort();
    found.into_iter().map(|(_, text)| text).collect()
}

fn all() -> Vec<(String, Vec<String>)> {
    let root = root();
    let paths = SOURCES.iter().flat_map(|dir| sources(&root.join(dir)));
    let read = paths.map(|path| {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        (name, texts(&std::fs::read_to_string(&path).unwrap()))
    });
    read.filter(|(_, texts)| !texts.is_empty()).collect()
}

#[test]
fn every_error_text_is_in_the_reviewed_file() {
    let listed = all().into_iter().map(|(file, texts)| {
        let lines: Vec<String> = texts.iter().map(|text| format!("  {text}\n")).collect();
        format!("{file}\n{}", lines.concat())
    });
    let listed: Vec<String> = listed.collect();
    assert!(listed.len() > 50, "{listed:?}");
    expect_file!["errors.txt"].assert_eq(&listed.join("\n"));
}

#[test]
fn no_error_text_uses_banned_phrases() {
    let mut unclear = String::new();
    for (file, texts) in all() {
        for text in texts {
            let plain = ABSENCE
                .iter()
                .fold(format!(" {text} "), |text, absence| text.replace(absence, " "));
            if let Some(words) = UNCLEAR.iter().find(|words| plain.contains(*words)) {
                unclear += &format!("{file}: {text}\n    has \"{}\"\n", words.trim());
            }
        }
    }
    assert!(unclear.is_empty(), "{unclear}");
}
