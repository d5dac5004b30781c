//! Static files of the project. Owns which files of the folder are public.
//!
//! Invariant: no file outside the folder and no hidden file in it is read, wherever links lead. It does not know rooms.

use crate::FrontDoor;
use crate::status::DoorError;
use ::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use room_core::assets::{is_hidden_name, is_public};
use std::path::{Path, PathBuf};
use tower::ServiceExt;
use tower_http::services::ServeDir;

/// The path of the server's own routes. Files of the project below it are never served.
const RESERVED: &str = "/_room";

/// Answers every path without a route: a file of the project, or 404.
pub(super) async fn serve(State(door): State<FrontDoor>, request: Request) -> Response {
    let not_found = || DoorError::NotFound.show(door.0.audience).into_response();
    let Some(dir) = door.assets() else {
        return not_found();
    };
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    if !readable || is_hidden(path) || is_reserved(path) || !is_within(&dir, path).await {
        return not_found();
    }
    let mut request = request;
    if let Some(wanted) = request.headers_mut().remove(header::IF_RANGE)
        && tag_of(&dir, request.uri().clone()).await != Some(wanted)
    {
        request.headers_mut().remove(header::RANGE);
    }
    let Ok(response) = ServeDir::new(dir).oneshot(request).await;
    if response.status() == ::http::StatusCode::NOT_FOUND {
        return not_found();
    }
    headed(response.map(Body::new))
}

/// Returns the entity tag of a file as it is now. A client that wants a part of a file only if its copy is current
/// (`If-Range`, RFC 9110 section 13.1.5) has to send this tag. A time does not identify a version, because two changes
/// within a second have the same time.
async fn tag_of(dir: &Path, uri: Uri) -> Option<HeaderValue> {
    let mut head = Request::new(Body::empty());
    (*head.method_mut(), *head.uri_mut()) = (Method::HEAD, uri);
    let Ok(now) = ServeDir::new(dir).oneshot(head).await;
    now.headers().get(header::ETAG).cloned()
}

/// Returns true for the paths of the server's own routes, including the operator's.
fn is_reserved(path: &str) -> bool {
    path.strip_prefix(RESERVED).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns true for hidden files such as `.git` and `.env`. `.well-known` is public (RFC 8615).
fn is_hidden(path: &str) -> bool {
    // Decoded first, as in the service that reads the file.
    let path = percent_decode_str(path).decode_utf8_lossy();
    path.split(['/', '\\']).any(is_hidden_name)
}

/// Returns true if the file at the path is public after all links are followed.
async fn is_within(dir: &Path, path: &str) -> bool {
    let Ok(path) = percent_decode_str(path.trim_start_matches('/')).decode_utf8() else {
        return false;
    };
    let Ok(root) = tokio::fs::canonicalize(dir).await else { return false };
    let may_be_seen = |found: PathBuf| is_public(&root, &found);
    let path = root.join(&*path);
    // For a folder the service answers with its index, if there is one.
    let index = tokio::fs::canonicalize(path.join("index.html")).await;
    let found = tokio::fs::canonicalize(path).await;
    found.is_ok_and(may_be_seen) && index.ok().is_none_or(may_be_seen)
}

/// Adds the headers of a file. Authors change files at any time, so browsers may keep a file but must ask each time.
fn headed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // Without a charset each browser guesses in its own way.
    if let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok())
        && kind.starts_with("text/")
        && !kind.contains("charset")
        && let Ok(kind) = HeaderValue::try_from(format!("{kind}; charset=utf-8"))
    {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_file_is_refused_in_every_spelling() {
        for path in [
            "/.env",
            "/a/.git/config",
            "/%2eenv",
            "/..%2f..",
            "/a/%2E%2E/b",
            "/sub%2f.env",
            "/sub%5c.env",
        ] {
            assert!(is_hidden(path), "{path}");
        }
        for path in ["/", "/index.html", "/a.b/c", "/.well-known/x"] {
            assert!(!is_hidden(path), "{path}");
        }
    }
}
