//! `/_room/overlay.js` and the notices that it shows on pages about the code behind them. Owns the way from the process
//! that serves a project in development to the project's pages.
//!
//! Invariant: only a developer's node sends notices, to at most `overlay_pages_max` pages at a time. A page gets the
//! newest notice, and may miss earlier ones. A page whose own files were replaced loads again. It does not know what a
//! notice is about.

use crate::FrontDoor;
use crate::events::{self, Events};
use crate::status::DoorError;
use ::http::{StatusCode, header};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use room_core::config::Audience;
use room_core::limits::ms;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

/// The script that pages load.
const SCRIPT: &str = include_str!("overlay.js");
/// The script in production, so that pages need not differ.
const NOTHING: &str = "// What is wrong with the code is shown in development only.\n";

/// The notice that pages show over their content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The notice in a few words.
    pub title: String,
    /// The whole notice, as plain text.
    pub text: String,
}

/// Answers `/_room/overlay.js`.
pub(super) async fn script(State(door): State<FrontDoor>) -> Response {
    let text = match door.0.audience {
        Audience::Developer => SCRIPT,
        Audience::Public => NOTHING,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/javascript"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}

/// Answers `/_room/overlay`: an event stream with the newest notice, and each that follows; `null` means that there is
/// none.
pub(super) async fn events(State(door): State<FrontDoor>) -> Response {
    if door.0.audience == Audience::Public {
        return DoorError::NotFound.show(Audience::Public).into_response();
    }
    let Ok(place) = door.0.overlays.clone().try_acquire_owned() else {
        let text = "overlay_pages_max pages show notices already";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let mut notices = door.0.notices.subscribe();
    notices.mark_changed();
    let pages = door.0.pages.subscribe();
    let closing = door.0.closing.clone();
    let heartbeat = ms(door.0.limits.ping_interval_ms);
    events::stream(Notices { notices, pages, closing, _place: place }, heartbeat)
}

/// The notices for one page.
struct Notices {
    notices: watch::Receiver<Option<Arc<Notice>>>,
    pages: watch::Receiver<()>,
    closing: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Events for Notices {
    async fn next(&mut self) -> Option<String> {
        let Self { notices, pages, closing, .. } = self;
        tokio::select! {
            () = closing.cancelled() => return None,
            changed = notices.changed() => changed.ok()?,
            changed = pages.changed() => {
                changed.ok()?;
                return Some("event: page\ndata: replaced\n\n".to_owned());
            }
        }
        let notice = self.notices.borrow_and_update().clone();
        let json = serde_json::to_string(&notice.as_deref()).ok()?;
        Some(format!("data: {json}\n\n"))
    }
}
