//! The receiver of a project's webhooks. Owns the section `[webhooks]`, and which of its settings are valid.
//!
//! Invariant: a [`WebhookPlan`] has a URL that can be requested, at least one event, and parties of its project. It does
//! not know the secret's value, or who sends.

use super::fetch::FetchHost;
use crate::id::PartyName;
use crate::limits::fixed::{WEBHOOK_SECRET_BYTES_MIN, WEBHOOK_URL_BYTES_MAX};
use crate::webhooks::{WebhookEvent, WebhookEvents};
use serde::{Deserialize, Serialize};

/// The section `[webhooks]` of a project, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// The URL of the receiver.
    pub url: String,
    /// The events that it gets, as [`WebhookEvent::parse`] reads them; all, if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// The parties whose rooms it gets them of; all, if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parties: Option<Vec<String>>,
    /// The name of the variable with the secret that signs them.
    pub secret: String,
}

/// The receiver of a project's webhooks, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookPlan {
    /// The URL of the receiver.
    pub url: String,
    /// Its host, which the project may reach for that.
    pub host: FetchHost,
    /// The events that it gets.
    pub events: WebhookEvents,
    /// The parties whose rooms it gets them of; `None` stands for all.
    parties: Option<Vec<PartyName>>,
}

/// The reason why webhooks cannot be sent, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WebhookError(String);

impl WebhookSettings {
    /// Checks the settings of a project with these parties.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub fn check(&self, known: &[PartyName]) -> Result<WebhookPlan, WebhookError> {
        let host = self.host()?;
        let events = match &self.events {
            None => WebhookEvent::ALL.into_iter().collect(),
            Some(names) => self.events_of(names)?,
        };
        let parties = match &self.parties {
            None => None,
            Some(names) => Some(parties_of(names, known)?),
        };
        if self.secret.is_empty() {
            let problem = "the webhooks have no secret: write the name of a variable, such as secret = \
                           \"WEBHOOK_SECRET\", and set it with `room env set WEBHOOK_SECRET - --secret`";
            return Err(WebhookError(problem.to_owned()));
        }
        Ok(WebhookPlan { url: self.url.clone(), host, events, parties })
    }

    fn host(&self) -> Result<FetchHost, WebhookError> {
        let shown: String = self.url.chars().take(WEBHOOK_URL_BYTES_MAX).collect();
        let wrong = |why: &str| {
            Err(WebhookError(format!("{shown:?} cannot be the url of webhooks: {why}")))
        };
        if self.url.len() > WEBHOOK_URL_BYTES_MAX {
            return wrong(&format!("write at most {WEBHOOK_URL_BYTES_MAX} bytes"));
        }
        if self.url.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return wrong("write spaces and letters beyond ASCII percent-encoded");
        }
        let Some((scheme, rest)) = self.url.split_once("://") else {
            return wrong("write a whole URL, such as https://example.com/hooks");
        };
        if rest.contains('#') {
            return wrong("leave out what follows #, which is never sent");
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.is_empty() || authority.contains('*') {
            return wrong("write one host, such as https://example.com/hooks");
        }
        if authority.contains('@') {
            return wrong("write it without a user: the receiver knows a webhook by its signature");
        }
        FetchHost::parse(&format!("{scheme}://{authority}"))
            .or_else(|error| wrong(&error.to_string()))
    }

    fn events_of(&self, names: &[String]) -> Result<WebhookEvents, WebhookError> {
        let parsed = names.iter().map(|name| {
            WebhookEvent::parse(name).ok_or_else(|| {
                let all = WebhookEvent::ALL.map(WebhookEvent::name).join(", ");
                WebhookError(format!("{name:?} is not an event of webhooks: write some of {all}"))
            })
        });
        let events: WebhookEvents = parsed.collect::<Result<_, _>>()?;
        match events.is_empty() {
            true => Err(WebhookError(
                "the webhooks have no event: name some, or remove `events` to send all".to_owned(),
            )),
            false => Ok(events),
        }
    }

    /// Returns the value of the secret among these variables.
    ///
    /// # Errors
    /// [`WebhookError`]: it is not set, or too short to be a secret.
    pub fn secret_among<'a>(
        &self,
        mut variables: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<&'a str, WebhookError> {
        let name = &self.secret;
        let found = variables.find(|(own, _)| own == name).map(|(_, value)| value);
        let Some(value) = found else {
            return Err(WebhookError(format!(
                "the webhooks are signed with the variable {name}, which is not set: set it with `room env set {name} - \
                 --secret` on a server, or in .env for `room dev`"
            )));
        };
        match value.len() < WEBHOOK_SECRET_BYTES_MIN {
            true => Err(self.with_secret_problem(&format!(
                "it has {} bytes, at least {WEBHOOK_SECRET_BYTES_MIN} are needed",
                value.len()
            ))),
            false => Ok(value),
        }
    }

    /// Returns the error about the value of the secret, without that value.
    pub fn with_secret_problem(&self, problem: &str) -> WebhookError {
        let name = &self.secret;
        WebhookError(format!(
            "the variable {name} cannot be the secret of webhooks: {problem}; set it to whsec_ and 24 to 64 random bytes in \
             base64, such as whsec_$(openssl rand -base64 32)"
        ))
    }
}

