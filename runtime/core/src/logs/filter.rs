//! Which lines a watcher reads. Owns the matching. Pure.
//!
//! Invariant: matching takes at most time proportional to the length of the pattern times that of the text, whatever
//! the pattern.

use super::line::{LogLevel, LogLine};
use crate::id::PartyName;

/// The conditions for a line to be read. A condition that is not set lets every line through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// The name of its room. Lines about the node have no room.
    pub room: Option<Glob>,
    /// The party of its room.
    pub party: Option<PartyName>,
    /// The lowest level.
    pub level: Option<LogLevel>,
    /// A text that the line contains.
    pub grep: Option<String>,
}

impl LogFilter {
    /// Returns true if the filter lets this line through.
    pub fn matches(&self, line: &LogLine) -> bool {
        let room = line.room.as_ref();
        self.level.is_none_or(|level| line.level >= level)
            && self.party.as_ref().is_none_or(|party| room.is_some_and(|r| r.party() == party))
            && self.room.as_ref().is_none_or(|glob| room.is_some_and(|r| glob.matches(r.name())))
            && self.grep.as_ref().is_none_or(|words| line.text.contains(words.as_str()))
    }
}

/// A pattern for names: `*` matches any text, `?` any one character, every other character itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<char>);

impl Glob {
    /// Returns the pattern of this text. Every text is a valid pattern.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.chars().collect())
    }

    /// Returns true if the pattern matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (&self.0, name.chars().collect::<Vec<char>>());
        let (mut p, mut n) = (0, 0);
        // The last star, and the position in the name where it was met. Only the last star needs to take more
        // characters: it can take all those that an earlier star would take.
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
    fn a_star_matches_any_text_and_a_question_mark_one_character() {
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
    fn many_stars_match_in_bounded_steps() {
        let (pattern, name) = ("*a".repeat(200), "a".repeat(1_000) + "b");
        assert!(!Glob::new(&pattern).matches(&name));
    }

    /// The definition of matching, as a reference.
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
