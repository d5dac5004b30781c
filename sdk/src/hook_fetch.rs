//! Requests of hooks to other servers.
//!
//! Owns [`HookFetch`], a request that is about to be sent. Invariant: a hook waits for the response; a room's turn never
//! does. It does not know sockets.

use std::time::Duration;

use crate::host::{Current, Host as _};
use crate::http::{Request, Response};
use crate::outcall::{OutcallFailure, Redirects};

/// A request of a hook to another server; finish with [`send`](Self::send).
///
/// The host has to be listed in `[fetch] hosts` of `room.toml`.
#[must_use = "a request is sent by `send`"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookFetch {
    pub(crate) request: Request,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) redirects: Redirects,
    /// The key that the response is kept under, and for how many milliseconds.
    pub(crate) cached: Option<(String, u64)>,
}

impl HookFetch {
    pub(crate) fn new(request: Request) -> Self {
        Self { request, timeout_ms: None, redirects: Redirects::Follow, cached: None }
    }

    /// Keeps the response for the project's hooks on this server: for this time, hooks that ask for the same key get it
    /// without a request. Hooks that ask at the same time wait for one request. Only a response with a status of 200 to
    /// 299 is kept, until the next deployment at most.
    ///
    /// The key stands for the whole request: two requests that differ need two keys. A key that a client can choose
    /// lets that client fill the cache.
    pub fn cached(mut self, key: impl Into<String>, time: Duration) -> Self {
        self.cached = Some((key.into(), millis(time)));
        self
    }

    /// The time until the response must be complete. Without it, it is the limit `hook_fetch_ms_max`, which also bounds
    /// it.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout_ms = Some(millis(time));
        self
    }

    /// What happens if the server answers with a redirect.
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// Sends the request, and waits for the whole response. A response with a status such as 404 is a response.
    ///
    /// # Errors
    /// [`OutcallFailure`] says why there is no response; its code is `not-in-a-hook` in a room's turn.
    pub fn send(self) -> Result<Response, OutcallFailure> {
        Current::fetch_now(self)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
