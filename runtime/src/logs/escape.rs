//! Foreign text, made safe for a log. Owns which characters are escaped. Pure.
//!
//! Invariant: nothing in the text moves a terminal's cursor, or begins a line that looks like another writer's.

use std::borrow::Cow;

/// Returns the text with every character escaped that a terminal acts on, including line breaks.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t')
}

/// As [`one_line`], but line breaks stay. Each reader of the log marks continued lines itself.
pub(super) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\t' | '\n'))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() && !stays(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_nothing_else() {
        assert_eq!(one_line("a\nERROR b\u{1b}[2J"), "a\\nERROR b\\u{1b}[2J");
        // A single character that begins an escape sequence is escaped, too.
        assert_eq!(one_line("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(one_line("tab\tstays, as does é"), "tab\tstays, as does é");
        assert_eq!(lines("a\n  b\rc"), "a\n  b\\rc");
        assert!(matches!(one_line("plain"), Cow::Borrowed(_)));
    }
}
