//! `/_room/`: the operator's page. Owns its files' headers, and what a visitor without a token may read.
//!
//! Invariant: the page runs only its own files, and talks only to this server and to the address for clients. A visitor
//! without a token reads that address, and whether this is a node or a server. It does not know what the page shows:
//! the page gets that from the operators' routes.
//!
//! ```text
//! GET /_room/                 the page                GET /_room/dashboard/:file   a file of the page
//! GET /_room/dashboard.json   {"mode":"node","sockets":null}, or {"mode":"server","sockets":"ws://…"} on a server
//! ```

mod address;

pub use address::{ClientAddress, SocketScheme};

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use std::sync::{Arc, LazyLock};

/// A file of the page.
struct DashboardFile {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
    /// Changes with the text.
    tag: String,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal: $content_type:expr,)*) => {
        static FILES: LazyLock<Vec<DashboardFile>> = LazyLock::new(|| vec![$({
            let text = include_str!(concat!("../../pages/", $name));
            let tag = format!("\"{}\"", blake3::hash(text.as_bytes()).to_hex());
            DashboardFile { name: $name, content_type: $content_type, text, tag }
        },)*]);
    };
}

files! {
    "index.html": HTML,
    "icon.svg": SVG,
    "style.css": CSS,
    "main.js": JS,
    "address.js": JS,
    "api.js": JS,
    "dom.js": JS,
    "dialog.js": JS,
    "stream.js": JS,
    "format.js": JS,
    "metrics.js": JS,
    "chart.js": JS,
    "crons.js": JS,
    "overview.js": JS,
    "rooms.js": JS,
    "room.js": JS,
    "connections.js": JS,
    "storage.js": JS,
    "lines.js": JS,
    "messages.js": JS,
    "client.js": JS,
    "logs.js": JS,
    "versions.js": JS,
}

/// Where the page finds the rooms that it shows.
enum DashboardMode {
    /// One project: clients connect to the page's own host.
    Node,
    /// A server of projects, and the address for its clients: `wss://chat.example.com:8443`.
    Server(String),
}

/// Returns the page of a process with one project.
pub(super) fn page_of_process() -> Router {
    router(|_, _| DashboardMode::Node)
}

/// Returns the page of a server of projects, whose clients connect to this address. `is_named` says whether a project
/// lists a host.
pub fn page_of_server<S: Clone + Send + Sync + 'static>(
    clients: ClientAddress,
    is_named: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Router<S> {
    router(move |uri, headers| {
        let asked = address::asked(uri).filter(|asked| is_named(asked));
        DashboardMode::Server(clients.sockets(asked, headers))
    })
}

/// Returns the routes of the page and its files. `mode` says for each request where the page finds the rooms.
fn router<S: Clone + Send + Sync + 'static>(
    mode: impl Fn(&Uri, &HeaderMap) -> DashboardMode + Send + Sync + 'static,
) -> Router<S> {
    let (mode, told) = (Arc::new(mode), HeaderName::from_static("x-content-type-options"));
    let (for_page, for_json) = (mode.clone(), mode);
    let nosniff = move || [(told.clone(), HeaderValue::from_static("nosniff"))];
    Router::new()
        .route("/_room", get(async || Redirect::permanent("/_room/")))
        .route(
            "/_room/",
            get(async move |uri: Uri, headers: HeaderMap| {
                let policy = policy(&for_page(&uri, &headers), &headers);
                answer("index.html", &headers, &policy)
            }),
        )
        .route(
            "/_room/dashboard/{file}",
            get(async |Path(file): Path<String>, headers: HeaderMap| {
                answer(&file, &headers, "default-src 'none'; frame-ancestors 'none'")
            }),
        )
        .route(
            "/_room/dashboard.json",
            get(async move |uri: Uri, headers: HeaderMap| {
                let (mode, sockets) = match for_json(&uri, &headers) {
                    DashboardMode::Node => ("node", None),
                    DashboardMode::Server(sockets) => ("server", Some(sockets)),
                };
                let json = serde_json::json!({ "mode": mode, "sockets": sockets });
                ([(header::CACHE_CONTROL, "no-store")], nosniff(), Json(json)).into_response()
            }),
        )
}

/// Returns a file, or that the browser's copy is current.
fn answer(name: &str, asked: &HeaderMap, policy: &str) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return (StatusCode::NOT_FOUND, "not found").into_response();
    };
    let known = asked.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let fresh = known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == file.tag));
    let headers = [
        (header::ETAG, file.tag.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    match fresh {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, [(header::CONTENT_TYPE, file.content_type)], file.text).into_response(),
    }
}

/// Returns the content security policy. The page may load and connect to nothing else, and may not make HTML of text.
fn policy(mode: &DashboardMode, headers: &HeaderMap) -> String {
    let sockets = match mode {
        DashboardMode::Server(sockets) => format!(" {sockets}"),
        // Some browsers do not count WebSockets to the page's own host as `'self'`.
        DashboardMode::Node => {
            host(headers).map(|host| format!(" ws://{host} wss://{host}")).unwrap_or_default()
        }
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// Returns the host by which the page was called, with its port, or `None` if it has a character that could have a
/// meaning in a policy.
fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    is_plain_host(host).then_some(host)
}

/// Returns true for names, addresses and ports.
fn is_plain_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy_for(host: &str) -> String {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
        policy(&DashboardMode::Node, &headers)
    }

    #[test]
    fn a_host_cannot_widen_the_policy() {
        assert!(
            policy_for("[::1]:80").contains("connect-src 'self' ws://[::1]:80 wss://[::1]:80;")
        );
        for host in ["a;script-src *", "a *", "", "a'b", "*", "a,b", "a/b", "http://a"] {
            assert!(policy_for(host).contains("connect-src 'self';"), "{host}");
        }
    }

    #[test]
    fn every_file_that_the_page_names_exists() {
        for file in FILES.iter() {
            let quoted = file.text.split(['"', '\'']);
            for named in quoted.filter(|word| word.ends_with(".js") || word.ends_with(".css")) {
                let name = named.trim_start_matches("./").trim_start_matches("dashboard/");
                assert!(FILES.iter().any(|file| file.name == name), "{}: {named}", file.name);
            }
        }
    }
}
