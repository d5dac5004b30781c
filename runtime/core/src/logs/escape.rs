//! Foreign text, made safe for a log. Owns which characters are escaped. Pure.
//!
//! Invariant: nothing in the text moves a terminal's cursor, or starts a line that looks like another writer's.

use std::borrow::Cow;

/// Returns the text with every character escaped that a terminal acts on, including line breaks.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t')
}

/// As [`one_line`], but line breaks stay. Each reader of the log marks continued lines itself.
pub(super) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\t' | '\n'))
}

/// Whether a terminal acts on a character, or shows what follows it in another order (Unicode's `Bidi_Control`, UAX
/// 9) or on another line.
fn steers(c: char) -> bool {
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    let marks = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}');
    let embeds = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || breaks || marks || embeds
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if steers(c) && !stays(c) {
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
    fn only_terminal_control_characters_are_escaped() {
        assert_eq!(one_line("a\nERROR b\u{1b}[2J"), "a\\nERROR b\\u{1b}[2J");
        // A single character that starts an escape sequence is escaped, too.
        assert_eq!(one_line("\u{9b}2J"), "\\u{9b}2J");
        // One that turns the rest of the line around would show another line than was written.
        assert_eq!(one_line("a\u{202e}b\u{2066}\u{2028}"), "a\\u{202e}b\\u{2066}\\u{2028}");
        assert_eq!(one_line("tab\tstays, as does é"), "tab\tstays, as does é");
        assert_eq!(lines("a\n  b\rc"), "a\n  b\\rc");
        assert!(matches!(one_line("plain"), Cow::Borrowed(_)));
    }
}
