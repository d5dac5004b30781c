//! What operators ask of a server, over HTTP. Owns who may ask for what, and how it is answered.
//!
//! Invariant: nobody is answered without a token that is good for it, and each change stands in the audit
//! before its answer. It does not know how anything is done. `openapi.json` describes it.

use super::audit::Entry;
use super::catalog::Variable;
use super::failure::ApiError;
use super::plan::{Plan, missing};
use super::release::{BlobId, Release};
use super::site::{self, Changed, Site, SiteError};
use super::tokens::{Scope, TokenRecord};
use super::{Core, page, tokens};
use crate::door::bearer;
use crate::limits::ms;
use crate::metrics::{TEXT_FORMAT, together};
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post, put};
use axum::{Extension, Json, Router};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;
use tower::ServiceExt;

/// The description of everything below.
const OPENAPI: &str = include_str!("openapi.json");
/// The version of everything below, as a number. Who asks in another one is told what to upgrade; who
/// names none is taken to know what it asks for.
pub const API_VERSION: u64 = 1;
/// The header that names it, in requests and in answers.
pub(super) const API_HEADER: HeaderName = HeaderName::from_static("room-api");
/// Size of a JSON body, in bytes: a release with as many files as there may be.
const JSON_BYTES_MAX: usize = 8 << 20;

/// All routes for operators.
pub(super) fn router(core: Core) -> Router {
    let guarded = Router::new()
        .route("/_room/admin/openapi.json", get(openapi))
        .route("/_room/admin/server", get(server))
        .route("/_room/metrics", get(print_metrics))
        .route("/_room/admin/tokens", get(list_tokens).post(create_token))
        .route("/_room/admin/tokens/{id}", delete(revoke_token))
        .route("/_room/admin/blobs/{hash}", put(put_blob))
        .route("/_room/admin/projects", get(list_projects))
        .route("/_room/admin/projects/{project}", delete(delete_project))
        .route("/_room/admin/projects/{project}/plan", post(plan))
        .route("/_room/admin/projects/{project}/deploy", post(deploy))
        .route("/_room/admin/projects/{project}/versions", get(versions))
        .route("/_room/admin/projects/{project}/rollback", post(roll_back))
        .route("/_room/admin/projects/{project}/env", get(variables))
        .route(
            "/_room/admin/projects/{project}/env/{name}",
            put(set_variable).delete(remove_variable),
        )
        .route("/_room/admin/projects/{project}/node/{*path}", any(ask_node))
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::NotFound)
        .layer(from_fn_with_state(core.clone(), let_in));
    Router::new()
        .route("/_room/health", get(async || "ok\n"))
        .route("/_room/ready", get(ready))
        .merge(page::router(&core))
        .fallback_service(guarded.with_state(core.clone()))
        .with_state(core)
}

/// What a request needs.
fn scope_of(method: &Method, path: &str) -> Scope {
    let path = path.strip_prefix("/_room/admin/").unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    match (method, &parts[..]) {
        (_, ["tokens", ..]) => Scope::Admin,
        (_, ["blobs", ..]) | (_, ["projects", _, "plan" | "deploy" | "rollback" | "env", ..])
            if *method != Method::GET =>
        {
            Scope::Deploy
        }
        (&Method::GET | &Method::HEAD, _) => Scope::Read,
        _ => Scope::Admin,
    }
}

/// Lets in who shows a token that is good for it, and notes every change.
async fn let_in(State(core): State<Core>, mut request: Request, next: Next) -> Response {
    let who = bearer(request.headers()).and_then(|secret| core.0.tokens.check(secret));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let needed = scope_of(&method, &path);
    let mut response = match &who {
        None => ApiError::Unauthorized.into_response(),
        Some(who) if who.scope < needed => ApiError::Forbidden(needed).into_response(),
        Some(who) => match asked_in_other_version(&request) {
            Some(other) => ApiError::Version(other).into_response(),
            None => {
                request.extensions_mut().insert(who.clone());
                next.run(request).await
            }
        },
    };
    response.headers_mut().insert(API_HEADER, HeaderValue::from(API_VERSION));
    if method != Method::GET && method != Method::HEAD {
        let now = core.0.clock.wall_ms();
        let asked = (method.as_str(), path.as_str());
        core.0.audit.note(&Entry::new(now, who.as_ref(), asked, response.status().as_u16()));
    }
    response
}

