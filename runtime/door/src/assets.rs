//! Static files of the project. Owns which files of the folder are public, and their headers.
//!
//! Invariant: no file outside the folder and no hidden file in it is read, wherever links lead. A response's entity tag
//! and its `Vary` say which form of the file it is. It does not know rooms.

mod encoding;
mod variants;

use crate::FrontDoor;
use crate::fetch;
use crate::status::DoorError;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use room_core::assets::{is_hidden_name, is_public};
use room_core::config::CacheControl;
use std::path::{Path, PathBuf};
use tower::ServiceExt;
use tower_http::services::ServeDir;
use variants::{Variant, Variants};

/// The path of the server's own routes. Files of the project below it are never served.
const RESERVED: &str = "/_room";
/// The page of an application that reads the URL itself.
const INDEX: &str = "/index.html";
/// The page that is sent with 404, if the project has it.
const NOT_FOUND: &str = "/404.html";

/// The headers by which a client asks for a part of a file, or whether its copy is current.
const CONDITIONS: [HeaderName; 6] = [
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

/// The folder of a project's static files, and how they are answered.
pub(super) struct Assets {
    dir: PathBuf,
    pages: UnknownPages,
    cache: CacheControl,
    variants: Variants,
}

/// What is sent for a page that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnknownPages {
    /// 404.
    Missing,
    /// `index.html`.
    Index,
}

/// Answers every path without a route: with a file of the project, with what the project's own code says, or with 404.
pub(super) async fn serve(State(door): State<FrontDoor>, request: Request) -> Response {
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    let assets = door.assets().filter(|_| readable && !is_reserved(request.uri().path()));
    let head = unconditional(&request);
    if let Some(assets) = &assets {
        if let Some(response) = assets.file(without_body(&request)).await {
            return response;
        }
        if assets.wants_page(&request)
            && let Some(response) = assets.file(at(unconditional(&request), INDEX)).await
        {
            return response;
        }
    }
    match fetch::answer(&door, request).await {
        Ok(Some(response)) => return response,
        Ok(None) => {}
        Err(error) => return error.show(door.0.audience).into_response(),
    }
    let own = match assets {
        Some(assets) => assets.missing(head).await,
        None => None,
    };
    own.unwrap_or_else(|| DoorError::NotFound.show(door.0.audience).into_response())
}

impl Assets {
    pub(super) fn new(dir: PathBuf, pages: UnknownPages, cache: CacheControl) -> Self {
        Self { dir, pages, cache, variants: Variants::new() }
    }

    /// Returns true if a path that does not exist is a page of an application that reads the URL itself: a browser opens
    /// it, and it has no extension.
    fn wants_page(&self, request: &Request) -> bool {
        let last = request.uri().path().rsplit('/').next().unwrap_or_default();
        let accepts = request.headers().get_all(header::ACCEPT).iter();
        let mut kinds =
            accepts.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        self.pages == UnknownPages::Index
            && !last.contains('.')
            && !is_hidden(request.uri().path())
            && kinds.any(|kind| {
                kind.split(';')
                    .next()
                    .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
            })
    }

    /// Returns the project's own page for what is missing, if it has one.
    async fn missing(&self, head: Request) -> Option<Response> {
        let mut response = self.file(at(head, NOT_FOUND)).await?;
        if response.status() != StatusCode::OK {
            return None;
        }
        *response.status_mut() = StatusCode::NOT_FOUND;
        for name in [header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES] {
            response.headers_mut().remove(name);
        }
        Some(response)
    }

