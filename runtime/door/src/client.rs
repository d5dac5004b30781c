//! `/_room/client.js` and the modules that it imports: the client for pages without a build step. Owns their headers.
//!
//! Invariant: the response is a file of `sdk/js`, for pages of any origin, and a browser with a current copy does not
//! receive it again. It does not know rooms.

use crate::FrontDoor;
use crate::status::DoorError;
use ::http::header::{self, HeaderName};
use ::http::{HeaderMap, HeaderValue, StatusCode};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;

/// The client itself.
static CLIENT: LazyLock<Script> =
    LazyLock::new(|| Script::of("client.js", include_str!("../../../sdk/js/client.js")));

/// The modules that it imports, from the folder of this name beside it.
static MODULES: LazyLock<[Script; 9]> = LazyLock::new(|| {
    [
        Script::of("address.js", include_str!("../../../sdk/js/client/address.js")),
        Script::of("frames.js", include_str!("../../../sdk/js/client/frames.js")),
        Script::of("link.js", include_str!("../../../sdk/js/client/link.js")),
        Script::of("page.js", include_str!("../../../sdk/js/client/page.js")),
        Script::of("posting.js", include_str!("../../../sdk/js/client/posting.js")),
        Script::of("presence.js", include_str!("../../../sdk/js/client/presence.js")),
        Script::of("room.js", include_str!("../../../sdk/js/client/room.js")),
        Script::of("session.js", include_str!("../../../sdk/js/client/session.js")),
        Script::of("websocket.js", include_str!("../../../sdk/js/client/websocket.js")),
    ]
});

/// The scripts change only with the server's version, and every version of them understands every server.
const KEPT: &str = "public, max-age=3600";

/// A file of the client.
struct Script {
    name: &'static str,
    text: &'static str,
    /// Changes with the text.
    tag: HeaderValue,
}

impl Script {
    fn of(name: &'static str, text: &'static str) -> Self {
        let tag = format!("\"{}\"", blake3::hash(text.as_bytes()).to_hex());
        let tag = HeaderValue::from_str(&tag);
        Self { name, text, tag: tag.expect("hexadecimal digits in quotes are a header's value") }
    }
}

/// Answers `GET /_room/client.js`.
pub(super) async fn script(asked: HeaderMap) -> Response {
    answer(&CLIENT, &asked)
}

/// Answers `GET /_room/client/:module`.
pub(super) async fn module(
    State(door): State<FrontDoor>,
    Path(name): Path<String>,
    asked: HeaderMap,
) -> Response {
    match MODULES.iter().find(|module| module.name == name) {
        Some(module) => answer(module, &asked),
        None => DoorError::NotFound.show(door.0.audience).into_response(),
    }
}

fn answer(script: &Script, asked: &HeaderMap) -> Response {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let fresh = known.is_some_and(|known| {
        let tags = known.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
        tags.into_iter().any(|tag| tag == "*" || script.tag == tag)
    });
    let headers = [
        (header::ETAG, script.tag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static(KEPT)),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        // Pages that isolate themselves load only resources with this header.
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    if fresh {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (headers, kind, script.text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_that_a_script_imports_is_served() {
        let mut imported = 0;
        let below = MODULES.iter().map(|module| (module.text, "\"./"));
        for (text, start) in below.chain([(CLIENT.text, "\"./client/")]) {
            for rest in text.split(start).skip(1) {
                let name = rest.split('"').next().expect("a text has a first part");
                assert!(MODULES.iter().any(|module| module.name == name), "{name} is not served");
                imported += 1;
            }
        }
        assert!(imported >= MODULES.len(), "{imported} imports were found");
    }
}
