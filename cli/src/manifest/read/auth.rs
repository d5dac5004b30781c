//! `[auth]` of a manifest, and `auth` of a party. Owns the messages about their mistakes.
//!
//! Invariant: as of the reader whose part it is. It does not know whether a secret is set, or what is in a key.

use super::{ManifestReader, Value};
use crate::codes::Code;
use crate::manifest::Party;
use room_runtime::{AuthMode, AuthSettings};
use std::ops::Range;
use toml::Spanned;

/// Who may enter, and its place in the file.
pub(super) type WrittenAuth = (Range<usize>, AuthSettings);

/// The keys of the section.
pub(in crate::manifest) const AUTH: &[&str] = &[
    "algorithms",
    "issuer",
    "audience",
    "skew_s",
    "secret",
    "keys",
    "jwks",
    "required",
    "cookie",
    "query",
    "ticket_secret",
];

impl ManifestReader<'_> {
    /// Returns the section, as it is written.
    pub(super) fn auth(&mut self, value: &Value<'_>) -> Option<WrittenAuth> {
        let nothing = serde_json::Value::Object(serde_json::Map::new());
        let mut settings: AuthSettings =
            serde_json::from_value(nothing).expect("every key of the section has a default");
        for (key, value) in self.table("auth", value)? {
            let place = format!("auth.{}", key.get_ref());
            let texts = |list: Vec<Spanned<String>>| list.into_iter().map(Spanned::into_inner);
            match key.get_ref().as_ref() {
                "algorithms" => settings.algorithms = texts(self.strings(&place, value)).collect(),
                "keys" => settings.keys = texts(self.strings(&place, value)).collect(),
                "audience" => match value.get_ref().as_str() {
                    Some(one) => settings.audience = vec![one.to_owned()],
                    None => settings.audience = texts(self.strings(&place, value)).collect(),
                },
                "issuer" => settings.issuer = self.string(&place, value),
                "secret" => settings.secret = self.string(&place, value),
                "jwks" => settings.jwks = self.string(&place, value),
                "cookie" => settings.cookie = self.string(&place, value),
                "ticket_secret" => settings.ticket_secret = self.string(&place, value),
                "skew_s" => settings.skew_s = self.count(&place, value, 0),
                "required" => match value.get_ref().as_bool() {
                    Some(required) => settings.required = required,
                    None => self.wrong_type(&place, "true or false", value),
                },
                "query" => match (value.get_ref().as_bool(), value.get_ref().as_str()) {
                    (Some(false), _) => settings.query = String::new(),
                    (_, Some(name)) if !name.is_empty() => name.clone_into(&mut settings.query),
                    _ => self.wrong_type(&place, "false or the name of a parameter", value),
                },
                _ => self.unknown(key, "[auth]", AUTH),
            }
        }
        Some((value.span(), settings))
    }

    /// Returns what a party asks of its clients.
    pub(super) fn auth_mode(
        &mut self,
        place: &str,
        value: &Value<'_>,
    ) -> Option<Spanned<AuthMode>> {
        let mode = value.get_ref().as_str().and_then(AuthMode::parse);
        if mode.is_none() {
            self.wrong_type(place, AuthMode::WORDS, value);
        }
        Some(Spanned::new(value.span(), mode?))
    }

    /// Reports an invalid section, and parties that need one, when all keys are read.
    pub(super) fn checked_auth(
        &mut self,
        written: Option<WrittenAuth>,
        parties: &[Party],
    ) -> Option<AuthSettings> {
        if let Some((span, settings)) = &written
            && let Err(error) = settings.check()
        {
            self.complain(Code::BadAuth, &error.to_string(), span.clone(), "this section");
        }
        let section = written.map(|(_, settings)| settings);
        for party in parties {
            let Some(mode) = &party.auth else { continue };
            let named = [(party.name.as_str(), Some(*mode.get_ref()))];
            if let Err(error) = AuthSettings::check_modes(section.as_ref(), named.into_iter()) {
                self.complain(Code::BadAuth, &error.to_string(), mode.span(), "this key")
                    .help_last("add `[auth]`, such as `secret = \"AUTH_SECRET\"` below it");
            }
        }
        section
    }
}
