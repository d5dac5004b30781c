//! `[webhooks]` of a manifest. Owns the messages about its mistakes.
//!
//! Invariant: as of the reader whose part it is. It does not know whether the secret is set.

use super::{ManifestReader, Value, WEBHOOKS};
use crate::codes::Code;
use crate::manifest::Party;
use room_runtime::{PartyName, WebhookSettings};
use std::ops::Range;
use toml::Spanned;

/// The whole form of the section.
const FORM: &str = "write it as `[webhooks]` with `url = \"https://example.com/hooks\"` and \
                    `secret = \"WEBHOOK_SECRET\"`";

/// The receiver of webhooks, and its place in the file.
pub(super) type WrittenWebhooks = (Range<usize>, WebhookSettings);

impl ManifestReader<'_> {
    /// Returns the receiver, as it is written.
    pub(super) fn webhooks(&mut self, value: &Value<'_>) -> Option<WrittenWebhooks> {
        let (mut url, mut secret) = (None, None);
        let mut settings = WebhookSettings::default();
        for (key, value) in self.table("webhooks", value)? {
            let texts = |list: Vec<Spanned<String>>| {
                Some(list.into_iter().map(Spanned::into_inner).collect::<Vec<_>>())
            };
            match key.get_ref().as_ref() {
                "url" => url = Some(self.string("webhooks.url", value)?),
                "secret" => secret = Some(self.string("webhooks.secret", value)?),
                "events" => settings.events = texts(self.strings("webhooks.events", value)),
                "parties" => settings.parties = texts(self.strings("webhooks.parties", value)),
                _ => self.unknown(key, "[webhooks]", WEBHOOKS),
            }
        }
        let missing = match (&url, &secret) {
            (None, _) => Some("url"),
            (_, None) => Some("secret"),
            _ => None,
        };
        if let Some(missing) = missing {
            let message = format!("[webhooks] has no `{missing}`");
            self.complain(Code::BadWebhooks, &message, value.span(), "this section")
                .help_last(FORM);
            return None;
        }
        let (url, secret) = (url?, secret?);
        Some((value.span(), WebhookSettings { url, secret, ..settings }))
    }

    /// Reports an invalid receiver, when all keys are read.
    pub(super) fn checked_webhooks(
        &mut self,
        written: Option<WrittenWebhooks>,
        parties: &[Party],
    ) -> Option<WebhookSettings> {
        let (span, settings) = written?;
        let names: Vec<PartyName> = parties.iter().map(|party| party.name.clone()).collect();
        if let Err(error) = settings.check(&names) {
            self.complain(Code::BadWebhooks, &error.to_string(), span, "this section");
        }
        Some(settings)
    }
}