fn asked_in_other_version(request: &Request) -> Option<String> {
    let asked = String::from_utf8_lossy(request.headers().get(API_HEADER)?.as_bytes());
    (asked != API_VERSION.to_string()).then(|| asked.chars().take(20).collect())
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// 200 when every project is served, else 503.
async fn ready(State(core): State<Core>) -> Response {
    let sites = core.0.sites.read().await;
    let broken: Vec<&str> =
        sites.iter().filter(|(_, site)| site.is_err()).map(|(name, _)| name.as_str()).collect();
    match broken.is_empty() {
        true => "ready\n".into_response(),
        // Names are the operator's; how many tells a load balancer enough.
        false => {
            let text = format!("projects that cannot be served: {}\n", broken.len());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn server(State(core): State<Core>, Extension(who): Extension<TokenRecord>) -> Response {
    let projects = core.0.sites.read().await.len();
    let version = env!("CARGO_PKG_VERSION");
    let up = core.0.clock.monotonic().as_secs();
    Json(json!({
        "version": version,
        "up_seconds": up,
        "projects": projects,
        "token": { "name": who.name, "scope": who.scope },
    }))
    .into_response()
}

async fn list_tokens(State(core): State<Core>) -> Json<Vec<TokenRecord>> {
    Json(core.0.tokens.list())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenWish {
    name: String,
    scope: Scope,
}

async fn create_token(
    State(core): State<Core>,
    body: Body,
) -> Result<Json<tokens::NewToken>, ApiError> {
    let TokenWish { name, scope } = read_json(&core, body).await?;
    Ok(Json(core.0.tokens.create(&name, scope, core.0.clock.wall_ms())?))
}

async fn revoke_token(
    State(core): State<Core>,
    Path(id): Path<String>,
) -> Result<Json<TokenRecord>, ApiError> {
    Ok(Json(core.0.tokens.revoke(&id)?))
}

async fn put_blob(
    State(core): State<Core>,
    Path(hash): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let id: BlobId = hash.parse()?;
    let _place = core.0.uploads.try_acquire().map_err(|_| ApiError::Busy)?;
    let pieces = Box::pin(body.into_data_stream());
    let arriving = core.0.shared.blobs.put(id, pieces);
    let arrived = tokio::time::timeout(ms(core.0.limits.import_ms_max), arriving).await;
    let bytes = arrived.map_err(|_| ApiError::BodyMissing)??;
    Ok(Json(json!({ "blob": id, "bytes": bytes })).into_response())
}

async fn list_projects(State(core): State<Core>) -> Response {
    let sites = core.0.sites.read().await;
    let line = |(name, site): (&String, &Result<Arc<Site>, String>)| match site {
        Ok(site) => {
            let (versions, current) = site.versions();
            let served = versions.into_iter().find(|version| Some(version.number) == current);
            let hosts = served.map(|version| version.release.hosts).unwrap_or_default();
            json!({ "name": name, "version": current, "hosts": hosts })
        }
        Err(why) => json!({ "name": name, "broken": why }),
    };
    Json(sites.iter().map(line).collect::<Vec<_>>()).into_response()
}

async fn delete_project(
    State(core): State<Core>,
    Path(project): Path<String>,
) -> Result<Response, ApiError> {
    match core.delete(&project).await? {
        true => Ok(Json(json!({ "deleted": project })).into_response()),
        false => Err(ApiError::NoProject(project)),
    }
}

async fn plan(
    State(core): State<Core>,
    Path(project): Path<String>,
    body: Body,
) -> Result<Json<Plan>, ApiError> {
    check_name(&project)?;
    let release: Release = read_json(&core, body).await?;
    if let Some(site) = core.site(&project).await {
        return Ok(Json(site.map_err(ApiError::Broken)?.plan(&release)?));
    }
    let shared = &core.0.shared;
    site::check(&release, &project, &shared.hosts)?;
    Ok(Json(Plan::of(None, &release, &shared.blobs)))
}

async fn deploy(
    State(core): State<Core>,
    Path(project): Path<String>,
    Extension(who): Extension<TokenRecord>,
    body: Body,
) -> Result<Json<Changed>, ApiError> {
    check_name(&project)?;
    let release: Release = read_json(&core, body).await?;
    let missing = missing(&release, &core.0.shared.blobs);
    if !missing.is_empty() {
        return Err(SiteError::Missing(missing).into());
    }
    // It comes to its end, whoever asked for it and left.
    finished(async move {
        let now = core.0.clock.wall_ms();
        let site = core.site_for(&project, &release).await?;
        let done = site.deploy(release, &who.name, now).await?;
        core.collect().await;
        Ok(Json(done))
    })
    .await
}

async fn versions(
    State(core): State<Core>,
    Path(project): Path<String>,
) -> Result<Response, ApiError> {
    let (versions, current) = found(&core, &project).await?.versions();
    let line = |version: &super::Version| {
        json!({
            "number": version.number,
            "created_ms": version.created_ms,
            "by": version.by,
            "current": Some(version.number) == current,
            "parties": version.release.parties,
            "files": version.release.assets.len(),
        })
    };
    Ok(Json(versions.iter().map(line).collect::<Vec<_>>()).into_response())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBack {
    version: Option<u64>,
}

async fn roll_back(
    State(core): State<Core>,
    Path(project): Path<String>,
    Query(to): Query<RollBack>,
) -> Result<Json<Changed>, ApiError> {
    let site = found(&core, &project).await?;
    finished(async move { Ok(Json(site.roll_back(to.version).await?)) }).await
}

async fn variables(
    State(core): State<Core>,
    Path(project): Path<String>,
) -> Result<Response, ApiError> {
    let variables = found(&core, &project).await?.variables();
    let line = |(name, variable): (&String, &Variable)| match variable.secret {
        true => json!({ "name": name, "secret": true }),
        false => json!({ "name": name, "secret": false, "value": variable.value }),
    };
    Ok(Json(variables.iter().map(line).collect::<Vec<_>>()).into_response())
}

async fn set_variable(
    State(core): State<Core>,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<Response, ApiError> {
    let site = found(&core, &project).await?;
    let to: Variable = read_json(&core, body).await?;
    changed_variable(site, name, Some(to)).await
}

async fn remove_variable(
    State(core): State<Core>,
    Path((project, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    changed_variable(found(&core, &project).await?, name, None).await
}

async fn changed_variable(
    site: Arc<Site>,
    name: String,
    to: Option<Variable>,
) -> Result<Response, ApiError> {
    finished(async move {
        let done = site.set_variable(&name, to).await?;
        let rooms = done.map_or(0, |done| done.rooms);
        Ok(Json(json!({ "name": name, "rooms": rooms })).into_response())
    })
    .await
}

/// What all projects count, each line with its project's name as a label, and what is no project's.
async fn print_metrics(State(core): State<Core>) -> Response {
    let sites = core.0.sites.read().await;
    let served = sites.iter().filter_map(|(name, site)| Some((name, site.as_ref().ok()?)));
    let printed: Vec<_> = served.map(|(name, site)| (name.clone(), site.metrics())).collect();
    let text = together(&core.0.metrics.text(), &printed);
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
}

/// Everything that a project's node answers its operator: rooms, backups, logs, metrics.
async fn ask_node(
    State(core): State<Core>,
    Path((project, path)): Path<(String, String)>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let site = found(&core, &project).await?;
    let raw = request.uri().path();
    // As it was sent: names of rooms are encoded in it, and stay so.
    let rest = raw.splitn(7, '/').nth(6).unwrap_or(&path);
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let prefix = if rest == "metrics" { "/_room/" } else { "/_room/admin/" };
    let uri = format!("{prefix}{rest}{query}").parse::<Uri>();
    *request.uri_mut() = uri.map_err(|error| ApiError::Malformed(error.to_string()))?;
    let token = HeaderValue::try_from(format!("Bearer {}", site.node_token()));
    let token = token.map_err(|_| ApiError::NotFound)?;
    request.headers_mut().insert(header::AUTHORIZATION, token);
    // What this router took from the path is no part of the one that the node reads.
    request.extensions_mut().clear();
    let Ok(response) = site.router().oneshot(request).await;
    Ok(response)
}

async fn found(core: &Core, project: &str) -> Result<Arc<Site>, ApiError> {
    let site = core.site(project).await;
    site.ok_or_else(|| ApiError::NoProject(project.to_owned()))?.map_err(ApiError::Broken)
}

/// Refuses what cannot be the name of a project, which is also the name of a folder.
fn check_name(project: &str) -> Result<(), ApiError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if (1..=64).contains(&project.len()) && project.chars().all(plain) {
        return Ok(());
    }
    let text = "a project's name has 1 to 64 lower-case letters, digits, `-` and `_`";
    Err(ApiError::Malformed(text.to_owned()))
}

/// Lets something come to its end, also if the client leaves meanwhile.
async fn finished<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(work).await.unwrap_or_else(|panic| {
        tracing::error!(%panic, "an operator's work panicked; this is a bug of the server");
        Err(ApiError::Panicked)
    })
}

/// A body of JSON, within its bounds.
async fn read_json<T: DeserializeOwned>(core: &Core, body: Body) -> Result<T, ApiError> {
    let limited = Limited::new(body, JSON_BYTES_MAX);
    let arriving = tokio::time::timeout(ms(core.0.limits.body_ms_max), limited.collect());
    let body = arriving.await.map_err(|_| ApiError::BodyMissing)?;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => ApiError::TooLarge(JSON_BYTES_MAX as u64),
        false => ApiError::BodyMissing,
    })?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| {
        ApiError::Malformed(format!("the body is not what this server understands: {error}"))
    })
}