    /// Returns the file of the request's path, if the folder has it and it is public.
    async fn file(&self, mut request: Request) -> Option<Response> {
        if is_hidden(request.uri().path()) {
            return None;
        }
        let found = self.public(request.uri().path()).await?;
        if let Some(wanted) = request.headers_mut().remove(header::IF_RANGE)
            && self.head(request.uri()).await.get(header::ETAG) != Some(&wanted)
        {
            request.headers_mut().remove(header::RANGE);
        }
        let kind = self.head(request.uri()).await.get(header::CONTENT_TYPE).cloned();
        let is_text = kind.as_ref().is_some_and(is_compressible);
        let accepted = match request.headers().contains_key(header::RANGE) {
            // A part of a file is a part of the file as it is.
            true => Vec::new(),
            false => encoding::accepted(request.headers()),
        };
        let variant = match is_text && !accepted.is_empty() {
            true => self.variants.of(&found, &accepted).await,
            false => None,
        };
        let mut response = match variant {
            Some(variant) => self.compressed(request, variant).await,
            None => self.plain(request).await,
        };
        if response.status() == StatusCode::NOT_FOUND {
            return None;
        }
        if is_text {
            response
                .headers_mut()
                .append(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        Some(self.headed(&found, response).await)
    }

    /// Returns the headers of a file as it is now. A client that wants a part of a file only if its copy is current
    /// (`If-Range`, RFC 9110 section 13.1.5) has to send the tag among them. A time does not identify a version, because
    /// two changes within a second have the same time.
    async fn head(&self, uri: &Uri) -> HeaderMap {
        let mut head = Request::new(Body::empty());
        (*head.method_mut(), *head.uri_mut()) = (Method::HEAD, uri.clone());
        self.plain(head).await.into_parts().0.headers
    }

    async fn plain(&self, request: Request) -> Response {
        let Ok(response) = ServeDir::new(&self.dir).oneshot(request).await;
        response.map(Body::new)
    }

    /// Answers with a compressed form. The conditions of the request are about its tag, and the service that checks them
    /// knows only the tag of the file as it is.
    async fn compressed(&self, mut request: Request, variant: Variant) -> Response {
        let with_body = *request.method() == Method::GET;
        let own = self.head(request.uri()).await.get(header::ETAG).cloned();
        let headers = request.headers_mut();
        let names = |headers: &HeaderMap, name: &HeaderName| {
            let value = headers.get(name)?.to_str().ok()?.to_owned();
            let tag = variant.tag.to_str().unwrap_or_default();
            // A tag of ours has no comma in it.
            let listed = |item: &str| item.trim().trim_start_matches("W/") == tag;
            Some(value.trim() == "*" || value.split(',').any(listed))
        };
        let other = HeaderValue::from_static("\"-\"");
        for name in [header::IF_NONE_MATCH, header::IF_MATCH] {
            if let Some(named) = names(headers, &name) {
                let tag = own.clone().filter(|_| named).unwrap_or_else(|| other.clone());
                headers.insert(name, tag);
            }
        }
        *request.method_mut() = Method::HEAD;
        let mut response = self.plain(request).await;
        let headers = response.headers_mut();
        headers.insert(header::ETAG, variant.tag);
        if response.status() == StatusCode::OK {
            let headers = response.headers_mut();
            let length = HeaderValue::from(variant.bytes.len());
            headers.insert(header::CONTENT_LENGTH, length);
            let coding = HeaderValue::from_static(variant.coding.name());
            headers.insert(header::CONTENT_ENCODING, coding);
            headers.remove(header::ACCEPT_RANGES);
            if with_body {
                *response.body_mut() = Body::from(variant.bytes);
            }
        }
        response
    }

    /// Returns the file or the folder at the path, if it is public after all links are followed. For a folder it is the
    /// folder's index, if there is one.
    async fn public(&self, path: &str) -> Option<PathBuf> {
        let path = percent_decode_str(path.trim_start_matches('/')).decode_utf8().ok()?;
        let root = tokio::fs::canonicalize(&self.dir).await.ok()?;
        let path = root.join(&*path);
        let index = tokio::fs::canonicalize(path.join("index.html")).await.ok();
        let found = tokio::fs::canonicalize(path).await.ok()?;
        let public = |found: &PathBuf| is_public(&root, found);
        (public(&found) && index.as_ref().is_none_or(public)).then(|| index.unwrap_or(found))
    }

    /// Adds the headers that every file has.
    async fn headed(&self, found: &Path, mut response: Response) -> Response {
        let root = tokio::fs::canonicalize(&self.dir).await.unwrap_or_default();
        let path = found.strip_prefix(&root).unwrap_or(found).to_string_lossy().replace('\\', "/");
        let headers = response.headers_mut();
        // Without a charset each browser guesses in its own way.
        if let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok())
            && kind.starts_with("text/")
            && !kind.contains("charset")
            && let Ok(kind) = HeaderValue::try_from(format!("{kind}; charset=utf-8"))
        {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        if let Ok(cache) = HeaderValue::from_str(self.cache.of(&path)) {
            headers.insert(header::CACHE_CONTROL, cache);
        }
        headers.insert(
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        );
        response
    }
}

/// Returns a request for the same as this one, without its body.
fn without_body(request: &Request) -> Request {
    let mut head = Request::new(Body::empty());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.headers_mut() = request.headers().clone();
    head
}

/// Returns a request for the same as this one, without its conditions and its body.
fn unconditional(request: &Request) -> Request {
    let mut head = without_body(request);
    for name in CONDITIONS {
        head.headers_mut().remove(name);
    }
    head
}

/// Returns the request for another file.
fn at(mut request: Request, path: &'static str) -> Request {
    *request.uri_mut() = Uri::from_static(path);
    request
}

/// Returns true for text, which gets much smaller. Pictures and films are compressed already.
fn is_compressible(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let named = matches!(
        kind,
        "application/javascript"
            | "application/json"
            | "application/manifest+json"
            | "application/xml"
            | "image/svg+xml"
    );
    named || kind.starts_with("text/") || kind.ends_with("+json") || kind.ends_with("+xml")
}

/// Returns true for the paths of the server's own routes, including the operator's.
pub(super) fn is_reserved(path: &str) -> bool {
    path.strip_prefix(RESERVED).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns true for hidden files such as `.git` and `.env`. `.well-known` is public (RFC 8615).
fn is_hidden(path: &str) -> bool {
    // Decoded first, as in the service that reads the file.
    let path = percent_decode_str(path).decode_utf8_lossy();
    path.split(['/', '\\']).any(is_hidden_name)
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
