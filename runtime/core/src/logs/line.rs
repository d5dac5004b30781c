//! One line of the log. Owns its shape, in memory and as JSON.
//!
//! Invariant: its number is unique, and higher than those of all lines before. It does not know where it is kept.

use crate::id::RoomId;
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// The importance of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Each step.
    Trace,
    /// What a developer asks for.
    Debug,
    /// What an operator wants to know.
    Info,
    /// A fault that the node handled.
    Warn,
    /// A fault that lost something for somebody.
    Error,
}

impl LogLevel {
    /// All levels, from the least important.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// Returns the level of this name, in letters of either case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(text))
    }

    /// Returns the name of the level.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The writer of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// A room's own code.
    Guest,
    /// The platform that runs the room.
    Platform,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its number.
    pub seq: u64,
    /// When it was written, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its importance.
    pub level: LogLevel,
    /// What wrote it.
    pub kind: LogKind,
    /// The room that the line is about; `None` if it is about the node.
    pub room: Option<RoomId>,
    /// One line of a guest, or one or more of the platform.
    pub text: Box<str>,
}

impl LogLine {
    /// Returns its size in memory, in bytes. A room's name is counted although its lines share it.
    pub(super) fn size(&self) -> usize {
        let names = self.room.as_ref().map_or(0, |room| room.name().len());
        size_of::<Self>() + names + self.text.len()
    }
}

impl Serialize for LogLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self.kind {
            LogKind::Guest => "guest",
            LogKind::Platform => "platform",
        };
        let mut line = serializer.serialize_struct("LogLine", 7)?;
        line.serialize_field("seq", &self.seq)?;
        line.serialize_field("time_ms", &self.time_ms)?;
        line.serialize_field("level", self.level.name())?;
        line.serialize_field("kind", kind)?;
        line.serialize_field("party", &self.room.as_ref().map(|room| room.party().as_str()))?;
        line.serialize_field("room", &self.room.as_ref().map(RoomId::name))?;
        line.serialize_field("text", &self.text)?;
        line.end()
    }
}
