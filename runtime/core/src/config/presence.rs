//! How a party's rooms show who is there. Owns the setting `presence`, and its checks.
//!
//! Invariant: a [`Presence`] is within the limits, and a party without the setting has none. It does not know users.

use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The setting `presence` as it is written, with its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceSetting {
    /// How long a user without a connection is present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<PresenceTime>,
    /// How long changes are gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<PresenceTime>,
    /// Who sets what a user shows.
    #[serde(default, skip_serializing_if = "PresentBy::is_client")]
    pub by: PresentBy,
}

/// Who sets what a user shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresentBy {
    /// The user's clients, if they have the capability `presence`, and the room's code.
    #[default]
    Client,
    /// The room's code alone.
    Room,
}

impl PresentBy {
    /// Returns true for [`PresentBy::Client`].
    pub fn is_client(&self) -> bool {
        *self == Self::Client
    }
}

/// A short time: `30ms`, `5s`, `1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PresenceTime {
    ms: u64,
}

/// The reason why a text is not a time of presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time of presence is a whole number with its unit: `30ms`, `5s` or `1m`")]
pub struct PresenceTimeError;

/// The units of these times, in milliseconds, the longest first.
const UNITS: [(&str, u64); 3] = [("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The setting, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// How long a user without a connection is present, in milliseconds.
    pub grace_ms: u64,
    /// How long changes are gathered, in milliseconds.
    pub every_ms: u64,
    /// Who sets what a user shows.
    pub by: PresentBy,
}

/// The reason why the setting is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    /// Users would stay for too long.
    #[error(
        "presence has the grace {found}, and presence_grace_ms_max allows {max} ms: take a shorter time"
    )]
    Grace {
        /// The setting.
        found: PresenceTime,
        /// The limit, in milliseconds.
        max: u64,
    },
    /// Changes would leave too often or too seldom.
    #[error(
        "presence leaves every {found}, and presence_every_ms_min and presence_every_ms_max allow {min} to {max} ms"
    )]
    Every {
        /// The setting.
        found: PresenceTime,
        /// The lower limit, in milliseconds.
        min: u64,
        /// The upper limit, in milliseconds.
        max: u64,
    },
}

/// The times of a setting without keys.
const GRACE_MS: u64 = 5_000;
const EVERY_MS: u64 = 30;

impl PresenceSetting {
    /// Checks the setting.
    ///
    /// # Errors
    /// [`PresenceError`].
    pub fn parse(&self, limits: &Limits) -> Result<Presence, PresenceError> {
        let max = limits.presence_grace_ms_max;
        if let Some(found) = self.grace.filter(|grace| grace.ms > max) {
            return Err(PresenceError::Grace { found, max });
        }
        let (min, max_ms) = (limits.presence_every_ms_min, limits.presence_every_ms_max);
        if let Some(found) = self.every.filter(|every| !(min..=max_ms).contains(&every.ms)) {
            return Err(PresenceError::Every { found, min, max: max_ms });
        }
        Ok(Presence {
            grace_ms: self.grace.map_or(GRACE_MS.min(max), |grace| grace.ms),
            every_ms: self.every.map_or(EVERY_MS.clamp(min, max_ms), |every| every.ms),
            by: self.by,
        })
    }
}

impl FromStr for PresenceTime {
    type Err = PresenceTimeError;

    fn from_str(text: &str) -> Result<Self, PresenceTimeError> {
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(PresenceTimeError)?;
        let (number, unit) = text.split_at(split);
        let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(PresenceTimeError)?;
        let number: u64 = number.parse().map_err(|_| PresenceTimeError)?;
        number.checked_mul(*unit_ms).map(|ms| Self { ms }).ok_or(PresenceTimeError)
    }
}

impl fmt::Display for PresenceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.into_iter().find(|(_, unit)| self.ms.is_multiple_of(*unit));
        let (name, unit_ms) = whole.filter(|_| self.ms > 0).unwrap_or(("ms", 1));
        write!(f, "{}{name}", self.ms / unit_ms)
    }
}

impl Serialize for PresenceTime {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PresenceTime {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(grace: Option<&str>, every: Option<&str>) -> PresenceSetting {
        let time = |text: &str| text.parse().unwrap();
        PresenceSetting { grace: grace.map(time), every: every.map(time), by: PresentBy::Client }
    }

    #[test]
    fn a_setting_without_keys_has_five_seconds_of_grace_and_thirty_milliseconds_between_diffs() {
        let parsed = PresenceSetting::default().parse(&Limits::default()).unwrap();
        let expected = Presence { grace_ms: 5_000, every_ms: 30, by: PresentBy::Client };
        assert_eq!(parsed, expected);
        let parsed = setting(Some("0s"), Some("1s")).parse(&Limits::default()).unwrap();
        assert_eq!((parsed.grace_ms, parsed.every_ms), (0, 1_000));
    }

    #[test]
    fn times_beyond_the_limits_are_refused() {
        let refused = |grace, every| setting(grace, every).parse(&Limits::default()).unwrap_err();
        assert!(matches!(refused(Some("6m"), None), PresenceError::Grace { .. }));
        for every in ["0ms", "9ms", "11s"] {
            assert!(matches!(refused(None, Some(every)), PresenceError::Every { .. }), "{every}");
        }
    }

    #[test]
    fn a_time_is_written_as_it_is_read() {
        for text in ["30ms", "5s", "1m", "1500ms", "90s", "0ms"] {
            assert_eq!(text.parse::<PresenceTime>().unwrap().to_string(), text);
        }
        for text in ["", "5", "s", "5h", "-1s", "1.5s", "5 s", "99999999999999999999s"] {
            assert_eq!(text.parse::<PresenceTime>(), Err(PresenceTimeError), "{text}");
        }
    }
}
