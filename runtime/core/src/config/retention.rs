//! How long a party's rooms remember what they sent. Owns the settings `resume` and `history`, and their checks.
//!
//! Invariant: a [`Retention`] is within the limits, and a party without settings has none. It does not know what is kept,
//! or who reads it.

use crate::limits::{Limits, size};
use crate::ttl::Ttl;
use serde::{Deserialize, Serialize};

/// The setting `history`: the messages that new clients may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistorySetting {
    /// The number of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
    /// The time for which each is kept.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub keep_for: Option<Ttl>,
    /// Whether they are stored, and outlive a restart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub durable: bool,
}

/// Both settings of a party, as they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionSettings {
    /// `resume`: how long a client may be away.
    pub resume: Option<Ttl>,
    /// `history`.
    pub history: Option<HistorySetting>,
}

/// Both settings, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long a client may be away until its connection ends, in milliseconds; 0 ends it at once.
    pub resume_ms: u64,
    /// Whether clients that were not connected may read what was sent.
    pub history: HistoryAccess,
    /// The most messages that are kept.
    pub messages_max: usize,
    /// The most bytes of them.
    pub bytes_max: usize,
    /// How long each is kept, in milliseconds.
    pub keep_ms: u64,
    /// What they outlive.
    pub durability: HistoryDurability,
}

/// What a room's memory of its messages outlives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistoryDurability {
    /// Nothing: it is gone when the room leaves memory.
    #[default]
    Memory,
    /// Restarts and crashes: each message is stored with the commit of its turn.
    Stored,
}

impl Retention {
    /// Returns true if messages outlive a restart.
    pub fn is_durable(self) -> bool {
        self.durability == HistoryDurability::Stored
    }
}

/// Who may read what a room sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryAccess {
    /// Only a connection that was open when it was sent.
    Resuming,
    /// Every connection, as far as it was sent to all or to a tag that the connection has.
    Everyone,
}

/// The reason why the settings are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// A client may be away for too long.
    #[error(
        "resume is {found}, and resume_ms_max allows {max} ms: take a shorter time, or raise the limit"
    )]
    Away {
        /// The setting.
        found: Ttl,
        /// The limit, in milliseconds.
        max: u64,
    },
    /// More messages than a room may keep.
    #[error(
        "history keeps {found} messages, and history_messages_max and half of outbox_frames_max allow {max}: \
         keep fewer, or raise the limits"
    )]
    Messages {
        /// The setting.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// No message is kept.
    #[error("history keeps no message: keep is at least 1")]
    NoMessages,
    /// Nothing says how much is kept.
    #[error("history needs `keep`, `for` or both, as in {{ keep = 100, for = \"24h\" }}")]
    Nothing,
}

impl RetentionSettings {
    /// Checks the settings. Returns `None` for a party without any.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub fn parse(&self, limits: &Limits) -> Result<Option<Retention>, RetentionError> {
        let Self { resume, history } = self;
        if resume.is_none() && history.is_none() {
            return Ok(None);
        }
        let (resume_ms, max) = (resume.map_or(0, Ttl::as_millis), limits.resume_ms_max);
        if let Some(found) = resume.filter(|_| resume_ms > max) {
            return Err(RetentionError::Away { found, max });
        }
        let all = limits.history_messages_max.min(limits.outbox_frames_max / 2);
        let (keep, for_ms) = match history {
            None => (0, 0),
            Some(HistorySetting { keep: None, keep_for: None, .. }) => {
                return Err(RetentionError::Nothing);
            }
            Some(HistorySetting { keep: Some(0), .. }) => return Err(RetentionError::NoMessages),
            Some(HistorySetting { keep: Some(found), .. }) if *found > all => {
                return Err(RetentionError::Messages { found: *found, max: all });
            }
            Some(HistorySetting { keep, keep_for, .. }) => {
                (keep.unwrap_or(all), keep_for.map_or(u64::MAX, Ttl::as_millis))
            }
        };
        // The server notices only after this time that a client is gone. The client misses what the server sent until then.
        let notice_ms = limits.ping_interval_ms.saturating_add(limits.pong_ms_max);
        let away_ms = if resume_ms > 0 { resume_ms.saturating_add(notice_ms) } else { 0 };
        Ok(Some(Retention {
            resume_ms,
            history: match history {
                Some(_) => HistoryAccess::Everyone,
                None => HistoryAccess::Resuming,
            },
            messages_max: size(if resume_ms > 0 { all } else { keep }),
            bytes_max: size(limits.history_bytes_max.min(limits.outbox_bytes_max / 2)),
            keep_ms: away_ms.max(for_ms),
            durability: match history {
                Some(HistorySetting { durable: true, .. }) => HistoryDurability::Stored,
                _ => HistoryDurability::Memory,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(
        resume: Option<&str>,
        history: Option<(Option<u64>, Option<&str>)>,
    ) -> RetentionSettings {
        let time = |text: &str| text.parse().unwrap();
        let history = history.map(|(keep, keep_for)| HistorySetting {
            keep,
            keep_for: keep_for.map(time),
            durable: false,
        });
        RetentionSettings { resume: resume.map(time), history }
    }

    #[test]
    fn a_party_without_settings_remembers_nothing() {
        assert_eq!(settings(None, None).parse(&Limits::default()), Ok(None));
    }

    #[test]
    fn messages_are_kept_for_as_long_as_a_client_may_be_away_unnoticed() {
        let limits = Limits::default();
        let kept = settings(Some("2m"), None).parse(&limits).unwrap().unwrap();
        assert_eq!((kept.resume_ms, kept.keep_ms), (120_000, 165_000));
        assert_eq!(kept.history, HistoryAccess::Resuming);
        assert_eq!(kept.messages_max as u64, limits.history_messages_max);
        let both =
            settings(Some("2m"), Some((Some(5), Some("24h")))).parse(&limits).unwrap().unwrap();
        assert_eq!((both.keep_ms, both.history), (86_400_000, HistoryAccess::Everyone));
        let history = settings(None, Some((Some(5), None))).parse(&limits).unwrap().unwrap();
        assert_eq!((history.resume_ms, history.messages_max, history.keep_ms), (0, 5, u64::MAX));
    }

    #[test]
    fn history_is_stored_if_the_party_says_so() {
        let mut stored = settings(Some("2m"), Some((Some(5), None)));
        let durability = |settings: &RetentionSettings| {
            settings.parse(&Limits::default()).unwrap().unwrap().durability
        };
        assert_eq!(durability(&stored), HistoryDurability::Memory);
        stored.history.as_mut().unwrap().durable = true;
        assert_eq!(durability(&stored), HistoryDurability::Stored);
        let alone = HistorySetting { durable: true, ..HistorySetting::default() };
        let alone = RetentionSettings { resume: None, history: Some(alone) };
        assert_eq!(alone.parse(&Limits::default()), Err(RetentionError::Nothing));
    }

    #[test]
    fn settings_beyond_the_limits_are_refused() {
        let refused = |settings: RetentionSettings| settings.parse(&Limits::default()).unwrap_err();
        assert!(matches!(refused(settings(Some("1d"), None)), RetentionError::Away { .. }));
        let keep = |keep| settings(None, Some((Some(keep), None)));
        assert_eq!(refused(keep(0)), RetentionError::NoMessages);
        assert!(matches!(refused(keep(1 << 40)), RetentionError::Messages { .. }));
        assert_eq!(refused(settings(None, Some((None, None)))), RetentionError::Nothing);
    }
}
