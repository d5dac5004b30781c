//! An operator's requests about one project's rooms, over HTTP. Owns the paths.
//!
//! Invariant: every handler takes the [`Operator`] that a guard put in the request, so a path without a guard answers
//! nobody. It does not know who is admitted, or where the paths start: a process with one project has them below
//! `/_room/admin`, a server of projects below `/_room/admin/projects/:project/node`.
//!
//! ```text
//! GET /metrics    what `METRICS.md` lists, of this project
//! ```
//!
//! The other routes are described in their modules: `crons` has the crons, `logs` the log, `files` backups, exports and imports, `rooms`
//! all rooms at once, `room` one of them, `messages` what passes through it, `storage` its keys, `tickets` tickets for clients,
//! `webhooks` the project's webhooks.

mod crons;
mod files;
mod logs;
mod messages;
mod query;
mod room;
mod rooms;
mod storage;
mod target;
mod tickets;
mod webhooks;

use crate::guard::{Credentials, let_in};
use crate::{Operator, OperatorError, dashboard, sign_in};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use http::header;
use room_core::config::Audience;
use room_core::metrics::TEXT_FORMAT;
use room_door::{DoorError, Routes};

/// The default number of entries on a page: about as many as a person reads.
const PAGE: u64 = 100;

/// Returns the routes for the rooms of one project. An unknown path is answered here, and does not fall through to the
/// routes around these.
pub fn routes_of_project<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/logs", get(logs::watch))
        .route("/metrics", get(metrics))
        .route("/overview", get(rooms::overview))
        .route("/backup", post(files::backup))
        .route("/crons", get(crons::list))
        .route("/crons/{name}/run", post(crons::run))
        .route("/webhooks", get(webhooks::list))
        .route("/webhooks/retry", post(webhooks::retry))
        .route("/webhooks/discard", post(webhooks::discard))
        .route("/tickets", post(tickets::make))
        .route("/rooms", get(rooms::list))
        .route("/rooms/{party}/{room}", get(room::inspect).delete(room::delete))
        .route("/rooms/{party}/{room}/export", get(files::export))
        .route("/rooms/{party}/{room}/import", put(files::import))
        .route("/rooms/{party}/{room}/close", post(room::close))
        .route("/rooms/{party}/{room}/kick", post(room::kick))
        .route("/rooms/{party}/{room}/messages", get(messages::watch))
        .route("/rooms/{party}/{room}/storage", get(storage::list))
        .route(
            "/rooms/{party}/{room}/storage/{*key}",
            get(storage::get).put(storage::put).delete(storage::delete),
        )
        .route("/{*path}", any(nothing))
}

/// Returns all routes for the operator of a process with one project. Only the developer's page and the metrics need no
/// token.
pub fn routes_of_process(
    operator: &Operator,
    credentials: &Credentials,
    audience: Audience,
) -> Routes {
    let guarded = Router::new()
        .nest("/_room/admin", routes_of_project())
        .route("/_room/admin", any(nothing))
        .route("/_room/admin/", any(nothing))
        .layer(from_fn_with_state((operator.clone(), credentials.clone()), let_in));
    // The address is also for clients, and in production it has no page for operators.
    let page = match audience {
        Audience::Developer => {
            dashboard::page_of_process().merge(sign_in::router(credentials.clone()))
        }
        Audience::Public => Router::new(),
    };
    let operator = operator.clone();
    guarded.merge(page).route("/_room/metrics", get(async move || printed(&operator)))
}

async fn nothing(_: Operator) -> OperatorError {
    DoorError::NotFound.into()
}

async fn metrics(operator: Operator) -> Response {
    printed(&operator)
}

fn printed(operator: &Operator) -> Response {
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], operator.0.door.metrics()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::{Method, Request, StatusCode};
    use tower::ServiceExt;

    /// All paths are tried, so a handler without an operator among its arguments is found.
    #[tokio::test]
    async fn paths_without_a_guard_answer_nobody() {
        let source = include_str!("mod.rs").split("pub fn routes_of_process").next();
        let paths = source.unwrap().split("\"/").skip(1).filter_map(|rest| rest.split('"').next());
        let paths: Vec<String> = paths.map(|path| format!("/{path}").replace('*', "")).collect();
        assert!(paths.len() > 10 && paths.contains(&"/rooms/{party}/{room}/kick".to_owned()));
        for path in paths {
            let path = path.replace(['{', '}'], "");
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                let request = Request::builder().method(&method).uri(&path).body(Body::empty());
                let router = routes_of_project::<()>();
                let Ok(response) = router.oneshot(request.unwrap()).await;
                let status = response.status();
                assert!(
                    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::METHOD_NOT_ALLOWED),
                    "{method} {path}: {status}"
                );
            }
        }
    }
}
