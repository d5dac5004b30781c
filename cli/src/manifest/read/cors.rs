//! `cors` of a party, and the `prefix` of rooms. Owns the messages about their mistakes.
//!
//! Invariant: as of the reader whose part it is. It does not know what the settings do.

use super::{ManifestReader, Value};
use crate::codes::Code;
use crate::manifest::Party;
use room_runtime::{CorsSetting, Limits, RoomsPrefix};
use toml::Spanned;

impl ManifestReader<'_> {
    pub(super) fn prefix(&mut self, value: &Value<'_>) -> Option<Spanned<String>> {
        let text = self.string("serve.prefix", value)?;
        if let Err(error) = RoomsPrefix::parse(&text) {
            self.complain(Code::BadPrefix, &error.to_string(), value.span(), "this path");
        }
        Some(Spanned::new(value.span(), text))
    }

    pub(super) fn cors(&mut self, place: &str, value: &Value<'_>) -> Option<Spanned<CorsSetting>> {
        let setting = match (value.get_ref().as_bool(), value.get_ref().as_array()) {
            (Some(every), _) => CorsSetting::Every(every),
            (None, Some(_)) => CorsSetting::Origins(self.cors_origins(place, value)),
            (None, None) => {
                let text = self.text.get(value.span()).unwrap_or_default().to_owned();
                self.wrong_type(place, "true or a list of origins", value);
                if value.get_ref().is_str() {
                    self.help_last(&format!("write it as [{text}]"));
                }
                return None;
            }
        };
        Some(Spanned::new(value.span(), setting))
    }

    fn cors_origins(&mut self, place: &str, value: &Value<'_>) -> Vec<String> {
        let origins = self.strings(place, value);
        for origin in &origins {
            if let Err(error) = CorsSetting::origin(origin.get_ref()) {
                self.complain(Code::BadOrigin, &error.to_string(), origin.span(), "this origin");
            }
        }
        if origins.is_empty() {
            self.complain(Code::BadOrigin, "cors lists no origins", value.span(), "this list")
                .help_last("write `cors = true` to let every page read, or remove the key");
        }
        origins.into_iter().map(Spanned::into_inner).collect()
    }

    /// Reports lists that the limits do not allow, when all keys are read.
    pub(super) fn cors_counts(&mut self, parties: &[Party], limits: &Limits) {
        let max = limits.origins_max;
        for setting in parties.iter().filter_map(|party| party.cors.as_ref()) {
            if let CorsSetting::Origins(list) = setting.get_ref()
                && list.len() as u64 > max
            {
                let message = format!("more origins than origins_max allows ({max})");
                self.complain(Code::BadOrigin, &message, setting.span(), "this list")
                    .help_last("remove some, or set `origins_max` in `[limits]`");
            }
        }
    }
}