fn parties_of(names: &[String], known: &[PartyName]) -> Result<Vec<PartyName>, WebhookError> {
    if names.is_empty() {
        let problem =
            "the webhooks have no party: name some, or remove `parties` to send those of all";
        return Err(WebhookError(problem.to_owned()));
    }
    let parsed = names.iter().map(|name| {
        let party = PartyName::parse(name).map_err(|error| WebhookError(error.to_string()))?;
        match known.contains(&party) {
            true => Ok(party),
            false => {
                let known: Vec<&str> = known.iter().map(PartyName::as_str).collect();
                let known = known.join(", ");
                Err(WebhookError(format!(
                    "the webhooks name the party {party}, and the project has {known}"
                )))
            }
        }
    });
    parsed.collect()
}

impl WebhookPlan {
    /// Returns the events that a party's rooms make webhooks of.
    pub fn events_of(&self, party: &PartyName) -> WebhookEvents {
        match &self.parties {
            Some(parties) if !parties.contains(party) => WebhookEvents::default(),
            _ => self.events,
        }
    }

    /// Returns the URL without its query, which may hold secrets.
    pub fn shown(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parties() -> Vec<PartyName> {
        ["main", "chat"].map(|name| PartyName::parse(name).unwrap()).to_vec()
    }

    fn settings(url: &str) -> WebhookSettings {
        let secret = "WEBHOOK_SECRET".to_owned();
        WebhookSettings { url: url.to_owned(), secret, ..WebhookSettings::default() }
    }

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_receiver_gets_all_events_of_all_parties_unless_it_names_some() {
        let all = settings("https://example.com/hooks?key=1").check(&parties()).unwrap();
        assert_eq!(all.shown(), "https://example.com/hooks");
        assert_eq!(all.host.to_string(), "https://example.com");
        let [main, chat] = &parties()[..] else { panic!("two") };
        assert!(WebhookEvent::ALL.into_iter().all(|event| all.events_of(main).has(event)));
        let some = WebhookSettings {
            events: names(&["created"]),
            parties: names(&["Chat"]),
            ..settings("http://127.0.0.1:8080")
        };
        let some = some.check(&parties()).unwrap();
        assert!(some.events_of(main).is_empty());
        assert!(some.events_of(chat).has(WebhookEvent::Created));
        assert!(!some.events_of(chat).has(WebhookEvent::Expired));
    }

    #[test]
    fn an_invalid_setting_is_named_with_advice() {
        let long = format!("https://example.com/{}", "x".repeat(WEBHOOK_URL_BYTES_MAX));
        let good = settings("https://example.com");
        for (settings, part) in [
            (settings(""), "a whole URL"),
            (settings("example.com/hooks"), "a whole URL"),
            (settings("ftp://example.com"), "https://"),
            (settings("https://"), "one host"),
            (settings("https:///hooks"), "one host"),
            (settings("https://*.example.com/"), "one host"),
            (settings("https://a:b@example.com"), "without a user"),
            (settings("https://example.com/#x"), "leave out"),
            (settings("https://exa mple.com"), "percent-encoded"),
            (settings("https://example.com:0/"), "the port"),
            (settings(&long), "at most"),
            (
                WebhookSettings { events: names(&["conected"]), ..good.clone() },
                "created, connected",
            ),
            (WebhookSettings { events: names(&[]), ..good.clone() }, "no event"),
            (WebhookSettings { parties: names(&["mian"]), ..good.clone() }, "has main, chat"),
            (WebhookSettings { parties: names(&[]), ..good.clone() }, "no party"),
            (WebhookSettings { secret: String::new(), ..good.clone() }, "no secret"),
        ] {
            let error = settings.check(&parties()).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn a_missing_secret_is_an_error_that_says_how_to_set_it() {
        let settings = settings("https://example.com");
        let found = |vars: &[(&'static str, &'static str)]| {
            settings.secret_among(vars.iter().copied()).map_err(|error| error.to_string())
        };
        let secret = "0123456789abcdef";
        assert_eq!(found(&[("A", "x"), ("WEBHOOK_SECRET", secret)]), Ok(secret));
        assert!(found(&[("A", "x")]).unwrap_err().contains("room env set WEBHOOK_SECRET"));
        let short = found(&[("WEBHOOK_SECRET", "shh")]).unwrap_err();
        assert!(short.contains("3 bytes") && !short.contains("shh "), "{short}");
    }
}
