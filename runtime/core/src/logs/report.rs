//! One call for each notable thing about a room. Owns that the process's log and the room's log say the same.
//!
//! Invariant: both get one text, from one place in the code. The process's log (`tracing`) gets the project, the room and
//! further fields besides, for programs that read it. It does not know who reads which log.

use super::{LogKind, LogLevel, Logs, escape};
use crate::id::RoomId;
use std::fmt;

/// The log of one room, as the platform writes it.
#[derive(Clone, Copy)]
pub struct RoomLog<'a> {
    /// The log of its node.
    pub logs: &'a Logs,
    /// The room.
    pub room: &'a RoomId,
}

/// Reports something about a room to its log and to the process's log: level, [`RoomLog`], fields of the process's log
/// as `tracing` takes them, and a text with its arguments.
///
/// ```text
/// report!(warn, log, [tries], "the alarm failed, try {tries}: {error}");
/// ```
#[macro_export]
macro_rules! report {
    ($level:ident, $log:expr, [$($($field:tt)+)?], $($text:tt)+) => {{
        let log: $crate::logs::RoomLog<'_> = $log;
        let (project, room) = (log.logs.project(), log.room);
        ::tracing::$level!(project, %room, $($($field)+,)? $($text)+);
        log.keep($crate::report!(@level $level), format_args!($($text)+));
    }};
    (@level debug) => { $crate::logs::LogLevel::Debug };
    (@level info) => { $crate::logs::LogLevel::Info };
    (@level warn) => { $crate::logs::LogLevel::Warn };
    (@level error) => { $crate::logs::LogLevel::Error };
}

impl RoomLog<'_> {
    /// Keeps a line for watchers. The text may have line breaks.
    pub fn keep(self, level: LogLevel, text: fmt::Arguments<'_>) {
        let text = match text.as_str() {
            Some(text) => escape::lines(text).into(),
            None => escape::lines(&text.to_string()).into(),
        };
        self.logs.keep(level, LogKind::Platform, Some(self.room.clone()), text);
    }

    /// Reports a turn that failed by the guest's fault. The process's log has it among the guest's own lines.
    pub fn fault(self, event: &'static str, text: &str) {
        let (project, party, room) = (self.logs.project(), self.room.party(), self.room.name());
        tracing::error!(target: "room::guest", project, %party, room, event, "{text}");
        self.keep(LogLevel::Error, format_args!("{event}: {text}"));
    }

    /// Reports a line that the guest wrote.
    pub fn guest(self, level: LogLevel, text: &str) {
        let (project, party, room) = (self.logs.project(), self.room.party(), self.room.name());
        let text = escape::one_line(text);
        match level {
            LogLevel::Trace => {
                tracing::trace!(target: "room::guest", project, %party, room, "{text}");
            }
            LogLevel::Debug => {
                tracing::debug!(target: "room::guest", project, %party, room, "{text}");
            }
            LogLevel::Info => {
                tracing::info!(target: "room::guest", project, %party, room, "{text}");
            }
            LogLevel::Warn => {
                tracing::warn!(target: "room::guest", project, %party, room, "{text}");
            }
            LogLevel::Error => {
                tracing::error!(target: "room::guest", project, %party, room, "{text}");
            }
        }
        self.logs.keep(level, LogKind::Guest, Some(self.room.clone()), text.into());
    }

    /// Reports what happened to a client on its way to the room. The process's log has it at the level `debug`, whatever
    /// the room's log says, because clients decide how many such lines there are.
    pub fn client(self, level: LogLevel, text: &str) {
        let (project, room) = (self.logs.project(), self.room);
        tracing::debug!(project, %room, "{text}");
        self.keep(level, format_args!("{text}"));
    }
}

impl Logs {
    /// Returns the log of one room.
    pub fn of_room<'a>(&'a self, room: &'a RoomId) -> RoomLog<'a> {
        RoomLog { logs: self, room }
    }

    /// Reports something about the node. The text may have line breaks. The process's log has it at the level `debug`,
    /// because the caller that requested it also gets the text.
    pub fn node(&self, level: LogLevel, text: &str) {
        tracing::debug!(project = self.project(), "{text}");
        self.keep(level, LogKind::Platform, None, escape::lines(text).into());
    }
}

#[cfg(test)]
mod tests;
