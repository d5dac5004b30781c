//! `presence` of a party. Owns the messages about its mistakes.
//!
//! Invariant: as of the reader whose part it is. It does not know what the setting does.

use super::{ManifestReader, PRESENCE, Value};
use crate::codes::Code;
use crate::manifest::Party;
use room_runtime::{Limits, PresenceSetting, PresenceTime, PresentBy};
use toml::Spanned;

impl ManifestReader<'_> {
    /// Reads `presence = true`, or a table with its keys. `false` is as without the key.
    pub(super) fn presence(
        &mut self,
        place: &str,
        value: &Value<'_>,
    ) -> Option<Spanned<PresenceSetting>> {
        let mut setting = PresenceSetting::default();
        if let Some(on) = value.get_ref().as_bool() {
            return on.then(|| Spanned::new(value.span(), setting));
        }
        if value.get_ref().as_table().is_none() {
            self.wrong_type(place, "true, or a table such as { grace = \"5s\" }", value);
            return None;
        }
        for (key, value) in self.table(place, value)? {
            match key.get_ref().as_ref() {
                "grace" => setting.grace = self.presence_time(&format!("{place}.grace"), value),
                "every" => setting.every = self.presence_time(&format!("{place}.every"), value),
                "by" => match value.get_ref().as_str() {
                    Some("client") => setting.by = PresentBy::Client,
                    Some("room") => setting.by = PresentBy::Room,
                    _ => self.wrong_type(&format!("{place}.by"), "\"client\" or \"room\"", value),
                },
                _ => self.unknown(key, place, PRESENCE),
            }
        }
        Some(Spanned::new(value.span(), setting))
    }

    fn presence_time(&mut self, place: &str, value: &Value<'_>) -> Option<PresenceTime> {
        let time = self.string(place, value)?;
        let Ok(time) = time.parse() else {
            let message =
                format!("`{place}` is a whole number with its unit, such as `30ms`, `5s` or `1m`");
            self.complain(Code::BadPresence, &message, value.span(), "this time");
            return None;
        };
        Some(time)
    }

    /// Reports settings that the limits do not allow, when all keys are read.
    pub(super) fn presences(&mut self, parties: &[Party], limits: &Limits) {
        for setting in parties.iter().filter_map(|party| party.presence.as_ref()) {
            if let Err(error) = setting.get_ref().parse(limits) {
                let span = setting.span();
                self.complain(Code::BadPresence, &error.to_string(), span, "this setting");
            }
        }
    }
}
