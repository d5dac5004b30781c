//! A guest's log lines. Owns their way into the log of the process and that of the node.
//!
//! Invariant: a line stays one line, whatever the guest puts in it, and leaves at once. It does not know who
//! reads the logs.

use crate::bindings::room::runtime::log::Level;
use crate::fault::cut;
use room_core::id::RoomId;
use room_core::limits::{Limits, size};
use room_core::lock::lock;
use room_core::logs::{LogLevel, Logs};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard};

/// The log of one room's guest. Clones write to the same log.
#[derive(Clone)]
pub(super) struct GuestLog(Arc<GuestLogInner>);

struct GuestLogInner {
    room: RoomId,
    logs: Logs,
    line_bytes_max: usize,
    lines_max: u64,
    state: Mutex<GuestLogState>,
}

/// The number of lines that this turn wrote, and the unfinished lines of stdout and stderr.
#[derive(Default)]
struct GuestLogState {
    lines: u64,
    partial: [Vec<u8>; 2],
}

/// A stream of the guest.
#[derive(Clone, Copy)]
pub(super) enum Stdio {
    Out,
    Err,
}

impl GuestLog {
    pub(super) fn new(room: RoomId, limits: &Limits, logs: Logs) -> Self {
        Self(Arc::new(GuestLogInner {
            room,
            logs,
            line_bytes_max: size(limits.log_line_bytes_max),
            lines_max: limits.log_lines_max,
            state: Mutex::default(),
        }))
    }

    /// Resets the bound on lines for a new turn. What the earlier turn left unfinished becomes a line.
    pub(super) fn start_turn(&self) {
        let mut state = self.state();
        let dropped = state.lines.saturating_sub(self.0.lines_max);
        state.lines = 0;
        drop(state);
        if dropped > 0 {
            self.emit(Level::Warn, &format!("{dropped} log lines dropped, see log_lines_max"));
        }
    }

    /// Ends the unfinished lines of a turn.
    pub(super) fn end_turn(&self) {
        let mut state = self.state();
        // Most turns print nothing.
        if state.partial.iter().all(|rest| rest.capacity() == 0) {
            return;
        }
        let rests = std::mem::take(&mut state.partial);
        drop(state);
        for (stream, rest) in [Stdio::Out, Stdio::Err].into_iter().zip(rests) {
            if !rest.is_empty() {
                self.stdio_line(stream, &rest);
            }
        }
    }

    /// Writes one line of the guest's own log.
    pub(super) fn write(&self, level: Level, message: String, fields: &[(String, String)]) {
        let mut line = message;
        for (name, value) in fields {
            // Writing to a string cannot fail.
            let _ = write!(line, " {name}={value}");
        }
        self.count_and_emit(level, line);
    }

    /// Takes the guest's printed bytes, and writes the lines that they complete.
    pub(super) fn print(&self, stream: Stdio, bytes: &[u8]) {
        let mut state = self.state();
        let mut partial = std::mem::take(&mut state.partial[stream as usize]);
        drop(state);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            partial.extend_from_slice(piece);
            if partial.ends_with(b"\n") || partial.len() > self.0.line_bytes_max {
                self.stdio_line(stream, &partial);
                partial.clear();
            }
        }
        self.state().partial[stream as usize] = partial;
    }

    fn stdio_line(&self, stream: Stdio, line: &[u8]) {
        let level = match stream {
            Stdio::Out => Level::Info,
            Stdio::Err => Level::Warn,
        };
        self.count_and_emit(level, String::from_utf8_lossy(line).trim_end().to_owned());
    }

    fn count_and_emit(&self, level: Level, line: String) {
        let mut state = self.state();
        state.lines += 1;
        let drop_it = state.lines > self.0.lines_max;
        drop(state);
        if !drop_it {
            self.emit(level, &cut(line, self.0.line_bytes_max));
        }
    }

    fn emit(&self, level: Level, line: &str) {
        self.0.logs.of_room(&self.0.room).guest(level.into(), line);
    }

    fn state(&self) -> MutexGuard<'_, GuestLogState> {
        lock(&self.0.state)
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::clock::Clock;
    use room_core::id::PartyName;
    use room_core::logs::{LogFilter, WatchStart, WatchedLines};

    #[tokio::test]
    async fn a_guest_cannot_forge_a_line() {
        let limits = Limits::default();
        let logs = Logs::new(&limits, Clock::system());
        let room = RoomId::new(PartyName::parse("main").unwrap(), "lobby", 256).unwrap();
        let log = GuestLog::new(room, &limits, logs.clone());
        let fields = [("a\nb".to_owned(), "\u{1b}[31mred".to_owned())];
        log.write(Level::Info, "a\nERROR b\u{1b}[2J".to_owned(), &fields);
        log.print(Stdio::Err, b"tab\tstays\r\x1b]0;title\x07\n");
        let mut watcher = logs.watch(WatchStart::Oldest, LogFilter::default()).unwrap();
        let texts: Vec<String> = watcher
            .read()
            .unwrap()
            .into_iter()
            .map(|seen| match seen {
                WatchedLines::Line(line) => line.text.to_string(),
                seen => panic!("{seen:?}"),
            })
            .collect();
        assert_eq!(
            texts,
            ["a\\nERROR b\\u{1b}[2J a\\nb=\\u{1b}[31mred", "tab\tstays\\r\\u{1b}]0;title\\u{7}"]
        );
    }
}
