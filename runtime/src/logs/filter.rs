//! Which lines somebody wants. Owns the matching. Pure.
//!
//! Invariant: matching takes time in proportion to pattern times text at most, whatever the pattern.

use super::line::{LogLevel, LogLine};
use crate::id::PartyName;

/// What a line must be to be read; what is not set lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogFilter {
    /// Its room's name. Lines about the node have none.
    pub(crate) room: Option<Glob>,
    /// Its room's party.
    pub(crate) party: Option<PartyName>,
    /// At least this level.
    pub(crate) level: Option<LogLevel>,
    /// This is somewhere in its text.
    pub(crate) grep: Option<String>,
}

impl LogFilter {
    /// True if it lets this line through.
    pub(crate) fn matches(&self, line: &LogLine) -> bool {
        let room = line.room.as_ref();
        self.level.is_none_or(|level| line.level >= level)
            && self.party.as_ref().is_none_or(|party| room.is_some_and(|r| r.party() == party))
            && self.room.as_ref().is_none_or(|glob| room.is_some_and(|r| glob.matches(r.name())))
            && self.grep.as_ref().is_none_or(|words| line.text.contains(words.as_str()))
    }
}

/// A pattern for names: `*` stands for any text, `?` for any one character, all else for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<char>);

impl Glob {
    /// The pattern of this text. Any text is a pattern.
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.chars().collect())
    }

    /// True if it stands for the whole name.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (&self.0, name.chars().collect::<Vec<char>>());
        let (mut p, mut n) = (0, 0);
        // The last star, and how far the name went when it was met. Only that one takes more: what an
        // earlier one would take, it can take itself.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((at, taken)) = star else { return false };
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        for (pattern, yes, no) in [
            ("game-*", &["game-", "game-7", "game-*"][..], &["game", "a game-7", ""][..]),
            ("*", &["", "x", "é/ö"], &[]),
            ("?", &["x", "é"], &["", "xy"]),
            ("a*b*c", &["abc", "a-b-b-c", "abcbc"], &["ab", "abcd", "a-c-b"]),
            ("**x", &["x", "xxx"], &["", "xy"]),
            ("*.*", &["a.b", "."], &["no dot"]),
            ("lobby", &["lobby"], &["lobby-2", "Lobby"]),
            ("[a]", &["[a]"], &["a"]),
            ("", &[""], &["x"]),
        ] {
            let glob = Glob::new(pattern);
            yes.iter().for_each(|name| assert!(glob.matches(name), "{pattern} {name}"));
            no.iter().for_each(|name| assert!(!glob.matches(name), "{pattern} {name}"));
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let (pattern, name) = ("*a".repeat(200), "a".repeat(1_000) + "b");
        assert!(!Glob::new(&pattern).matches(&name));
    }

    /// The same as its definition says it.
    fn slowly(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|taken| slowly(rest, &name[taken..])),
            Some((c, rest)) => name
                .split_first()
                .is_some_and(|(n, more)| (*c == '?' || c == n) && slowly(rest, more)),
        }
    }

    proptest! {
        #[test]
        fn a_glob_matches_what_its_definition_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
            prop_assert_eq!(Glob::new(&pattern).matches(&name), slowly(&p, &n));
        }
    }
}
