//! The time for which an unused room is kept. Owns the spelling of a ttl, and the calculation with it.
//!
//! Invariant: a room is due at the earliest when it has been unused for its party's ttl, and at most an
//! eighth of the ttl later. Time is the time that the node has served, so the machine's clock plays no part,
//! and rooms do not age while no server runs. It does not know rooms, or where times are kept.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// A time after which unused rooms are deleted: `90s`, `15m`, `12h`, `30d`, `8w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl {
    seconds: u64,
}

/// The reason why a text is not a ttl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// It is not a time.
    #[error("a ttl is a whole number with its unit: `90s`, `15m`, `12h`, `30d` or `8w`")]
    NoTime,
    /// It is zero, or too long to be meant.
    #[error("a ttl is at least `1s` and at most `520w`")]
    OutOfRange,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MAX: u64 = 520 * WEEK;
/// The largest first.
const UNITS: [(u64, &str); 5] = [(WEEK, "w"), (DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (1, "s")];

impl Ttl {
    /// Returns the time itself.
    pub fn as_duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Returns it in milliseconds.
    pub fn as_millis(self) -> u64 {
        self.seconds * 1_000
    }
}

impl FromStr for Ttl {
    type Err = TtlError;

    fn from_str(text: &str) -> Result<Self, TtlError> {
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(TtlError::NoTime)?;
        let (number, unit) = text.split_at(split);
        let unit = UNITS.iter().find(|(_, name)| *name == unit).ok_or(TtlError::NoTime)?.0;
        if number.is_empty() {
            return Err(TtlError::NoTime);
        }
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        let seconds = seconds.filter(|seconds| (1..=MAX).contains(seconds));
        seconds.map(|seconds| Self { seconds }).ok_or(TtlError::OutOfRange)
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.into_iter().find(|(unit, _)| self.seconds.is_multiple_of(*unit));
        let (unit, name) = whole.unwrap_or((1, "s"));
        write!(f, "{}{name}", self.seconds / unit)
    }
}

impl Serialize for Ttl {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A clock that counts how long a node has served, over all its starts. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    before_ms: u64,
    start: Instant,
}

impl Served {
    /// Makes a clock that continues after the service so far.
    pub fn from(before_ms: u64) -> Self {
        Self { before_ms, start: Instant::now() }
    }

    /// Returns the milliseconds of service so far.
    pub fn ms(&self) -> u64 {
        self.ms_at(Instant::now())
    }

    /// Returns the milliseconds of service up to a moment.
    pub fn ms_at(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.start).as_millis();
        self.before_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// A party's ttl, and since when it holds for the party's rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    ttl_ms: u64,
    since_ms: u64,
}

impl Lifetime {
    /// Makes the lifetime of rooms whose ttl holds since `since_ms`. Before that there was no ttl, or a
    /// longer one, so uses may not have been noted. Each room therefore has at least the whole ttl from
    /// `since_ms` on.
    pub fn new(ttl_ms: u64, since_ms: u64) -> Self {
        Self { ttl_ms, since_ms }
    }

    /// Returns the ttl in milliseconds.
    pub fn ttl_ms(self) -> u64 {
        self.ttl_ms
    }

    /// Returns the time since which the ttl holds, in milliseconds of service.
    pub fn since_ms(self) -> u64 {
        self.since_ms
    }

    /// Returns the age at which a note of use is renewed.
    pub fn step_ms(self) -> u64 {
        (self.ttl_ms / 8).max(1)
    }

    /// Returns when a room is due whose last use was noted at this time.
    pub fn due_ms(self, noted_ms: u64) -> u64 {
        noted_ms.max(self.since_ms).saturating_add(self.unused_ms())
    }

    /// Returns the time to note for a room that is to be due at `due_ms`, which must not be earlier than the
    /// first time at which a room can be due.
    pub fn noted_for(self, due_ms: u64) -> u64 {
        due_ms.saturating_sub(self.unused_ms())
    }

    /// Returns the ttl and one step: a use within a step after the last note is not noted.
    fn unused_ms(self) -> u64 {
        self.ttl_ms.saturating_add(self.step_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_read_and_shown_in_its_largest_unit() {
        for (text, seconds, shown) in [
            ("90s", 90, "90s"),
            ("120s", 120, "2m"),
            ("12h", 43_200, "12h"),
            ("30d", 2_592_000, "30d"),
            ("14d", 1_209_600, "2w"),
        ] {
            let ttl: Ttl = text.parse().unwrap();
            assert_eq!(ttl.as_duration(), Duration::from_secs(seconds));
            assert_eq!(ttl.to_string(), shown);
        }
    }

    #[test]
    fn an_invalid_ttl_error_explains_the_format() {
        for text in ["", "30", "d", "30 d", "-1d", "1.5h", "30days", "1D", "3d2h"] {
            assert_eq!(text.parse::<Ttl>(), Err(TtlError::NoTime), "{text}");
        }
        for text in ["0s", "0d", "521w", "99999999999999999999s", "18446744073709551615w"] {
            assert_eq!(text.parse::<Ttl>(), Err(TtlError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn a_room_is_due_an_eighth_after_its_ttl_and_never_before_the_ttl_is_that_old() {
        let lifetime = Lifetime::new(8_000, 100_000);
        assert_eq!(lifetime.step_ms(), 1_000);
        assert_eq!(lifetime.due_ms(150_000), 159_000);
        assert_eq!(lifetime.due_ms(3), 109_000);
        assert_eq!(lifetime.due_ms(lifetime.noted_for(200_000)), 200_000);
    }
}
