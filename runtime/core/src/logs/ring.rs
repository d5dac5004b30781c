//! The lines that are kept. Owns which lines there are, and their numbers.
//!
//! Invariant: the lines are numbered without a gap, the oldest is dropped first, and together they never exceed their
//! bounds. It does not know who reads them.

use super::line::LogLine;
use std::collections::VecDeque;
use std::sync::Arc;

/// The newest lines of a log.
pub(super) struct LogRing {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    /// The number of the first line ever written, or to be written.
    first: u64,
    /// The number of the next line.
    next: u64,
    lines_max: usize,
    bytes_max: usize,
    closed: bool,
}

/// The lines of one read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogBatch {
    /// The number of lines before these that were dropped.
    pub(super) missed: u64,
    /// The lines, in order and without a gap.
    pub(super) lines: Vec<Arc<LogLine>>,
    /// The number of the line after them.
    pub(super) next: u64,
}

impl LogRing {
    pub(super) fn new(first: u64, lines_max: usize, bytes_max: usize) -> Self {
        let lines = VecDeque::new();
        Self { lines, bytes: 0, first, next: first, lines_max, bytes_max, closed: false }
    }

    /// Adds the line with the next number. A line that alone exceeds the bounds is dropped at once.
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

    /// Returns the number of the next line.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the number of the oldest line that is kept, or of the next one if none is kept.
    pub(super) fn oldest(&self) -> u64 {
        self.next - self.lines.len() as u64
    }

    /// Returns true if a reader that resumes at this number has read this log, and not that of an earlier start.
    pub(super) fn knows(&self, number: u64) -> bool {
        (self.first..=self.next).contains(&number)
    }

    /// Returns the number of the first line ever written.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Returns the lines from this number on: at least one, and more as long as all together have at most `bytes_max`.
    pub(super) fn read(&self, from: u64, bytes_max: usize) -> LogBatch {
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
        LogBatch { missed: begin - from.min(begin), lines, next }
    }

    /// Returns all lines that are kept.
    pub(super) fn all(&self) -> Vec<Arc<LogLine>> {
        self.lines.iter().cloned().collect()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Returns true if no line will follow.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}
