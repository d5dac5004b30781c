//! The room's log.
//!
//! Owns the levels and the macros `trace!`, `debug!`, `info!`, `warn!` and `error!`. They format
//! like `println!`, and take fields (names with values that belong to the line) before a semicolon.
//! Invariant: a line leaves at once, also if its turn then fails. It does not know who reads the log.
//! `println!` and `eprintln!` reach it too, line by line and without fields.
//!
//! ```
//! use room_sdk::log;
//!
//! let name = "alice";
//! log::info!("{name} joined");
//! log::warn!(user = name, attempts = 3; "too many attempts");
//! ```

use std::fmt;

use crate::host::{Current, Host as _};

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// What happened.
    Info,
    /// What should not have happened, but is handled.
    Warn,
    /// What went wrong.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// Writes one line with its fields; the macros of this module are shorter.
pub fn write(level: Level, message: &str, fields: &[(&str, String)]) {
    Current::log(level, message, fields);
}

#[doc(hidden)]
#[macro_export]
macro_rules! __room_log {
    ($level:ident, $($key:ident = $value:expr),+ ; $($arg:tt)+) => {
        $crate::log::write(
            $crate::log::Level::$level,
            &::std::format!($($arg)+),
            &[$((::std::stringify!($key), ::std::string::ToString::to_string(&$value))),+],
        )
    };
    ($level:ident, $($arg:tt)+) => {
        $crate::log::write($crate::log::Level::$level, &::std::format!($($arg)+), &[])
    };
}

/// Writes a line at level `trace`; see [`log`](crate::log).
#[doc(hidden)]
#[macro_export]
macro_rules! __room_trace {
    ($($arg:tt)+) => { $crate::__room_log!(Trace, $($arg)+) };
}

/// Writes a line at level `debug`; see [`log`](crate::log).
#[doc(hidden)]
#[macro_export]
macro_rules! __room_debug {
    ($($arg:tt)+) => { $crate::__room_log!(Debug, $($arg)+) };
}

/// Writes a line at level `info`; see [`log`](crate::log).
#[doc(hidden)]
#[macro_export]
macro_rules! __room_info {
    ($($arg:tt)+) => { $crate::__room_log!(Info, $($arg)+) };
}

/// Writes a line at level `warn`; see [`log`](crate::log).
#[doc(hidden)]
#[macro_export]
macro_rules! __room_warn {
    ($($arg:tt)+) => { $crate::__room_log!(Warn, $($arg)+) };
}

/// Writes a line at level `error`; see [`log`](crate::log).
#[doc(hidden)]
#[macro_export]
macro_rules! __room_error {
    ($($arg:tt)+) => { $crate::__room_log!(Error, $($arg)+) };
}

#[doc(inline)]
pub use crate::{
    __room_debug as debug, __room_error as error, __room_info as info, __room_trace as trace,
    __room_warn as warn,
};
