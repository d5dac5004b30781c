//! Operators' requests to a server, over HTTP. Owns the paths, and how each is answered.
//!
//! Invariant: every route that needs a token is behind the [`guard`](super::guard), which completes changes even if the
//! operator has left. It does not know how anything is done. `openapi.json` describes it.

use super::catalog::Variable;
use super::failure::ApiError;
use super::guard::let_in;
use super::plan::Plan;
use super::records::KeepError;
use super::release::{BlobId, Release};
use super::site::{self, ChangedProject, Site, SiteError};
use super::slots::SlotState;
use super::tokens::{Scope, TokenRecord};
use super::{ServerCore, tokens};
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json, Router};
use http::{HeaderName, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use room_core::limits::fixed::OPERATOR_BODY_BYTES_MAX;
use room_core::limits::ms;
use room_core::metrics::{TEXT_FORMAT, together};
use room_store::blocking;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// The description of the whole API.
const OPENAPI: &str = include_str!("openapi.json");
/// The version of the API. The server refuses a client of another version, and says which side to upgrade. A client
/// that names no version is served as if it named this one.
pub const API_VERSION: u64 = 1;
/// The header with the version, in requests and in answers.
pub(super) const API_HEADER: HeaderName = HeaderName::from_static("room-api");

/// Returns all routes for operators.
pub(super) fn router(core: ServerCore) -> Router {
    let guarded = Router::new()
        .route("/_room/admin/openapi.json", get(openapi))
        .route("/_room/admin/server", get(server))
        .route("/_room/metrics", get(print_metrics))
        .route("/_room/admin/tokens", get(list_tokens).post(create_token))
        .route("/_room/admin/tokens/{id}", delete(revoke_token))
        .route("/_room/admin/blobs/{hash}", put(put_blob))
        .route("/_room/admin/nodes", get(list_nodes))
        .route("/_room/admin/nodes/{name}/drain", post(drain_node))
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
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::NotFound)
        .merge(rooms_of_projects(core.clone()))
        .layer(from_fn_with_state(core.clone(), let_in));
    let hosts = core.0.shared.hosts.clone();
    let page = room_operator::page_of_server(core.0.clients, move |host| hosts.are_named(host));
    Router::new()
        .route("/_room/health", get(async || "ok\n"))
        .route("/_room/ready", get(ready))
        .merge(page)
        .fallback_service(guarded.with_state(core.clone()))
        .with_state(core)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// Answers 200 if every project is served, in a cluster in its newest version, and 503 otherwise.
async fn ready(State(core): State<ServerCore>) -> Response {
    match core.count_behind() {
        0 => "ready\n".into_response(),
        // Names are for operators only; the number is enough for a load balancer.
        broken => {
            let text = format!("projects that cannot be served: {broken}\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn server(
    State(core): State<ServerCore>,
    Extension(who): Extension<TokenRecord>,
) -> Response {
    let projects = core.0.slots.all().len();
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

async fn list_tokens(State(core): State<ServerCore>) -> Json<Vec<TokenRecord>> {
    Json(core.0.tokens.list())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenWish {
    name: String,
    scope: Scope,
}

async fn create_token(
    State(core): State<ServerCore>,
    body: Body,
) -> Result<Json<tokens::NewToken>, ApiError> {
    let TokenWish { name, scope } = read_json(&core, body).await?;
    let now_ms = core.0.clock.wall_ms();
    Ok(Json(blocking(|| core.0.tokens.create(&name, scope, now_ms))?))
}

async fn revoke_token(
    State(core): State<ServerCore>,
    Path(id): Path<String>,
) -> Result<Json<TokenRecord>, ApiError> {
    Ok(Json(blocking(|| core.0.tokens.revoke(&id))?))
}

async fn put_blob(
    State(core): State<ServerCore>,
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

async fn list_nodes(State(core): State<ServerCore>) -> Result<Json<Value>, ApiError> {
    Ok(Json(core.0.cluster.as_ref().ok_or(ApiError::NoCluster)?.nodes()))
}

/// Asks a node of the cluster to hand its rooms over to the others.
async fn drain_node(
    State(core): State<ServerCore>,
    Path(node): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let cluster = core.0.cluster.as_ref().ok_or(ApiError::NoCluster)?;
    match cluster.membership.drain(&node).await.map_err(KeepError::from)? {
        true => Ok(Json(json!({ "draining": node }))),
        false => Err(ApiError::NoNode(node)),
    }
}

async fn list_projects(State(core): State<ServerCore>) -> Response {
    let line = |(name, site): (String, Result<Arc<Site>, String>)| match site {
        Ok(site) => {
            let catalog = site.catalog();
            let served = catalog.current();
            let version = served.map(|version| version.number);
            let hosts = served.map(|version| version.release.hosts.as_slice()).unwrap_or_default();
            let mut line = json!({ "name": name, "version": version, "hosts": hosts });
            if let Some(why) = site.behind() {
                line["behind"] = json!(why);
            }
            line
        }
        Err(why) => json!({ "name": name, "broken": why }),
    };
    Json(core.0.slots.all().into_iter().map(line).collect::<Vec<_>>()).into_response()
}

async fn delete_project(
    State(core): State<ServerCore>,
    Path(project): Path<String>,
) -> Result<Response, ApiError> {
    check_name(&project)?;
    core.delete(&project).await?;
    Ok(Json(json!({ "deleted": project })).into_response())
}

async fn plan(
    State(core): State<ServerCore>,
    Path(project): Path<String>,
    body: Body,
) -> Result<Json<Plan>, ApiError> {
    check_name(&project)?;
    let release: Release = read_json(&core, body).await?;
    // A project that is not served may lack just this release, so the plan has no version to compare with.
    if let SlotState::Open(site) = core.0.slots.get(&project) {
        return Ok(Json(blocking(|| site.plan(&release))?));
    }
    let shared = &core.0.shared;
    site::check(&release, &project, &shared.hosts, &shared.guests)?;
    Ok(Json(blocking(|| Plan::of(None, &release, &shared.blobs))?))
}

async fn deploy(
    State(core): State<ServerCore>,
    Path(project): Path<String>,
    Extension(who): Extension<TokenRecord>,
    body: Body,
) -> Result<Json<ChangedProject>, ApiError> {
    check_name(&project)?;
    let release: Release = read_json(&core, body).await?;
    let missing = blocking(|| core.0.shared.blobs.missing(release.blobs()))?;
    if !missing.is_empty() {
        return Err(SiteError::Missing(missing).into());
    }
    Ok(Json(core.deploy(&project, release, &who.name).await?))
}

async fn versions(
    State(core): State<ServerCore>,
    Path(project): Path<String>,
) -> Result<Response, ApiError> {
    let catalog = core.found(&project)?.catalog();
    let current = catalog.current().map(|version| version.number);
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
    Ok(Json(catalog.versions().iter().map(line).collect::<Vec<_>>()).into_response())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBack {
    version: Option<u64>,
}

async fn roll_back(
    State(core): State<ServerCore>,
    Path(project): Path<String>,
    Query(to): Query<RollBack>,
) -> Result<Json<ChangedProject>, ApiError> {
    let (claim, site) = core.claimed(&project).await?;
    let done = site.roll_back(to.version, &claim).await;
    claim.end().await;
    Ok(Json(done?))
}

async fn variables(
    State(core): State<ServerCore>,
    Path(project): Path<String>,
) -> Result<Response, ApiError> {
    let catalog = core.found(&project)?.catalog();
    let line = |(name, variable): (&String, &Variable)| match variable.secret {
        true => json!({ "name": name, "secret": true }),
        false => json!({ "name": name, "secret": false, "value": variable.value }),
    };
    Ok(Json(catalog.variables().iter().map(line).collect::<Vec<_>>()).into_response())
}

async fn set_variable(
    State(core): State<ServerCore>,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<Response, ApiError> {
    core.found(&project)?;
    let to: Variable = read_json(&core, body).await?;
    change_variable(&core, &project, &name, Some(to)).await
}

async fn remove_variable(
    State(core): State<ServerCore>,
    Path((project, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    change_variable(&core, &project, &name, None).await
}

async fn change_variable(
    core: &ServerCore,
    project: &str,
    name: &str,
    to: Option<Variable>,
) -> Result<Response, ApiError> {
    let (claim, site) = core.claimed(project).await?;
    let done = site.set_variable(name, to, &claim).await;
    claim.end().await;
    let rooms = done?.map_or(0, |done| done.rooms);
    Ok(Json(json!({ "name": name, "rooms": rooms })).into_response())
}

/// Returns the metrics of all projects, each line with its project's name as a label, and the metrics of the server.
async fn print_metrics(State(core): State<ServerCore>) -> Response {
    core.set_cluster_metrics();
    let all = core.0.slots.all().into_iter();
    let printed: Vec<_> =
        all.filter_map(|(name, site)| Some((name, site.ok()?.metrics()))).collect();
    let text = together(&core.0.metrics.text(), &printed);
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
}

/// Returns the routes about a project's rooms: lists, changes, backups, logs, metrics.
fn rooms_of_projects(core: ServerCore) -> Router<ServerCore> {
    Router::new()
        .nest("/_room/admin/projects/{project}/node", room_operator::routes_of_project())
        .layer(from_fn_with_state(core, hand_over))
}

/// Puts the access to a project's rooms into a request that was admitted.
async fn hand_over(
    State(core): State<ServerCore>,
    Extension(_let_in): Extension<TokenRecord>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // The extracted path is not used: the part after the project has keys, which may be any bytes.
    let project = request.uri().path().split('/').nth(4).unwrap_or_default();
    let project = percent_decode_str(project).decode_utf8_lossy();
    let operator = core.found(&project)?.operator();
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}

/// Refuses an invalid name of a project. The name is also the name of a folder.
fn check_name(project: &str) -> Result<(), ApiError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if (1..=64).contains(&project.len()) && project.chars().all(plain) {
        return Ok(());
    }
    let text = "a project's name has 1 to 64 lower-case letters, digits, `-` and `_`";
    Err(ApiError::Malformed(text.to_owned()))
}

/// Reads a body of JSON, within the limits of time and size.
async fn read_json<T: DeserializeOwned>(core: &ServerCore, body: Body) -> Result<T, ApiError> {
    let limited = Limited::new(body, OPERATOR_BODY_BYTES_MAX);
    let arriving = tokio::time::timeout(ms(core.0.limits.body_ms_max), limited.collect());
    let body = arriving.await.map_err(|_| ApiError::BodyMissing)?;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => ApiError::TooLarge(OPERATOR_BODY_BYTES_MAX as u64),
        false => ApiError::BodyMissing,
    })?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| {
        ApiError::Malformed(format!("the body is not what this server understands: {error}"))
    })
}
