//! What a project and its parties ask of clients. Owns which key a token is checked with.
//!
//! Invariant: a secret checks HS256 alone, and a public key its own algorithm alone. It does not know where a token was
//! found.

use crate::failure::AuthError;
use crate::jwks::Jwks;
use crate::keys::Key;
use crate::ticket::{TicketKey, TicketMint, check_secret};
use crate::token::TokenParts;
use crate::used::{TicketUse, UsedTickets};
use ring::hmac;
use room_core::config::{AuthAlgorithm, AuthConfigError, AuthMode, AuthPlan, AuthSettings};
use room_core::id::RoomId;
use room_core::identity::Identity;
use room_core::limits::Limits;
use std::sync::Arc;

/// The section `[auth]` of a project, with its keys. Cheap to clone.
#[derive(Clone)]
pub struct ProjectAuth(Arc<AuthRules>);

struct AuthRules {
    plan: AuthPlan,
    secret: Option<hmac::Key>,
    keys: Vec<Key>,
    jwks: Option<Jwks>,
    mint: TicketMint,
    limits: Arc<Limits>,
}

/// What a party asks of its clients. Cheap to clone.
#[derive(Clone)]
pub struct PartyAuth {
    project: ProjectAuth,
    mode: AuthMode,
}

/// Who a client is, and the use of its ticket, if that is valid once.
pub struct IdentityProof {
    /// Who it is.
    pub identity: Identity,
    /// The use of the ticket, which counts when it is kept.
    pub used: Option<TicketUse>,
}

impl ProjectAuth {
    /// Reads the keys of a section whose plan was checked. `variable` returns the value of a variable of the project.
    ///
    /// # Errors
    /// [`AuthConfigError`]: a variable is not set, or a key is invalid or too weak.
    pub fn new<'v>(
        (settings, plan): (&AuthSettings, AuthPlan),
        variable: impl Fn(&str) -> Option<&'v str>,
        (jwks, mint): (Option<Jwks>, TicketMint),
        limits: &Arc<Limits>,
    ) -> Result<Self, AuthConfigError> {
        let secret = settings.secret.as_deref().map(|name| {
            let secret = secret_of(name, &variable)?;
            Ok(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
        });
        let keys = settings.keys.iter().enumerate().map(|(at, text)| {
            Key::read(text).map_err(|problem| {
                AuthConfigError::new(format!("key {} of [auth] cannot be used: {problem}", at + 1))
            })
        });
        let keys = keys.collect::<Result<_, _>>()?;
        let (secret, limits) = (secret.transpose()?, limits.clone());
        Ok(Self(Arc::new(AuthRules { plan, secret, keys, jwks, mint, limits })))
    }

    /// Returns the key of tickets that a section names, if it names one.
    ///
    /// # Errors
    /// [`AuthConfigError`]: the variable is not set, or too short.
    pub fn ticket_key<'v>(
        settings: &AuthSettings,
        variable: impl Fn(&str) -> Option<&'v str>,
    ) -> Result<Option<TicketKey>, AuthConfigError> {
        let Some(name) = settings.ticket_secret.as_deref() else { return Ok(None) };
        TicketKey::of_secret(name, secret_of(name, variable)?).map(Some)
    }

    /// Returns what a party asks; `None` if it asks nothing. `mode` is the party's own.
    pub fn of_party(&self, mode: Option<AuthMode>) -> Option<PartyAuth> {
        match mode.unwrap_or(self.0.plan.mode) {
            AuthMode::Off => None,
            mode => Some(PartyAuth { project: self.clone(), mode }),
        }
    }
}

/// Returns the value of the variable with a secret of `[auth]`.
///
/// # Errors
/// [`AuthConfigError`]: it is not set, or too short.
fn secret_of<'v>(
    name: &str,
    variable: impl Fn(&str) -> Option<&'v str>,
) -> Result<&'v str, AuthConfigError> {
    let Some(secret) = variable(name) else {
        return Err(AuthConfigError::new(format!(
            "[auth] names the variable {name}, which is not set: set it with `room env set {name} - --secret` on a server, \
             or in .env for `room dev`"
        )));
    };
    check_secret(name, secret)?;
    Ok(secret)
}

impl PartyAuth {
    /// Returns true if a client needs a token or a ticket.
    pub fn is_required(&self) -> bool {
        self.mode == AuthMode::Required
    }

    /// Returns the cookie that may have a token.
    pub fn cookie(&self) -> Option<&str> {
        self.project.0.plan.cookie.as_deref()
    }

    /// Returns the parameter that may have a token.
    pub fn query(&self) -> Option<&str> {
        self.project.0.plan.query.as_deref()
    }

    /// Checks a token or a ticket for a room. Without a room, a ticket is for another one.
    ///
    /// # Errors
    /// [`AuthError`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, no ticket was used.
    pub async fn prove(
        &self,
        token: &str,
        room: Option<&RoomId>,
        now_ms: u64,
        used: &Arc<UsedTickets>,
    ) -> Result<IdentityProof, AuthError> {
        let rules = &self.project.0;
        if TicketMint::is_meant(token) {
            let room = room.ok_or(AuthError::OtherRoom)?;
            let (identity, used) = rules.mint.check(token, room, now_ms, used)?;
            return Ok(IdentityProof { identity, used });
        }
        let parts = TokenParts::read(token, &rules.plan.algorithms, &rules.limits)?;
        rules.check_signature(&parts).await?;
        let identity = parts.identity(&rules.plan, now_ms, &rules.limits)?;
        Ok(IdentityProof { identity, used: None })
    }
}

impl AuthRules {
    async fn check_signature(&self, parts: &TokenParts<'_>) -> Result<(), AuthError> {
        if parts.algorithm == AuthAlgorithm::Hs256 {
            let secret = self.secret.as_ref().ok_or(AuthError::UnknownKey)?;
            let checked = hmac::verify(secret, parts.signed, &parts.signature);
            return checked.map_err(|_| AuthError::Signature);
        }
        let fits = |key: &Key| key.fits(parts.algorithm, parts.key.as_deref());
        let verifies = |key: &Key| fits(key) && key.verifies(parts.signed, &parts.signature);
        if self.keys.iter().any(verifies) {
            return Ok(());
        }
        let listed = self.keys.iter().any(fits);
        let published = match &self.jwks {
            Some(jwks) => jwks.keys(fits).await,
            None => Err(AuthError::UnknownKey),
        };
        match published {
            Ok(keys) if keys.iter().any(verifies) => Ok(()),
            Ok(_) => Err(AuthError::Signature),
            Err(AuthError::UnknownKey) if listed => Err(AuthError::Signature),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
