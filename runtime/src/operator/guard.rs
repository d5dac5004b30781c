//! Who is let in to what a process with one project answers its operator. Owns how a request becomes an operator's.
//!
//! Invariant: a handler that takes an [`Operator`] runs for who was let in, as nothing but a guard puts one in a
//! request: this one for who shows the process's token, a server's for who shows one of its own. It does not know
//! what is asked.

use super::sign_in::SignInCodes;
use super::{AdminToken, Operator, OperatorError};
use crate::limits::{Limits, size};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, header};
use std::sync::Arc;

/// What shows that somebody is the operator of a process with one project. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Credentials(Arc<Inner>);

struct Inner {
    token: AdminToken,
    codes: SignInCodes,
}

impl Credentials {
    /// Makes a token that nobody knows yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        let codes = SignInCodes::new(size(limits.sign_in_codes_max));
        Self(Arc::new(Inner { token: AdminToken::random(), codes }))
    }

    /// Returns what an operator has to show.
    pub(crate) fn token(&self) -> &AdminToken {
        &self.0.token
    }

    /// Makes a code by which one browser signs in to the dashboard, once.
    pub(crate) fn sign_in_code(&self) -> String {
        self.0.codes.issue()
    }

    /// Returns the token for a code that nobody has used before.
    pub(super) fn redeem(&self, code: &str) -> Option<&AdminToken> {
        self.0.codes.redeem(code).then(|| self.token())
    }
}

/// Lets the operator in, and nobody else, whatever the path.
pub(super) async fn let_in(
    State((operator, credentials)): State<(Operator, Credentials)>,
    mut request: Request,
    next: Next,
) -> Response {
    match bearer(request.headers()) {
        Some(offered) if credentials.token().is(offered) => {
            request.extensions_mut().insert(operator);
            next.run(request).await
        }
        _ => OperatorError::Unauthorized.into_response(),
    }
}

/// What follows `Bearer` in the headers.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = OperatorError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, OperatorError> {
        parts.extensions.get().cloned().ok_or(OperatorError::Unauthorized)
    }
}
