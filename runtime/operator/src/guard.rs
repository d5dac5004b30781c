//! The guard of the operator's routes of a process with one project. Owns how a request gets an operator's rights.
//!
//! Invariant: a handler that takes an [`Operator`] runs only for authorized requests, because only a guard puts one in
//! a request: this guard for the process's token, a server's guard for one of the server's tokens. It does not know
//! what a request asks for.

use crate::sign_in::SignInCodes;
use crate::{AdminToken, Operator, OperatorError};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, header};
use room_core::limits::{Limits, size};
use std::sync::Arc;

/// The credentials of the operator of a process with one project. Cheap to clone.
#[derive(Clone)]
pub struct Credentials(Arc<GuardInner>);

struct GuardInner {
    token: AdminToken,
    codes: SignInCodes,
}

impl Credentials {
    /// Creates a new random token.
    pub fn new(limits: &Limits) -> Self {
        let codes = SignInCodes::new(size(limits.sign_in_codes_max));
        Self(Arc::new(GuardInner { token: AdminToken::random(), codes }))
    }

    /// Returns the token that an operator has to send.
    pub fn token(&self) -> &AdminToken {
        &self.0.token
    }

    /// Creates a code by which one browser can sign in to the dashboard, once.
    pub fn sign_in_code(&self) -> String {
        self.0.codes.issue()
    }

    /// Returns the token for an unused code, which is used up by that.
    pub(super) fn redeem(&self, code: &str) -> Option<&AdminToken> {
        self.0.codes.redeem(code).then(|| self.token())
    }
}

/// Lets a request with the operator's token in, and refuses every other one, whatever the path.
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

/// Returns the token after `Bearer` in the headers.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = OperatorError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, OperatorError> {
        parts.extensions.get().cloned().ok_or(OperatorError::Unauthorized)
    }
}
