//! `resume` and `history` of a party. Owns the messages about their mistakes.
//!
//! Invariant: as of the reader whose part it is. It does not know what the settings do.

use super::{HISTORY, ManifestReader, Value};
use crate::codes::Code;
use crate::manifest::Party;
use room_runtime::config::RetentionError;
use room_runtime::{HistorySetting, Limits, Ttl};

impl ManifestReader<'_> {
    /// Reads a time for which something is kept.
    pub(super) fn kept_time(&mut self, place: &str, value: &Value<'_>) -> Option<Ttl> {
        let time = self.string(place, value)?;
        let Ok(time) = time.parse() else {
            let message =
                format!("`{place}` is a whole number with its unit, such as `2m` or `24h`");
            self.complain(Code::BadRetention, &message, value.span(), "this time");
            return None;
        };
        Some(time)
    }

    pub(super) fn history(&mut self, place: &str, value: &Value<'_>) -> Option<HistorySetting> {
        let mut history = HistorySetting::default();
        for (key, value) in self.table(place, value)? {
            match key.get_ref().as_ref() {
                "keep" => history.keep = self.count(&format!("{place}.keep"), value, 1),
                "durable" => match value.get_ref().as_bool() {
                    Some(durable) => history.durable = durable,
                    None => self.wrong_type(&format!("{place}.durable"), "true or false", value),
                },
                "for" => history.keep_for = self.kept_time(&format!("{place}.for"), value),
                _ => self.unknown(key, place, HISTORY),
            }
        }
        Some(history)
    }

    /// Reports settings that the limits do not allow, when all keys are read.
    pub(super) fn retentions(&mut self, parties: &[Party], limits: &Limits) {
        for party in parties {
            if let Err(error) = party.retention.parse(limits) {
                let span = match error {
                    RetentionError::Away { .. } => &party.resume_at,
                    _ => &party.history_at,
                };
                let span = span.clone();
                self.complain(Code::BadRetention, &error.to_string(), span, "this setting");
            }
        }
    }
}
