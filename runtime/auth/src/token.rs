//! JSON Web Tokens: RFC 7515, RFC 7519, RFC 8725. Owns the checks of one token, and their order.
//!
//! Invariant: the signature is checked before a claim is read. A token names its key and its algorithm, and both only
//! choose among what the project has. It does not know where the keys come from.

use crate::failure::AuthError;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use room_core::config::{AuthAlgorithm, AuthPlan};
use room_core::identity::{Capabilities, Identity};
use room_core::limits::{Limits, size};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The head of a token, as far as it is read.
#[derive(Deserialize)]
struct TokenHead {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// A token, taken apart and not verified.
pub(crate) struct TokenParts<'a> {
    pub(crate) algorithm: AuthAlgorithm,
    /// The id of its key.
    pub(crate) key: Option<String>,
    /// What is signed.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
    payload: &'a str,
}

impl<'a> TokenParts<'a> {
    /// Reads a token whose algorithm is one of these.
    pub(crate) fn read(
        token: &'a str,
        allowed: &[AuthAlgorithm],
        limits: &Limits,
    ) -> Result<Self, AuthError> {
        if token.len() > size(limits.token_bytes_max) {
            return Err(AuthError::Malformed("it is longer than token_bytes_max allows"));
        }
        let malformed = AuthError::Malformed("it is not three parts in base64url");
        let mut parts = token.split('.');
        let (Some(head), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed);
        };
        let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
        let signed = &token.as_bytes()[..head.len() + 1 + payload.len()];
        let head: TokenHead = serde_json::from_slice(&decoded(head)?)
            .map_err(|_| AuthError::Malformed("its head is not a JSON object with `alg`"))?;
        if head.crit.is_some() {
            return Err(AuthError::Malformed(
                "its head has `crit`, and no extension is known here",
            ));
        }
        let algorithm = AuthAlgorithm::parse(&head.alg).filter(|one| allowed.contains(one));
        let algorithm = algorithm.ok_or(AuthError::Algorithm)?;
        Ok(Self { algorithm, key: head.kid, signed, signature: decoded(signature)?, payload })
    }

    /// Returns who the token is about. The caller has checked its signature.
    pub(crate) fn identity(
        &self,
        plan: &AuthPlan,
        now_ms: u64,
        limits: &Limits,
    ) -> Result<Identity, AuthError> {
        let payload = BASE64_URL_SAFE_NO_PAD.decode(self.payload);
        let payload = payload.map_err(|_| AuthError::Malformed("it is not base64url"))?;
        let claims: Map<String, Value> = serde_json::from_slice(&payload)
            .map_err(|_| AuthError::Claims("they are not a JSON object"))?;
        let expires_ms = time(&claims, "exp", "`exp` is not a number of seconds")?
            .ok_or(AuthError::Claims("`exp` is missing"))?;
        let ends_ms = expires_ms.saturating_add(plan.skew_ms);
        if now_ms >= ends_ms {
            return Err(AuthError::Expired);
        }
        let begins_ms = time(&claims, "nbf", "`nbf` is not a number of seconds")?;
        if begins_ms.is_some_and(|begins_ms| begins_ms > now_ms.saturating_add(plan.skew_ms)) {
            return Err(AuthError::NotYetValid);
        }
        if let Some(wanted) = &plan.issuer {
            match claims.get("iss") {
                Some(Value::String(issuer)) if issuer == wanted => {}
                Some(Value::String(_)) | None => return Err(AuthError::Issuer),
                Some(_) => return Err(AuthError::Claims("`iss` is not a text")),
            }
        }
        if !plan.audience.is_empty() && !is_for(&claims, &plan.audience)? {
            return Err(AuthError::Audience);
        }
        // Written again, so that everybody who reads it finds the same claims, also where a name occurs twice.
        let text = Value::Object(claims).to_string();
        if text.len() > size(limits.claims_bytes_max) {
            return Err(AuthError::Claims("they are larger than claims_bytes_max allows"));
        }
        Ok(Identity::new(text, Capabilities::ALL, Some(ends_ms)))
    }
}

/// Returns a time of a claim in milliseconds since 1970: RFC 7519 section 2 allows fractions of a second.
fn time(
    claims: &Map<String, Value>,
    name: &str,
    problem: &'static str,
) -> Result<Option<u64>, AuthError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let seconds = number.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
            let seconds = seconds.ok_or(AuthError::Claims(problem))?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is not negative, and what is too large becomes the largest number"
            )]
            let ms = (seconds * 1_000.0) as u64;
            Ok(Some(ms))
        }
        Some(_) => Err(AuthError::Claims(problem)),
    }
}

/// Returns true if `aud`, a text or a list of texts, has one of those that are wanted.
fn is_for(claims: &Map<String, Value>, wanted: &[String]) -> Result<bool, AuthError> {
    let is_wanted = |text: &str| wanted.iter().any(|own| own == text);
    let wrong = AuthError::Claims("`aud` is not a text or a list of texts");
    match claims.get("aud") {
        None => Ok(false),
        Some(Value::String(text)) => Ok(is_wanted(text)),
        Some(Value::Array(list)) => {
            let mut found = false;
            for one in list {
                found |= is_wanted(one.as_str().ok_or(wrong)?);
            }
            Ok(found)
        }
        Some(_) => Err(wrong),
    }
}
