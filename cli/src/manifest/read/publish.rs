//! `[publish]` of a manifest. Owns the messages about its mistakes.
//!
//! Invariant: as of the reader whose part it is. It does not know whether the keys are set.

use super::{ManifestReader, PUBLISH, Value};
use crate::codes::Code;
use crate::manifest::Party;
use room_runtime::{PartyName, PublishKeySetting, PublishSettings, ScopedPublishKey};
use std::ops::Range;
use toml::Spanned;

/// The whole form of the section.
const FORM: &str = "write it as `[publish]` with `keys = [\"PUBLISH_KEY\"]`, or \
                    `keys = [{ secret = \"PUBLISH_KEY\", parties = [\"main\"], rooms = [\"chat-*\"] }]`";
/// The keys of a key that is for some rooms.
pub(in crate::manifest) const KEY: &[&str] = &["secret", "parties", "rooms"];

/// The keys of publishers, and their place in the file.
pub(super) type WrittenPublish = (Range<usize>, PublishSettings);

impl ManifestReader<'_> {
    /// Returns the keys of publishers, as they are written.
    pub(super) fn publish(&mut self, value: &Value<'_>) -> Option<WrittenPublish> {
        let mut keys = None;
        for (key, value) in self.table("publish", value)? {
            match key.get_ref().as_ref() {
                "keys" => keys = self.publish_keys(value),
                _ => self.unknown(key, "[publish]", PUBLISH),
            }
        }
        if keys.is_none() && self.mistakes.is_empty() {
            self.complain(
                Code::BadPublish,
                "[publish] has no `keys`",
                value.span(),
                "this section",
            )
            .help_last(FORM);
        }
        Some((value.span(), PublishSettings { keys: keys? }))
    }

    fn publish_keys(&mut self, value: &Value<'_>) -> Option<Vec<PublishKeySetting>> {
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(
                "publish.keys",
                "a list of names, or of `{ secret = \"NAME\" }`",
                value,
            );
            return None;
        };
        Some(list.iter().filter_map(|value| self.publish_key(value)).collect())
    }

    fn publish_key(&mut self, value: &Value<'_>) -> Option<PublishKeySetting> {
        if let Some(name) = value.get_ref().as_str() {
            return Some(PublishKeySetting::Name(name.to_owned()));
        }
        let (mut secret, mut parties, mut rooms) = (None, None, None);
        for (key, value) in self.table("publish.keys", value)? {
            let texts = |list: Vec<Spanned<String>>| {
                Some(list.into_iter().map(Spanned::into_inner).collect::<Vec<_>>())
            };
            match key.get_ref().as_ref() {
                "secret" => secret = Some(self.string("publish.keys.secret", value)?),
                "parties" => parties = texts(self.strings("publish.keys.parties", value)),
                "rooms" => rooms = texts(self.strings("publish.keys.rooms", value)),
                _ => self.unknown(key, "a key of [publish]", KEY),
            }
        }
        let Some(secret) = secret else {
            let message = "a key of [publish] has no `secret`";
            self.complain(Code::BadPublish, message, value.span(), "this key").help_last(FORM);
            return None;
        };
        Some(PublishKeySetting::Scoped(ScopedPublishKey { secret, parties, rooms }))
    }

    /// Reports invalid keys, when all of the file is read.
    pub(super) fn checked_publish(
        &mut self,
        written: Option<WrittenPublish>,
        parties: &[Party],
    ) -> Option<PublishSettings> {
        let (span, settings) = written?;
        let names: Vec<PartyName> = parties.iter().map(|party| party.name.clone()).collect();
        if self.mistakes.is_empty()
            && let Err(error) = settings.check(&names)
        {
            self.complain(Code::BadPublish, &error.to_string(), span, "this section");
        }
        Some(settings)
    }
}
