//! Who may send which request of an operator. Owns that a change is completed and audited.
//!
//! Invariant: every request needs a token that permits it. Each change runs in a task of its own, between two lines of
//! the audit log. So it is completed and recorded even if the operator's connection breaks. The connection's task only
//! waits for the answer. It does not know how anything is done.

use super::api::{API_HEADER, API_VERSION};
use super::audit::{AuditEntry, ChangePhase};
use super::failure::ApiError;
use super::tokens::{Scope, TokenRecord};
use super::{RunningChanges, ServerCore, places};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method};
use room_core::limits::Limits;
use room_operator::bearer;
use room_store::blocking;
use std::io;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Returns the scope that a request needs.
fn scope_of(method: &Method, path: &str) -> Scope {
    let path = path.strip_prefix("/_room/admin/").unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    match (method, &parts[..]) {
        (_, ["tokens", ..]) => Scope::Admin,
        (_, ["blobs", ..]) | (_, ["projects", _, "plan" | "deploy" | "rollback" | "env", ..])
            if !only_reads(method) =>
        {
            Scope::Deploy
        }
        (&Method::GET | &Method::HEAD, _) => Scope::Read,
        _ => Scope::Admin,
    }
}

fn only_reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Lets a request in if its token permits it. A change is completed and recorded even if the connection breaks.
pub(super) async fn let_in(
    State(core): State<ServerCore>,
    mut request: Request,
    next: Next,
) -> Response {
    let who = bearer(request.headers()).and_then(|secret| core.0.tokens.check(secret));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let entry = AuditEntry::new(who.as_ref(), method.as_str(), &path);
    let mut response = match admit(who, request.headers(), scope_of(&method, &path)) {
        Ok(who) => {
            request.extensions_mut().insert(who);
            match only_reads(&method) {
                true => next.run(request).await,
                false => change(core, entry, request, next).await,
            }
        }
        Err(error) if only_reads(&method) => error.into_response(),
        Err(error) => refuse(&core, entry, error),
    };
    response.headers_mut().insert(API_HEADER, HeaderValue::from(API_VERSION));
    response
}

fn admit(
    who: Option<TokenRecord>,
    headers: &HeaderMap,
    needed: Scope,
) -> Result<TokenRecord, ApiError> {
    let who = who.ok_or(ApiError::Unauthorized)?;
    if who.scope < needed {
        return Err(ApiError::Forbidden(needed));
    }
    asked_in_other_version(headers).map_or(Ok(who), |other| Err(ApiError::Version(other)))
}

fn asked_in_other_version(headers: &HeaderMap) -> Option<String> {
    let asked = String::from_utf8_lossy(headers.get(API_HEADER)?.as_bytes());
    (asked != API_VERSION.to_string()).then(|| asked.chars().take(20).collect())
}

/// Runs a change in a task of its own, and waits for its answer.
async fn change(core: ServerCore, entry: AuditEntry, request: Request, next: Next) -> Response {
    let place = match core.0.changes.begin(core.0.limits.admin_changes_max) {
        Ok(place) => place,
        Err(error) => return refuse(&core, entry, error),
    };
    let stop = core.0.changes.stop.clone();
    let request = request.map(|body| until_stopped(body, stop));
    let work = tokio::spawn(async move {
        note(&core, &entry, ChangePhase::Begun, None);
        // In a task of its own, so that its panic is recorded, too.
        let response = tokio::spawn(next.run(request)).await.unwrap_or_else(panicked);
        note(&core, &entry, ChangePhase::Done, Some(&response));
        drop(place);
        response
    });
    work.await.unwrap_or_else(panicked)
}

fn panicked(panic: tokio::task::JoinError) -> Response {
    tracing::error!(%panic, "an operator's work panicked; this is a bug of the server");
    ApiError::Panicked.into_response()
}

fn refuse(core: &ServerCore, entry: AuditEntry, error: ApiError) -> Response {
    let response = error.into_response();
    note(core, &entry, ChangePhase::Refused, Some(&response));
    response
}

fn note(core: &ServerCore, entry: &AuditEntry, phase: ChangePhase, response: Option<&Response>) {
    let at_ms = core.0.clock.wall_ms();
    let status = response.map(|response| response.status().as_u16());
    blocking(|| core.0.audit.note(&AuditEntry { at_ms, phase, status, ..entry.clone() }));
}

/// Returns a body that breaks off when the server stops, so that a slow upload does not delay the stop.
fn until_stopped(body: Body, stop: CancellationToken) -> Body {
    let pieces = Some((body.into_data_stream(), stop));
    Body::from_stream(stream::unfold(pieces, async |rest| {
        let (mut pieces, stop) = rest?;
        match stop.run_until_cancelled(pieces.next()).await {
            Some(Some(Ok(piece))) => Some((Ok(piece), Some((pieces, stop)))),
            Some(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Some(None) => None,
            None => Some((Err(io::Error::other("the server is shutting down")), None)),
        }
    }))
}

impl RunningChanges {
    /// Starts without changes. `limits` bounds how many run at a time, and none starts after `stop`.
    pub(super) fn new(limits: &Limits, stop: CancellationToken) -> Self {
        let places = Arc::new(places(limits.admin_changes_max));
        Self { running: TaskTracker::new(), places, stop }
    }

    /// Returns the right to make a change, valid as long as it is held.
    fn begin(&self, max: u64) -> Result<impl Send + use<>, ApiError> {
        // The tracker's token is taken before the check: the drain waits for its holder, and a later caller sees that
        // the server stops.
        let counted = self.running.token();
        if self.stop.is_cancelled() {
            return Err(ApiError::Stopping);
        }
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| ApiError::TooManyChanges(max))?;
        Ok((place, counted))
    }
}
