//! What a run of tests prints. Owns the lines and the sum.
//!
//! Invariant: each test has one line, and a failed one its reason below it. Results go to stdout, as they are what was
//! asked for. It does not know how tests run.

use crate::print::{self, BAD, BOLD, DIM, GOOD, styled};
use anstyle::{AnsiColor, Style};
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// The lines of code around the place of a failure.
const AROUND: usize = 1;

/// The results of a run so far.
#[derive(Debug)]
pub(super) struct TestReport {
    since: Instant,
    good: usize,
    bad: usize,
    /// Files that could not be run.
    broken: usize,
}

impl Default for TestReport {
    fn default() -> Self {
        Self { since: Instant::now(), good: 0, bad: 0, broken: 0 }
    }
}

impl TestReport {
    /// A file begins.
    pub(super) fn file(&self, shown: &str) {
        print::data(styled(BOLD, shown));
    }

    /// A file cannot be run.
    pub(super) fn no_file(&mut self, why: &str) {
        self.broken += 1;
        print::data(format_args!("  {} its tests cannot run", styled(BAD, "✗")));
        print::data(indented(why.trim_end()));
    }

    /// A test passed.
    pub(super) fn pass(&mut self, name: &str, took: Duration) {
        self.good += 1;
        print::data(format_args!("  {} {name} {}", styled(GOOD, "✓"), time(took)));
    }

    /// A test failed.
    pub(super) fn fail(&mut self, name: &str, took: Duration, why: &str) {
        self.bad += 1;
        print::data(format_args!("  {} {name} {}", styled(BAD, "✗"), time(took)));
        print::data(indented(why));
    }

    /// Whether no test ran, and every file could.
    pub(super) fn is_empty(&self) -> bool {
        self.good + self.bad + self.broken == 0
    }

    /// Whether nothing failed.
    pub(super) fn passed(&self) -> bool {
        self.bad + self.broken == 0
    }

    /// Prints the sum.
    pub(super) fn sum(&self) {
        let Self { good, bad, broken, since } = self;
        let mut parts = vec![format!("{good} passed")];
        if *bad > 0 {
            parts.insert(0, format!("{bad} failed"));
        }
        if *broken > 0 {
            parts.push(format!("{} could not run", print::counted(broken, "file")));
        }
        let (style, mark) = if self.passed() { (GOOD, "✓") } else { (BAD, "✗") };
        let seconds = format!("in {:.1} s", since.elapsed().as_secs_f64());
        print::data(format_args!(
            "\n{} {} {}",
            styled(style, mark),
            styled(style, parts.join(", ")),
            styled(DIM, seconds)
        ));
    }
}

fn time(took: Duration) -> String {
    styled(DIM, format_args!("({} ms)", took.as_millis()))
}

/// A line of a test's console.
pub(super) fn said(text: &str) {
    for line in text.lines() {
        print::data(styled(DIM, format_args!("    {line}")));
    }
}

/// A file's path as people read it: from the project's folder.
pub(super) fn shown_file(root: &Path, file: &Path) -> String {
    let below = file.strip_prefix(root).unwrap_or(file);
    below.display().to_string().replace('\\', "/")
}

/// Texts in quotes.
pub(super) fn quoted(texts: &[String]) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| format!("{text:?}")).collect();
    quoted.join(" or ")
}

/// The lines of a reason, below its test. What was expected and what came are in colour.
fn indented(why: &str) -> String {
    let line = |line: &str| match line.get(..4) {
        Some("  - ") => format!("      {}", styled(EXPECTED, line)),
        Some("  + ") => format!("      {}", styled(RECEIVED, line)),
        _ if line.trim_start().starts_with("at ") => format!("      {}", styled(DIM, line)),
        _ => format!("      {line}"),
    };
    why.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A line of what was expected.
const EXPECTED: Style = AnsiColor::Red.on_default();
/// A line of what came.
const RECEIVED: Style = AnsiColor::Green.on_default();

/// Adds the lines of code at the first place that a reason names.
pub(super) fn with_excerpt(root: &Path, why: &str) -> String {
    let excerpt = why.lines().find_map(place).and_then(|(file, line, column)| {
        let text = std::fs::read_to_string(root.join(file)).ok()?;
        Some(excerpt(&text, line, column))
    });
    match excerpt {
        Some(excerpt) => format!("{why}\n{excerpt}"),
        None => why.to_owned(),
    }
}

/// The place in a line of a stack: `at NAME (FILE:LINE:COLUMN)`, or without a name.
fn place(line: &str) -> Option<(&str, usize, usize)> {
    let line = line.trim_start().strip_prefix("at ")?;
    let place = line.rsplit_once('(').map_or(line, |(_, place)| place.trim_end_matches(')'));
    let (rest, column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some((file, line.parse().ok()?, column.parse().ok()?))
}

fn excerpt(text: &str, line: usize, column: usize) -> String {
    let first = line.saturating_sub(AROUND).max(1);
    let width = (line + AROUND).to_string().len();
    let mut out = Vec::new();
    let row = |number: &dyn Display, code: &str| {
        let row = format!("  {number:>width$} │ {code}");
        row.trim_end().to_owned()
    };
    for (number, code) in (1..).zip(text.lines()).skip(first - 1).take(line + AROUND + 1 - first) {
        out.push(row(&number, code));
        if number == line {
            out.push(row(&"", &format!("{}^", " ".repeat(column.saturating_sub(1)))));
        }
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_of_a_reason_is_shown_with_its_code() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.test.ts"), "one\ntwo();\nthree\nfour\n").unwrap();
        let why = "not equal\n    at <anonymous> (a.test.ts:2:4)\n    at b.test.ts:1:1";
        let shown = with_excerpt(dir.path(), why);
        let code = "  1 │ one\n  2 │ two();\n    │    ^\n  3 │ three";
        assert_eq!(shown, format!("{why}\n{code}"));
        assert_eq!(with_excerpt(dir.path(), "no place"), "no place");
    }
}
