//! Text that others wrote, as a log may have it. Owns what is escaped. Pure.
//!
//! Invariant: nothing in it moves a terminal's cursor or begins a line that nobody wrote.

use std::borrow::Cow;

/// The text with everything escaped that a terminal acts on, line breaks included.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t')
}

/// As [`one_line`], but line breaks stay: whoever shows it marks where lines go on.
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
        // One character that begins an escape, too.
        assert_eq!(one_line("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(one_line("tab\tstays, as does é"), "tab\tstays, as does é");
        assert_eq!(lines("a\n  b\rc"), "a\n  b\\rc");
        assert!(matches!(one_line("plain"), Cow::Borrowed(_)));
    }
}
