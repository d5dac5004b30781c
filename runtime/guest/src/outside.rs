//! The requests of hooks to other servers. Owns the way from a guest that waits to the sender of its request.
//!
//! Invariant: only a guest without a turn waits: a hook at the door, or an answer outside of rooms. It does not know
//! connections, nor which hosts are allowed.

use crate::bindings::room::runtime::fetch_now::{self, Caching, Failure, Options};
use crate::host::HostState;
use futures_util::future::BoxFuture;
use room_core::event::{Request, Response};
use room_core::fetch::{FetchFailure, FetchRequest, Redirects};
use std::sync::Arc;

/// A request of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRequest {
    /// The request.
    pub fetch: FetchRequest,
    /// The key under which the response is kept, and for how many milliseconds.
    pub caching: Option<(String, u64)>,
}

/// Sends the requests of one hook. Cheap to clone.
#[derive(Clone)]
pub struct HookFetches(Arc<SendHook>);

type SendHook =
    dyn Fn(HookRequest) -> BoxFuture<'static, Result<Response, FetchFailure>> + Send + Sync;

impl HookFetches {
    /// Returns the way by which requests go to `send`.
    pub fn new(
        send: impl Fn(HookRequest) -> BoxFuture<'static, Result<Response, FetchFailure>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(send))
    }
}

/// What a hook has left of its requests.
pub(super) struct HookAllowance {
    pub(super) fetches: HookFetches,
    pub(super) left: u64,
}

impl fetch_now::Host for HostState {
    async fn fetch(
        &mut self,
        request: fetch_now::Request,
        options: Options,
    ) -> wasmtime::Result<Result<fetch_now::Response, Failure>> {
        let Some(hook) = self.hook.as_mut().filter(|_| self.turn.is_none()) else {
            return Ok(Err(not_in_a_hook()));
        };
        if hook.left == 0 {
            let max = self.budget.limits().hook_fetches_max;
            let why = format!("a hook makes at most {max} requests (hook_fetches_max)");
            return Ok(Err(failure(&FetchFailure::Invalid(why))));
        }
        hook.left -= 1;
        let sending = (hook.fetches.0)(asked(request, options));
        Ok(match sending.await {
            Ok(Response { status, headers, body }) => {
                Ok(fetch_now::Response { status, headers, body: body.into() })
            }
            Err(failed) => Err(failure(&failed)),
        })
    }
}

fn asked(request: fetch_now::Request, options: Options) -> HookRequest {
    let fetch_now::Request { method, uri, headers, body } = request;
    let redirects = match options.redirects {
        fetch_now::Redirects::Follow => Redirects::Follow,
        fetch_now::Redirects::Manual => Redirects::Manual,
        fetch_now::Redirects::Error => Redirects::Error,
    };
    let request = Request { method, uri, headers, body: body.into() };
    HookRequest {
        fetch: FetchRequest { request, timeout_ms: options.timeout, redirects },
        caching: options.caching.map(|Caching { key, ms }| (key, ms)),
    }
}

fn failure(failure: &FetchFailure) -> Failure {
    Failure { code: failure.code().to_owned(), message: failure.to_string() }
}

fn not_in_a_hook() -> Failure {
    Failure {
        code: "not-in-a-hook".to_owned(),
        message: "a room's turn cannot wait for another server: only hooks can fetch and wait"
            .to_owned(),
    }
}
