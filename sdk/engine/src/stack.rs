//! Positions in the author's files for positions in a bundle.
//!
//! Owns [`Positions`] and the rewriting of stacks with them. Invariant: a line of a stack that no entry covers stays as it
//! is. It does not know source maps: the builder reads them.

use std::fmt::Write as _;
use std::rc::Rc;

use rquickjs::JsLifetime;

use crate::modules::OWN;

/// The name under which a script is evaluated, so that it stands in stacks.
pub(crate) const SCRIPT_NAME: &str = "script.js";

/// A table from positions of a bundle to positions of the author's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// The names of the author's files.
    pub files: Vec<String>,
    /// In order: line and column of the bundle, the file's place in [`files`](Self::files), line and column there. Lines
    /// and columns count from 1.
    pub entries: Vec<[u32; 5]>,
}

impl Positions {
    /// The author's position for one of the bundle: that of the last entry before it on the same line.
    fn find(&self, line: u32, column: u32) -> Option<(&str, u32, u32)> {
        let end = self.entries.partition_point(|entry| (entry[0], entry[1]) <= (line, column));
        let near = self.entries[..end].last().filter(|entry| entry[0] == line);
        let near = near.or_else(|| self.entries.get(end).filter(|entry| entry[0] == line))?;
        let file = self.files.get(usize::try_from(near[2]).ok()?)?;
        Some((file, near[3], near[4]))
    }

    /// Rewrites a stack: each `script.js:LINE:COLUMN` that an entry covers. Lines of the library are left out, unless
    /// nothing else is in the stack.
    pub(crate) fn rewrite(&self, stack: &str) -> String {
        let of_script = |line: &&str| line.contains(SCRIPT_NAME);
        let mut lines: Vec<&str> = stack.lines().filter(of_script).collect();
        if lines.is_empty() {
            lines = stack.lines().collect();
        }
        let mut out = String::new();
        for line in lines {
            let separator = if out.is_empty() { "" } else { "\n" };
            // Writing to a string cannot fail.
            let _ = write!(out, "{separator}{}", self.rewrite_line(line));
        }
        out
    }

    /// Rewrites the lines of stacks in a text, as [`rewrite`](Self::rewrite) does.
    pub(crate) fn rewrite_text(&self, text: &str) -> String {
        let is_place = |line: &str| line.trim_start().starts_with("at ");
        let kept = text.lines().filter(|line| !is_place(line) || !line.contains(OWN));
        let lines =
            kept.map(|line| if is_place(line) { self.rewrite_line(line) } else { line.to_owned() });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn rewrite_line(&self, line: &str) -> String {
        let mapped = line.find(SCRIPT_NAME).and_then(|at| {
            let rest = &line[at + SCRIPT_NAME.len()..];
            let (numbers, after) = match rest.find(|c: char| c != ':' && !c.is_ascii_digit()) {
                Some(end) => rest.split_at(end),
                None => (rest, ""),
            };
            let mut numbers = numbers.split(':').skip(1);
            let row = numbers.next()?.parse().ok()?;
            let column = numbers.next().and_then(|text| text.parse().ok()).unwrap_or(1);
            let (file, row, column) = self.find(row, column)?;
            Some(format!("{}{file}:{row}:{column}{after}", &line[..at]))
        });
        mapped.unwrap_or_else(|| line.to_owned())
    }

    /// Reads a table as a builder writes it: the number of files, each with its length in bytes and its name, and then the
    /// entries; counts and numbers as little-endian 32 bits. Returns `None` if it is something else.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        fn take(bytes: &mut &[u8]) -> Option<u32> {
            let (number, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(u32::from_le_bytes(*number))
        }
        let mut files = Vec::new();
        for _ in 0..take(&mut bytes)? {
            let len = usize::try_from(take(&mut bytes)?).ok()?;
            let (name, rest) = bytes.split_at_checked(len)?;
            files.push(String::from_utf8(name.to_vec()).ok()?);
            bytes = rest;
        }
        let mut entries = Vec::with_capacity(bytes.len() / 20);
        while !bytes.is_empty() {
            let mut entry = [0; 5];
            for number in &mut entry {
                *number = take(&mut bytes)?;
            }
            entries.push(entry);
        }
        Some(Self { files, entries })
    }
}

/// The table of a heap, for what runs in it.
pub(crate) struct HeapPositions(pub(crate) Rc<Positions>);

#[expect(unsafe_code, reason = "what a heap keeps has to declare that it holds nothing of it")]
// SAFETY: it holds no value of a heap.
unsafe impl<'js> JsLifetime<'js> for HeapPositions {
    type Changed<'to> = HeapPositions;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Positions {
        Positions {
            files: vec!["src/server.ts".to_owned(), "src/other.ts".to_owned()],
            entries: vec![[2, 1, 0, 7, 3], [2, 20, 1, 9, 1], [4, 5, 0, 30, 2]],
        }
    }

    #[test]
    fn a_stack_names_the_authors_positions() {
        let stack = "    at onMessage (script.js:2:21)\n    at deliver (room:server/dispatch.js:9:1)\n    at script.js:4:9";
        let expected = "    at onMessage (src/other.ts:9:1)\n    at src/server.ts:30:2";
        assert_eq!(table().rewrite(stack), expected);
    }

    #[test]
    fn a_text_with_a_stack_names_the_authors_positions() {
        let text = "\"message\" failed: Error: at noon\n    at onMessage (script.js:2:21)\n    at deliver (room:server/dispatch.js:9:1)";
        let expected = "\"message\" failed: Error: at noon\n    at onMessage (src/other.ts:9:1)";
        assert_eq!(table().rewrite_text(text), expected);
    }

    #[test]
    fn a_position_that_no_entry_covers_stays() {
        assert_eq!(table().rewrite("    at f (script.js:3:1)"), "    at f (script.js:3:1)");
        assert_eq!(
            table().rewrite("    at g (room:web/url.js:3:1)"),
            "    at g (room:web/url.js:3:1)"
        );
    }

    #[test]
    fn a_table_is_read_as_a_builder_writes_it() {
        let mut bytes = vec![1, 0, 0, 0, 4, 0, 0, 0];
        bytes.extend(b"a.ts");
        bytes.extend([1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0]);
        let read = Positions { files: vec!["a.ts".to_owned()], entries: vec![[1, 2, 0, 3, 256]] };
        assert_eq!(Positions::decode(&bytes), Some(read));
        for len in [0, 3, 9, bytes.len() - 1] {
            assert_eq!(Positions::decode(&bytes[..len]), None, "{len} bytes");
        }
        assert_eq!(Positions::decode(&[255; 64]), None);
    }
}
