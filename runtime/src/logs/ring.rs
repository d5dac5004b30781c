//! The lines that are kept. Owns which are there, and their numbers.
//!
//! Invariant: the lines are numbered without a gap, the oldest goes first, and together they never take
//! more than their bounds. It does not know who reads them.

use super::line::LogLine;
use std::collections::VecDeque;
use std::sync::Arc;

/// The newest lines of a log.
pub(super) struct Ring {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    /// The number of the first line there ever was, or will be.
    first: u64,
    /// The number of the next line.
    next: u64,
    lines_max: usize,
    bytes_max: usize,
    closed: bool,
}

/// Lines that were read at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// How many there had been before them that are gone.
    pub(super) missed: u64,
    /// In order, without a gap.
    pub(super) lines: Vec<Arc<LogLine>>,
    /// The number of the line after them.
    pub(super) next: u64,
}

impl Ring {
    pub(super) fn new(first: u64, lines_max: usize, bytes_max: usize) -> Self {
        let lines = VecDeque::new();
        Self { lines, bytes: 0, first, next: first, lines_max, bytes_max, closed: false }
    }

    /// Adds the line of the next number. One that alone is too large is gone at once.
    pub(super) fn push(&mut self, line: impl FnOnce(u64) -> Arc<LogLine>) {
        let line = line(self.next);
        self.next += 1;
        self.bytes += line.size();
        self.lines.push_back(line);
        while self.bytes > self.bytes_max || self.lines.len() > self.lines_max {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.size();
        }
    }

    /// The number of the next line.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest line that is there; of the next one if there is none.
    pub(super) fn oldest(&self) -> u64 {
        self.next - self.lines.len() as u64
    }

    /// True if a reader that goes on here has read in this log, and not in that of an earlier start.
    pub(super) fn knows(&self, number: u64) -> bool {
        (self.first..=self.next).contains(&number)
    }

    /// The number of the first line there ever was.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// What there is from this number on: one line at least, and more while they have no more than so many
    /// bytes together.
    pub(super) fn read(&self, from: u64, bytes_max: usize) -> Batch {
        let begin = from.max(self.oldest());
        let skip = usize::try_from(begin - self.oldest()).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let lines = self.lines.range(skip.min(self.lines.len())..);
        let lines: Vec<_> = lines
            .take_while(|line| {
                let fits = bytes == 0 || bytes + line.size() <= bytes_max;
                bytes += line.size();
                fits
            })
            .cloned()
            .collect();
        let next = begin + lines.len() as u64;
        Batch { missed: begin - from.min(begin), lines, next }
    }

    /// All lines that are there.
    pub(super) fn all(&self) -> Vec<Arc<LogLine>> {
        self.lines.iter().cloned().collect()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// True if no line will follow.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}
