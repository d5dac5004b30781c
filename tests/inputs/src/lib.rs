//! The bytes that strangers may send, for tests of the code that reads them: kept inputs, and changes of them drawn
//! from a seed.
//!
//! Invariant: the same files, seed and number of rounds give the same inputs in the same order, on every machine. It
//! does not know what the inputs mean.
//!
//! Each target has a file in `corpus/`, `TARGET.txt`, with one input a line, in quotes and escaped as a byte string
//! of Rust; other lines are comments. **To keep an input, add such a line**, and say before it what it once did. A
//! failing test adds the input on which its check fails, so that it is tried first from then on: commit it with the
//! fix.
//!
//! `FUZZ_ROUNDS` sets how many changes of kept inputs are tried, `FUZZ_SEED` which.

mod change;
mod dice;
mod escape;

pub use dice::Dice;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// How many changes of kept inputs a target tries, unless `FUZZ_ROUNDS` says otherwise.
const ROUNDS: u64 = 2_000;
/// A changed input is never longer than this, in bytes.
const BYTES_MAX: usize = 16 * 1024;

/// The inputs of one target.
pub struct Inputs {
    file: PathBuf,
    kept: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    dice: Dice,
}

impl Inputs {
    /// Returns the kept inputs of a target; `words` are further texts that a change may insert.
    ///
    /// # Panics
    /// If the target has no file, or its file has no input.
    pub fn of(target: &str, words: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        let file = folder.join(format!("{target}.txt"));
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) => panic!("{}: {error}", file.display()),
        };
        let kept = escape::inputs(&text);
        assert!(!kept.is_empty(), "{} has no input", file.display());
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        Self { file, kept, words, dice: Dice(number("FUZZ_SEED").unwrap_or(1)) }
    }

    /// Returns the kept inputs.
    pub fn kept(&self) -> &[Vec<u8>] {
        &self.kept
    }

    /// Returns a change of a kept input.
    pub fn changed(&mut self) -> Vec<u8> {
        let mut input = self.kept[self.dice.below(self.kept.len())].clone();
        for _ in 0..=self.dice.below(4) {
            change::once(&mut input, &self.kept, &self.words, &mut self.dice);
        }
        input.truncate(BYTES_MAX);
        input
    }

    /// Checks every kept input, then changes of them. A check fails by a panic, and its input is then kept.
    ///
    /// # Panics
    /// As the check does.
    pub fn each(mut self, check: impl Fn(&[u8])) {
        for input in &self.kept {
            attempt(&check, input);
        }
        for _ in 0..number("FUZZ_ROUNDS").unwrap_or(ROUNDS) {
            let input = self.changed();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input))) {
                self.keep(&input);
                resume_unwind(panic);
            }
        }
    }

    /// Adds an input to the target's file. If the file cannot be written, the printed text is the only copy.
    fn keep(&self, input: &[u8]) {
        let line = escape::line(input);
        let file = std::fs::OpenOptions::new().append(true).open(&self.file);
        let kept = file.and_then(|mut file| writeln!(file, "{line}"));
        let outcome = if kept.is_ok() { "added to" } else { "to be added to" };
        say(&format!("this input fails, and is {outcome} {}:\n{line}", self.file.display()));
    }
}

/// Checks a kept input, and prints it if that fails.
fn attempt(check: &impl Fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
        say(&format!("this kept input fails:\n{}", escape::line(input)));
        resume_unwind(panic);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

#[expect(clippy::print_stderr, reason = "output of a test, shown when it fails")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_file_has_inputs_that_are_read_back_unchanged() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let target = path.file_stem().unwrap().to_str().unwrap().to_owned();
            for input in Inputs::of(&target, &[]).kept() {
                let line = escape::line(input);
                assert_eq!(
                    escape::inputs(line.as_bytes()),
                    std::slice::from_ref(input),
                    "{target}: {line}"
                );
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_inputs_within_their_bound() {
        let drawn = || {
            let mut inputs = Inputs::of("room-paths", &["word"]);
            (0..200).map(|_| inputs.changed()).collect::<Vec<_>>()
        };
        assert_eq!(drawn(), drawn());
        assert!(drawn().iter().all(|input| input.len() <= BYTES_MAX));
    }

    #[test]
    fn an_input_that_fails_a_check_is_kept() {
        let dir = std::env::temp_dir().join(format!("room-test-inputs-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("some.txt");
        std::fs::write(&file, "\"abc\"\n").unwrap();
        let (kept, words) = (vec![b"abc".to_vec()], Vec::new());
        let inputs = Inputs { file: file.clone(), kept, words, dice: Dice(1) };
        let failed = catch_unwind(AssertUnwindSafe(|| {
            inputs.each(|input| assert_eq!(input, b"abc", "it was changed"));
        }));
        let now = escape::inputs(&std::fs::read(&file).unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(failed.is_err());
        assert_eq!((now.len(), now[0].as_slice()), (2, &b"abc"[..]));
        assert_ne!(now[1], b"abc");
    }
}
