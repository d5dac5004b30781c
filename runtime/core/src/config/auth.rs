//! Who may enter the rooms of a project. Owns the section `[auth]`, and which of its settings are valid.
//!
//! Invariant: an [`AuthPlan`] names algorithms that its keys can have, and a provider whose URL can be requested. It does
//! not know the value of a secret, or how a token is checked.

use super::fetch::FetchHost;
use crate::limits::fixed::{
    AUTH_AUDIENCES_MAX, AUTH_KEYS_MAX, AUTH_NAME_BYTES_MAX, AUTH_SKEW_S_MAX, AUTH_TEXT_BYTES_MAX,
};
use serde::{Deserialize, Serialize};

/// The section `[auth]` of a project, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// The algorithms that a token may be signed with, as [`AuthAlgorithm::parse`] reads them. Without any: those that
    /// the keys have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<String>,
    /// The claim `iss` that a token must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The audiences. A token must have one of them in its claim `aud`. An empty list accepts every token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// By how many seconds the clocks of the issuer and of the server may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_s: Option<u64>,
    /// The variable with the secret of HS256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Public keys, each in PEM or as a JSON Web Key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// The URL at which the issuer publishes its keys, as a JSON Web Key Set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// Whether a client needs a token or a ticket.
    #[serde(default = "needed", skip_serializing_if = "is_true")]
    pub required: bool,
    /// The cookie that may have the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// The parameter of the URL's query that may have the token; an empty one means none.
    #[serde(default = "query", skip_serializing_if = "is_query")]
    pub query: String,
    /// The variable with the secret of tickets. Without one, the server makes a key of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_secret: Option<String>,
}

/// The parameter that has a token, unless the section names another.
const QUERY: &str = "token";
/// The parameter that has a ticket.
pub const TICKET_QUERY: &str = "ticket";
/// The seconds by which clocks may differ, unless the section has another number.
const SKEW_S: u64 = 30;

fn needed() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

fn query() -> String {
    QUERY.to_owned()
}

fn is_query(value: &str) -> bool {
    value == QUERY
}

/// What a party asks of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Each client needs a token or a ticket.
    Required,
    /// A client without both is admitted, too. One with an invalid token is not.
    Optional,
    /// Tokens are not looked at, and the room gets the request as it is.
    Off,
}

impl AuthMode {
    /// The modes, in words.
    pub const WORDS: &str = "\"required\", \"optional\" or \"off\"";

    /// Returns the mode with this name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "required" => Some(Self::Required),
            "optional" => Some(Self::Optional),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// An algorithm that signs tokens: RFC 7518 section 3.1, RFC 8037 section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSA with SHA-256 and padding by PKCS #1.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl AuthAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// Returns its name in the header of a token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Returns the algorithm with this name. Case matters, and `none` is no algorithm.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.name() == name)
    }
}

/// The section, checked. Keys and secrets are checked when they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthPlan {
    /// The algorithms that a token may be signed with.
    pub algorithms: Vec<AuthAlgorithm>,
    /// The claim `iss` that a token must have.
    pub issuer: Option<String>,
    /// The audiences. A token must have one of them in its claim `aud`; an empty list accepts every token.
    pub audience: Vec<String>,
    /// By how much the clocks may differ, in milliseconds.
    pub skew_ms: u64,
    /// The URL of the issuer's keys, with the host that the project may reach for that.
    pub jwks: Option<(String, FetchHost)>,
    /// What parties ask that do not say it themselves.
    pub mode: AuthMode,
    /// The cookie that may have the token.
    pub cookie: Option<String>,
    /// The parameter that may have the token.
    pub query: Option<String>,
}

/// The reason why a section `[auth]` is invalid, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthConfigError(String);

