//! A pattern for rooms' names: `*` is anything, `?` any one character. Owns what it matches.
//!
//! Invariant: matching takes a time of at most the product of both lengths. Pure.

/// A pattern.
#[derive(Clone, Debug)]
pub(crate) struct Glob(Vec<char>);

impl Glob {
    /// The pattern of this text; any text is one.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().collect())
    }

    /// True if the whole name is like the pattern.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let (pattern, name): (&[char], Vec<char>) = (&self.0, name.chars().collect());
        let (mut at, mut from) = (0, 0);
        // Where the last star stands, and where the name goes on behind what it stands for.
        let mut star: Option<(usize, usize)> = None;
        while from < name.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, from));
                    at += 1;
                }
                Some(wanted) if *wanted == '?' || *wanted == name[from] => {
                    at += 1;
                    from += 1;
                }
                _ => {
                    let Some((place, taken)) = star else { return false };
                    star = Some((place, taken + 1));
                    (at, from) = (place + 1, taken + 1);
                }
            }
        }
        pattern[at..].iter().all(|rest| *rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_what_they_stand_for() {
        for (pattern, name, wanted) in [
            ("lobby", "lobby", true),
            ("lobby", "lobby-2", false),
            ("lobby*", "lobby-2", true),
            ("*", "", true),
            ("", "x", false),
            ("?", "é", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*.*", "no dot", false),
            ("**x", "xxx", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let (pattern, name) = ("*a".repeat(200), "a".repeat(1_000) + "b");
        assert!(!Glob::new(&pattern).matches(&name));
    }
}
