//! `/_room/`: the operator's page. Owns its files' headers, and what is told to who shows no token.
//!
//! Invariant: the page runs its own files and nothing else, and talks to this server and to the one address
//! where clients come; what is told without a token is that address, and whether this is a node or a server.
//! It does not know what the page shows: that comes from what operators may ask.
//!
//! ```text
//! GET /_room/                 the page                GET /_room/dashboard/:file   what it is made of
//! GET /_room/dashboard.json   {"mode":"node","sockets":null}; of a server {"mode":"server","sockets":"ws://…"}
//! ```

use ::http::header::{self, HeaderName};
use ::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::sync::{Arc, LazyLock};

/// A file of the page.
struct File {
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
        static FILES: LazyLock<Vec<File>> = LazyLock::new(|| vec![$({
            let text = include_str!(concat!("../dashboard/", $name));
            let tag = format!("\"{}\"", blake3::hash(text.as_bytes()).to_hex());
            File { name: $name, content_type: $content_type, text, tag }
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

/// Where the page finds what it shows.
pub(crate) enum Place {
    /// One project: clients come to the page's own host.
    Node,
    /// A server of projects, and where its clients come: `wss://chat.example.com:8443`.
    Server(String),
}

/// The page and its files. `place` says for each request where it finds what it shows.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(
    place: impl Fn(&Uri, &HeaderMap) -> Place + Send + Sync + 'static,
) -> Router<S> {
    let (place, told) = (Arc::new(place), HeaderName::from_static("x-content-type-options"));
    let (for_page, for_json) = (place.clone(), place);
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
                    Place::Node => ("node", None),
                    Place::Server(sockets) => ("server", Some(sockets)),
                };
                let json = serde_json::json!({ "mode": mode, "sockets": sockets });
                ([(header::CACHE_CONTROL, "no-store")], nosniff(), Json(json)).into_response()
            }),
        )
}

/// A file, or that the browser has it already.
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

/// What the page may load and whom it may talk to. It may not make HTML of text either.
fn policy(place: &Place, headers: &HeaderMap) -> String {
    let sockets = match place {
        Place::Server(sockets) => format!(" {sockets}"),
        // Some browsers do not count WebSockets to the page's own host as its own.
        Place::Node => {
            host(headers).map(|host| format!(" ws://{host} wss://{host}")).unwrap_or_default()
        }
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// The host by which the page was called, with its port; none if it has anything in it that could mean
/// something in a policy.
pub(crate) fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    is_plain_host(host).then_some(host)
}

/// True for names, addresses and ports.
pub(crate) fn is_plain_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy_for(host: &str) -> String {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
        policy(&Place::Node, &headers)
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
    fn the_page_names_files_that_are_there() {
        for file in FILES.iter() {
            let quoted = file.text.split(['"', '\'']);
            for named in quoted.filter(|word| word.ends_with(".js") || word.ends_with(".css")) {
                let name = named.trim_start_matches("./").trim_start_matches("dashboard/");
                assert!(FILES.iter().any(|file| file.name == name), "{}: {named}", file.name);
            }
        }
    }
}