impl AuthConfigError {
    /// Returns an error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl AuthSettings {
    /// Checks the section by itself.
    ///
    /// # Errors
    /// [`AuthConfigError`].
    pub fn check(&self) -> Result<AuthPlan, AuthConfigError> {
        let wrong = |text: String| Err(AuthConfigError(text));
        let texts = [("issuer", self.issuer.as_ref()), ("jwks", self.jwks.as_ref())];
        let listed = self.audience.iter().map(|one| ("audience", Some(one)));
        for (key, text) in texts.into_iter().chain(listed) {
            if text.is_some_and(|text| text.is_empty() || text.len() > AUTH_TEXT_BYTES_MAX) {
                return wrong(format!(
                    "`{key}` of [auth] must have 1 to {AUTH_TEXT_BYTES_MAX} bytes: write it as tokens have it, or leave it out"
                ));
            }
        }
        if self.audience.len() > AUTH_AUDIENCES_MAX || self.keys.len() > AUTH_KEYS_MAX {
            return wrong(format!(
                "[auth] has at most {AUTH_AUDIENCES_MAX} audiences and {AUTH_KEYS_MAX} keys: publish further keys at `jwks`"
            ));
        }
        let skew_s = self.skew_s.unwrap_or(SKEW_S);
        if skew_s > AUTH_SKEW_S_MAX {
            return wrong(format!(
                "skew_s of [auth] is {skew_s}, at most {AUTH_SKEW_S_MAX} are allowed: a larger one accepts expired tokens"
            ));
        }
        let jwks = self.jwks.as_deref().map(provider).transpose()?;
        let names = [("secret", &self.secret), ("ticket_secret", &self.ticket_secret)];
        for (key, name) in names {
            if name.as_ref().is_some_and(String::is_empty) {
                return wrong(format!(
                    "`{key}` of [auth] is empty: write the name of a variable, such as {key} = \"AUTH_SECRET\", and set \
                     it with `room env set AUTH_SECRET - --secret`"
                ));
            }
        }
        let mode = if self.required { AuthMode::Required } else { AuthMode::Optional };
        Ok(AuthPlan {
            algorithms: self.allowed()?,
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            skew_ms: skew_s * 1_000,
            jwks,
            mode,
            cookie: self.cookie.as_deref().map(cookie).transpose()?,
            query: parameter(&self.query)?,
        })
    }

