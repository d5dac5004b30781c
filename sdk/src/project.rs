//! What a project answers outside of its rooms.
//!
//! Owns [`SocketVerdict`] about a WebSocket whose URL names no room, and [`ProjectEnv`], what its code may
//! know there. Invariant: none. It does not know rooms.

use crate::hook_fetch::HookFetch;
use crate::host::{Current, Host as _};
use crate::http::{Request, Response};
use crate::time::Timestamp;

/// What becomes of a WebSocket whose URL names no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketVerdict {
    /// It goes to this room, whose `on_before_connect` is asked as for every other.
    Enter {
        /// The party's name.
        party: String,
        /// The room's name, not percent-encoded.
        room: String,
    },
    /// The handshake is answered with this response. A browser's WebSocket cannot read it and tries
    /// again: prefer [`Refuse`](Self::Refuse).
    Respond(Response),
    /// It is accepted and closed at once, so that the client can know why and stop.
    Refuse {
        /// 4000 to 4999.
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
    /// The URL is not the project's: the WebSocket is accepted and closed with 4404.
    Unknown,
}

impl SocketVerdict {
    /// [`SocketVerdict::Enter`].
    pub fn enter(party: impl Into<String>, room: impl Into<String>) -> Self {
        Self::Enter { party: party.into(), room: room.into() }
    }

    /// [`SocketVerdict::Refuse`].
    pub fn refuse(code: u16, reason: impl Into<String>) -> Self {
        Self::Refuse { code, reason: reason.into() }
    }
}

/// What a project's code may know outside of its rooms.
#[derive(Debug)]
pub struct ProjectEnv(());

impl ProjectEnv {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// A variable or secret of the project.
    pub fn var(&self, name: &str) -> Option<String> {
        Current::var(name)
    }

    /// A request to another server, which the hook waits for: `lobby.fetch(Request::get(url)).send()?`. The host has to
    /// be listed in `[fetch] hosts` of `room.toml`.
    pub fn fetch(&self, request: Request) -> HookFetch {
        HookFetch::new(request)
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(Current::now_ms())
    }
}
