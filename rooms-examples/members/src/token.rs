//! The tokens of members: JSON Web Tokens, signed by an identity provider with an Ed25519 key of its key set.
//!
//! Owns the check. Invariant: a token counts if its signature is by a key of the provider, its time has come and is not
//! over, and it is for us. It does not know what a member may do.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_compact::{PublicKey, Signature};
use room_sdk::prelude::*;
use serde::Deserialize;

/// How long the provider's keys are kept.
const KEYS_KEPT: Duration = Duration::from_secs(600);
/// How often they are fetched again for tokens with an unknown key, as after the provider changed its keys.
const KEYS_RENEWED: Duration = Duration::from_secs(60);
/// How far the clocks of the provider and of this server may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 30;

/// Why a token does not count.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The client has to get another one.
    Client(String),
    /// The provider's keys are missing.
    Provider(Error),
}

impl Refusal {
    /// Whether the client has to get another token.
    pub(crate) fn is_the_clients(&self) -> bool {
        matches!(self, Self::Client(_))
    }

    fn of(error: impl fmt::Display) -> Self {
        Self::Client(format!("the token does not count: {error}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(why) => f.write_str(why),
            Self::Provider(error) => write!(f, "{error}"),
        }
    }
}

/// The first part of a token: RFC 7515 section 4.
#[derive(Debug, Deserialize)]
struct Head {
    alg: String,
    kid: String,
}

/// The claims that are checked: RFC 7519 section 4.1.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    aud: Audience,
    exp: u64,
    #[serde(default)]
    nbf: u64,
}

/// One audience, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// The provider's keys, as it publishes them: RFC 7517 section 5.
#[derive(Debug, Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

/// One key. Those of other kinds lack the last field.
#[derive(Debug, Deserialize)]
struct Key {
    #[serde(default)]
    kid: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
}

impl KeySet {
    fn find(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == id && key.crv == "Ed25519")
    }
}

/// Returns the member that a token proves.
pub(crate) fn member(token: &str, lobby: &Lobby) -> Result<String, Refusal> {
    let malformed = || Refusal::of("it is malformed");
    let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (head, claims) = signed.split_once('.').ok_or_else(malformed)?;
    let head: Head = serde_json::from_slice(&decoded(head)?).map_err(Refusal::of)?;
    // The token does not choose how it is checked: there is one algorithm.
    if head.alg != "EdDSA" {
        return Err(Refusal::of(format!("its algorithm is {}, not EdDSA", head.alg)));
    }
    let key = PublicKey::from_slice(&decoded(&key(lobby, &head.kid)?)?).map_err(Refusal::of)?;
    let signature = Signature::from_slice(&decoded(signature)?).map_err(Refusal::of)?;
    key.verify(signed, &signature).map_err(Refusal::of)?;
    let claims = serde_json::from_slice(&decoded(claims)?).map_err(Refusal::of)?;
    checked(claims, lobby)
}

fn decoded(part: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(Refusal::of)
}

/// Returns the member whom these claims are about, if they are for us and now.
fn checked(claims: Claims, lobby: &Lobby) -> Result<String, Refusal> {
    let now = lobby.now().as_millis() / 1_000;
    if now > claims.exp.saturating_add(LEEWAY_SECONDS) {
        return Err(Refusal::of("it is over"));
    }
    if now.saturating_add(LEEWAY_SECONDS) < claims.nbf {
        return Err(Refusal::of("its time has not come"));
    }
    let ours = lobby.var("AUDIENCE").unwrap_or_default();
    let is_ours = match claims.aud {
        Audience::One(own) => own == ours,
        Audience::Many(all) => all.contains(&ours),
    };
    if !is_ours || lobby.var("ISSUER").is_none_or(|issuer| issuer != claims.iss) {
        return Err(Refusal::of("it is for another audience, or of another issuer"));
    }
    Ok(claims.sub)
}

/// Returns the provider's key with this id, as it publishes it.
fn key(lobby: &Lobby, id: &str) -> Result<String, Refusal> {
    if let Some(key) = keys(lobby, "keys", KEYS_KEPT)?.find(id) {
        return Ok(key.x.clone());
    }
    let renewed = keys(lobby, "renewed keys", KEYS_RENEWED)?;
    renewed.find(id).map(|key| key.x.clone()).ok_or_else(|| Refusal::of("its key is unknown"))
}

/// Returns the provider's keys. Clients that come while they are fetched wait for the same request.
fn keys(lobby: &Lobby, kept_as: &str, kept: Duration) -> Result<KeySet, Refusal> {
    let url = lobby.var("JWKS_URL").unwrap_or_default();
    let fetched = lobby.fetch(Request::get(url)).cached(kept_as, kept).send();
    let response = fetched.map_err(|error| Refusal::Provider(error.into()))?;
    let status = response.status_code();
    if status != 200 {
        return Err(Refusal::Provider(anyhow!("the provider's keys: status {status}")));
    }
    response.body_json().map_err(Refusal::Provider)
}