    /// Checks the modes of a project's parties, which are named with them.
    ///
    /// # Errors
    /// [`AuthConfigError`]: a party asks for tokens, and the project has no section.
    pub fn check_modes<'p>(
        section: Option<&Self>,
        modes: impl Iterator<Item = (&'p str, Option<AuthMode>)>,
    ) -> Result<(), AuthConfigError> {
        let mut asking = modes.filter(|(_, mode)| mode.is_some_and(|mode| mode != AuthMode::Off));
        match asking.next() {
            Some((party, _)) if section.is_none() => Err(AuthConfigError(format!(
                "the party {party} has `auth`, and the project has no section [auth], which says how tokens are checked: \
                 add it, or remove `auth`"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns the algorithms that a token may have: those that are listed, or those that the keys can have.
    fn allowed(&self) -> Result<Vec<AuthAlgorithm>, AuthConfigError> {
        let public = !self.keys.is_empty() || self.jwks.is_some();
        let possible = |one: &AuthAlgorithm| match one {
            AuthAlgorithm::Hs256 => self.secret.is_some(),
            _ => public,
        };
        if self.algorithms.is_empty() {
            return Ok(AuthAlgorithm::ALL.into_iter().filter(possible).collect());
        }
        let mut allowed = Vec::with_capacity(self.algorithms.len());
        for name in &self.algorithms {
            let shown: String = name.chars().take(AUTH_NAME_BYTES_MAX).collect();
            let Some(one) = AuthAlgorithm::parse(name) else {
                let all = AuthAlgorithm::ALL.map(AuthAlgorithm::name).join(", ");
                return Err(AuthConfigError(format!(
                    "{shown:?} is not an algorithm that tokens may have here: write some of {all}"
                )));
            };
            if !possible(&one) {
                let missing = match one {
                    AuthAlgorithm::Hs256 => "a `secret`",
                    _ => "`keys` or `jwks`",
                };
                return Err(AuthConfigError(format!(
                    "[auth] allows {shown} and has no key for it: add {missing}, or remove it from `algorithms`"
                )));
            }
            allowed.push(one);
        }
        if self.secret.is_some() && !allowed.contains(&AuthAlgorithm::Hs256) {
            let problem = "[auth] has a `secret`, and its `algorithms` do not list HS256: list it, or remove `secret`";
            return Err(AuthConfigError(problem.to_owned()));
        }
        Ok(allowed)
    }
}

fn provider(url: &str) -> Result<(String, FetchHost), AuthConfigError> {
    let shown: String = url.chars().take(AUTH_TEXT_BYTES_MAX).collect();
    let wrong = |why: &str| AuthConfigError(format!("{shown:?} cannot be `jwks` of [auth]: {why}"));
    if url.bytes().any(|byte| !byte.is_ascii_graphic()) || url.contains('#') {
        return Err(wrong("write the URL as it is sent, without spaces and without #"));
    }
    let form = "write a whole URL, such as https://auth.example.com/.well-known/jwks.json";
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong(form))?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains(['*', '@']) {
        return Err(wrong(form));
    }
    let host = FetchHost::parse(&format!("{scheme}://{authority}"));
    let host = host.map_err(|error| wrong(&error.to_string()))?;
    Ok((url.to_owned(), host))
}

/// Checks the name of a cookie: RFC 6265 section 4.1.1.
fn cookie(name: &str) -> Result<String, AuthConfigError> {
    let valid = (1..=AUTH_NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    valid.then(|| name.to_owned()).ok_or_else(|| {
        let shown: String = name.chars().take(AUTH_NAME_BYTES_MAX).collect();
        AuthConfigError(format!(
            "{shown:?} cannot be `cookie` of [auth]: write the name of a cookie, such as cookie = \"session\""
        ))
    })
}

/// Checks the name of a parameter. An empty name switches the parameter off.
fn parameter(name: &str) -> Result<Option<String>, AuthConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let reserved = [TICKET_QUERY, "_pk"];
    if name.is_empty() {
        return Ok(None);
    }
    if name.len() > AUTH_NAME_BYTES_MAX || !name.bytes().all(plain) || reserved.contains(&name) {
        let shown: String = name.chars().take(AUTH_NAME_BYTES_MAX).collect();
        return Err(AuthConfigError(format!(
            "{shown:?} cannot be `query` of [auth]: write a name of letters, digits, `-`, `_` and `.` other than ticket and \
             _pk, such as query = \"token\", or query = false to take no token from there"
        )));
    }
    Ok(Some(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> AuthSettings {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_algorithms_are_those_of_the_keys_unless_some_are_listed() {
        let names = |text: &str| {
            let plan = settings(text).check().unwrap();
            plan.algorithms.into_iter().map(AuthAlgorithm::name).collect::<Vec<_>>()
        };
        assert_eq!(names("{}"), [""; 0]);
        assert_eq!(names(r#"{"secret":"S"}"#), ["HS256"]);
        let jwks = r#""jwks":"https://auth.example.com/keys""#;
        assert_eq!(names(&format!("{{{jwks}}}")), ["RS256", "ES256", "EdDSA"]);
        assert_eq!(names(&format!("{{{jwks},\"algorithms\":[\"ES256\"]}}")), ["ES256"]);
    }

    #[test]
    fn an_invalid_section_is_named_with_advice() {
        let long = format!(r#"{{"issuer":"{}"}}"#, "x".repeat(AUTH_TEXT_BYTES_MAX + 1));
        for (text, part) in [
            (r#"{"algorithms":["none"],"secret":"S"}"#, "HS256, RS256, ES256, EdDSA"),
            (r#"{"algorithms":["hs256"],"secret":"S"}"#, "\"hs256\""),
            (r#"{"algorithms":["RS256"]}"#, "add `keys` or `jwks`"),
            (r#"{"algorithms":["HS256"],"keys":["x"]}"#, "add a `secret`"),
            (r#"{"algorithms":["RS256"],"keys":["x"],"secret":"S"}"#, "do not list HS256"),
            (r#"{"secret":""}"#, "name of a variable"),
            (r#"{"issuer":""}"#, "`issuer`"),
            (&long, "`issuer`"),
            (r#"{"audience":[""]}"#, "`audience`"),
            (r#"{"skew_s":601}"#, "skew_s"),
            (r#"{"jwks":"auth.example.com"}"#, "a whole URL"),
            (r#"{"jwks":"ftp://auth.example.com"}"#, "https://"),
            (r#"{"jwks":"https://*.example.com"}"#, "a whole URL"),
            (r#"{"jwks":"https://a:b@example.com"}"#, "a whole URL"),
            (r#"{"jwks":"https://exa mple.com"}"#, "without spaces"),
            (r#"{"cookie":"a b"}"#, "`cookie`"),
            (r#"{"query":"a&b"}"#, "`query`"),
            (r#"{"query":"ticket"}"#, "other than ticket"),
        ] {
            let error = settings(text).check().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_section_reads_as_it_is_written_and_says_what_it_leaves_out() {
        let plan = settings("{}").check().unwrap();
        assert_eq!((plan.mode, plan.query.as_deref()), (AuthMode::Required, Some("token")));
        assert_eq!(plan.skew_ms, 30_000);
        let text = r#"{"audience":["chat"],"required":false,"query":""}"#;
        let own = settings(text);
        assert_eq!(serde_json::to_string(&own).unwrap(), text);
        let plan = own.check().unwrap();
        assert_eq!((plan.mode, plan.query), (AuthMode::Optional, None));
        assert!(serde_json::from_str::<AuthSettings>(r#"{"colour":1}"#).is_err());
    }
}
